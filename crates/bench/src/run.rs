//! A whole run: threads, preload, start together, progress, the sum.

use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stdx::{Instant, clock};

use crate::limits::{CONNECTIONS_MAX, PIPELINE_MAX, PRELOAD_KEYS_MAX, SILENCE_MAX};
use crate::options::BenchOptions;
use crate::report::{Report, Tally};
use crate::server_cpu;
use crate::sizes::Sizes;
use crate::target::Target;
use crate::thread::LoadThread;

/// Why a run did not end well.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The options contradict themselves or a limit.
    #[error("{0}")]
    Options(String),
    /// A connection was refused.
    #[error("no server at {target}: {source}")]
    Connect {
        /// Where.
        target: Target,
        /// Why.
        source: io::Error,
    },
    /// The server closed a connection.
    #[error("the server closed a connection")]
    Closed,
    /// The server did not answer.
    #[error("the server was silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// The server answered what no memcached answers.
    #[error("the server answered \"{0}\"")]
    Garbage(String),
    /// A named process cannot be watched.
    #[error("the CPU time of the processes {0:?} cannot be read: are they running?")]
    ServerCpu(Vec<u32>),
    /// A trace cannot be read.
    #[error(transparent)]
    Trace(#[from] crate::trace::TraceError),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Time since the start of the run; keys are stored first.
    pub elapsed: Duration,
    /// Keys stored before the measured part.
    pub stored: u64,
    /// Requests answered so far.
    pub requests: u64,
    /// Of these, in the last second.
    pub last_second: u64,
}

/// Counted by all threads.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    done: AtomicU64,
    stored: AtomicU64,
}

impl Shared {
    pub(crate) fn add_done(&self, requests: u64) {
        self.done.fetch_add(requests, Ordering::Relaxed);
    }

    pub(crate) fn add_stored(&self, keys: u64) {
        self.stored.fetch_add(keys, Ordering::Relaxed);
    }
}

/// Runs the load; `progress` is called about once a second.
pub fn run(options: &BenchOptions, progress: impl FnMut(Progress)) -> Result<Report, BenchError> {
    check(options)?;
    let shared = Shared::default();
    // All threads have connected and stored their keys before any of them measures.
    let ready = Barrier::new(options.threads as usize + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads)
            .map(|index| {
                scope.spawn({
                    let (shared, ready) = (&shared, &ready);
                    move || load(options, shared, ready, index)
                })
            })
            .collect();
        let watcher =
            Watcher { shared: &shared, start: clock::now(), told: clock::now(), series: Vec::new() };
        let (start, cpu_before, per_second) = watcher.watch(options, &threads, &ready, progress);
        let mut tally = Tally::new();
        for thread in threads {
            tally.add(&thread.join().expect("a load thread does not panic")?);
        }
        let elapsed = clock::now().since(start);
        let cpu = server_cpu::read(&options.server_pids)
            .zip(cpu_before)
            .map(|(after, before)| after.saturating_sub(before));
        if cpu.is_none() && !options.server_pids.is_empty() {
            return Err(BenchError::ServerCpu(options.server_pids.clone()));
        }
        Ok(tally.report(elapsed, cpu, per_second))
    })
}

fn load(options: &BenchOptions, shared: &Shared, ready: &Barrier, index: u32) -> Result<Tally, BenchError> {
    let prepared = prepare(options, shared, index);
    ready.wait();
    prepared?.run(clock::now())
}

fn prepare<'a>(
    options: &'a BenchOptions,
    shared: &'a Shared,
    index: u32,
) -> Result<LoadThread<'a>, BenchError> {
    pin(options.cpu)?;
    let mut thread = LoadThread::connect(options, shared, index)?;
    if options.preload {
        thread.preload(index)?;
    }
    Ok(thread)
}

/// Keeps the calling thread, and what it starts, on one processor.
pub fn pin(cpu: Option<usize>) -> Result<(), BenchError> {
    let Some(cpu) = cpu else { return Ok(()) };
    if cpu >= rustix::thread::CpuSet::MAX_CPU {
        let rule = format!("processor {cpu}: below {}", rustix::thread::CpuSet::MAX_CPU);
        return Err(BenchError::Options(rule));
    }
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(|error| BenchError::Options(format!("processor {cpu} cannot be used: {error}")))
}

