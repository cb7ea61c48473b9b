//! What a run found.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The figures of a run; times in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Requests answered; a multi-key get is one.
    pub requests: u64,
    /// Of these, gets.
    pub gets: u64,
    /// Keys that gets asked for.
    pub keys_asked: u64,
    /// Of these, found.
    pub hits: u64,
    /// Requests answered by an error line.
    pub errors: u64,
    /// The first error line.
    pub first_error: Option<String>,
    /// Length of the run.
    pub seconds: f64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// CPU time of the named server processes for each request, if any were named.
    pub server_cpu_us_per_request: Option<f64>,
    /// Time from a batch's due moment to its last reply.
    pub latency: Latency,
    /// The distribution of these times: steps from the shortest to the longest, each about a tenth above the one before.
    pub histogram: Vec<Step>,
    /// Requests answered in each whole second of the run.
    pub per_second: Vec<u64>,
}

/// A step of the latency histogram.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Step {
    /// The longest latency that counts here.
    pub up_to_us: f64,
    /// Batches.
    pub count: u64,
}

/// Ratio of a step's bound to the one before.
const STEP_RATIO: f64 = 1.1;

pub(crate) fn steps(histogram: &Histogram<u64>) -> Vec<Step> {
    let all: Vec<Step> = histogram
        .iter_log(1000, STEP_RATIO)
        .map(|step| Step {
            up_to_us: step.value_iterated_to() as f64 / 1000.0,
            count: step.count_since_last_iteration(),
        })
        .collect();
    let first = all.iter().position(|step| step.count > 0).unwrap_or(all.len());
    let last = all.iter().rposition(|step| step.count > 0).map_or(first, |last| last + 1);
    all[first..last].to_vec()
}

/// Latency of batches.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Mean.
    pub mean_us: f64,
    /// Half of the batches took at most this.
    pub p50_us: f64,
    /// 90 of 100.
    pub p90_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            mean_us: histogram.mean() / 1000.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1000.0,
        }
    }
}

/// Counts of one thread, added up at the end.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) gets: u64,
    pub(crate) keys_asked: u64,
    pub(crate) hits: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) histogram: Histogram<u64>,
}

/// Of nanoseconds.
pub(crate) fn empty_histogram() -> Histogram<u64> {
    let highest = u64::try_from(crate::limits::LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
    Histogram::new_with_bounds(100, highest, 3).expect("bounds and digits are constants that fit")
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            requests: 0,
            gets: 0,
            keys_asked: 0,
            hits: 0,
            errors: 0,
            first_error: None,
            histogram: empty_histogram(),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.gets += other.gets;
        self.keys_asked += other.keys_asked;
        self.hits += other.hits;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
        self.histogram.add(&other.histogram).expect("histograms of one shape");
    }

    pub(crate) fn report(
        &self,
        elapsed: Duration,
        server_cpu: Option<Duration>,
        per_second: Vec<u64>,
    ) -> Report {
        let per_request = |cpu: Duration| cpu.as_secs_f64() * 1e6 / self.requests.max(1) as f64;
        Report {
            requests: self.requests,
            gets: self.gets,
            keys_asked: self.keys_asked,
            hits: self.hits,
            errors: self.errors,
            first_error: self.first_error.clone(),
            seconds: elapsed.as_secs_f64(),
            requests_per_second: self.requests as f64 / elapsed.as_secs_f64().max(1e-9),
            server_cpu_us_per_request: server_cpu.map(per_request),
            latency: Latency::of(&self.histogram),
            histogram: steps(&self.histogram),
            per_second,
        }
    }
}