/// Tells how far the run is, once a second.
struct Watcher<'a> {
    shared: &'a Shared,
    start: Instant,
    told: Instant,
    /// Requests answered in each whole second.
    series: Vec<u64>,
}

impl Watcher<'_> {
    /// Waits for the preload, starts the measured part, waits for its end. Returns when that started, the server's CPU
    /// time then, and the requests of each second.
    fn watch<T>(
        mut self,
        options: &BenchOptions,
        threads: &[std::thread::ScopedJoinHandle<'_, T>],
        ready: &Barrier,
        mut progress: impl FnMut(Progress),
    ) -> (Instant, Option<Duration>, Vec<u64>) {
        let wanted = u64::from(options.preload) * options.keys;
        // A thread that fails stores no more keys, but still comes to the barrier.
        let mut silent = clock::now();
        let mut stored = 0;
        while stored < wanted && clock::now().since(silent) < SILENCE_MAX / 10 {
            std::thread::sleep(Duration::from_millis(2));
            let now_stored = self.shared.stored.load(Ordering::Relaxed);
            if now_stored > stored {
                (stored, silent) = (now_stored, clock::now());
            }
            self.tell(&mut progress, false);
        }
        ready.wait();
        let cpu = server_cpu::read(&options.server_pids);
        let start = clock::now();
        self.told = start;
        while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(2));
            self.tell(&mut progress, true);
        }
        (start, cpu, self.series)
    }

    fn tell(&mut self, progress: &mut impl FnMut(Progress), measured: bool) {
        let now = clock::now();
        if now.since(self.told) < Duration::from_secs(1) {
            return;
        }
        self.told = now;
        let requests = self.shared.done.load(Ordering::Relaxed);
        let last_second = requests - self.series.iter().sum::<u64>();
        if measured {
            self.series.push(last_second);
        }
        let stored = self.shared.stored.load(Ordering::Relaxed);
        progress(Progress { elapsed: now.since(self.start), stored, requests, last_second });
    }
}

fn check(options: &BenchOptions) -> Result<(), BenchError> {
    let digits = options.keys.max(1).to_string().len();
    let mix = options.mix;
    let key_max = options.key_size.max();
    let fixed = matches!(options.key_size, Sizes::Fixed(_));
    let shares = mix.sets + mix.deletes + mix.lone_gets;
    let rules = [
        (options.threads >= 1, "0 threads: at least one is needed".to_owned()),
        (
            options.connections >= options.threads,
            format!("{} connections are fewer than {} threads", options.connections, options.threads),
        ),
        (
            options.connections <= CONNECTIONS_MAX,
            format!("{} connections: at most {CONNECTIONS_MAX}", options.connections),
        ),
        (
            (1..=PIPELINE_MAX).contains(&options.pipeline),
            format!("pipeline {}: 1 to {PIPELINE_MAX}", options.pipeline),
        ),
        (options.keys >= 1, "0 keys: at least one is needed".to_owned()),
        (
            !options.preload || options.keys <= PRELOAD_KEYS_MAX,
            format!("{} keys: at most {PRELOAD_KEYS_MAX} are stored before a run", options.keys),
        ),
        (
            key_max <= 250 && (!fixed || key_max >= digits + 4),
            format!("keys of {key_max} bytes: {} keys need {} to 250", options.keys, digits + 4),
        ),
        (
            [mix.sets, mix.deletes, mix.lone_gets, shares].iter().all(|share| (0.0..=1.0).contains(share)),
            format!(
                "shares of sets {}, deletes {} and lone gets {}: each from 0 to 1, and 1 together at most",
                mix.sets, mix.deletes, mix.lone_gets
            ),
        ),
        ((1..=1000).contains(&options.multiget), format!("{} keys in a get: 1 to 1000", options.multiget)),
        (
            options.multiget == 1 || !mix.set_on_miss,
            format!("{} keys in a get: a set after a miss needs gets of one key", options.multiget),
        ),
        (
            options.rate.is_none_or(|rate| rate > 0.0),
            format!("rate {}: above 0", options.rate.unwrap_or_default()),
        ),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, rule)) => Err(BenchError::Options(rule)),
        None => Ok(()),
    }
}
