//! A trace against a server: every key is got, and stored when it was missed. One connection, in the trace's order.
//!
//! Gets may go in batches: a batch ends before a key that it already holds and before a set or a delete, so that
//! the misses are those of one request after the other, but for the order in which the misses of a batch are stored.
//!
//! **Invariant**: a get is sent after everything before it in the trace was, and stored what it missed.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use stdx::{Instant, clock};

use crate::limits::{READ_SIZE, REPLAY_BATCH_MAX, REPLAY_OUTPUT_MAX, SILENCE_MAX};
use crate::report::{Latency, Step, empty_histogram, steps};
use crate::run::{BenchError, Progress, pin};
use crate::server_cpu;
use crate::sizes::{Sizes, Ttl};
use crate::target::{Stream, Target};
use crate::trace::{TraceError, TraceKey, TraceOp, TraceRequest};

/// How a trace is replayed.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// The server.
    pub target: Target,
    /// Keys of a get at most.
    pub batch: u32,
    /// Length of values where the trace does not say it.
    pub value_size: Sizes,
    /// exptime of sets where the trace does not say it.
    pub ttl: Ttl,
    /// Requests of the trace that are replayed; `None`: all.
    pub requests: Option<u64>,
    /// Processes whose CPU time is read before and after.
    pub server_pids: Vec<u32>,
    /// Pin the replay to this processor.
    pub cpu: Option<usize>,
}

/// What a replay found.
#[derive(Clone, Debug, Serialize)]
pub struct ReplayReport {
    /// Requests of the trace.
    pub requests: u64,
    /// Keys got.
    pub gets: u64,
    /// Of these, missed.
    pub misses: u64,
    /// Missed of got.
    pub miss_ratio: f64,
    /// Sets, those after misses too.
    pub sets: u64,
    /// Deletes.
    pub deletes: u64,
    /// Requests answered by an error line.
    pub errors: u64,
    /// The first error line.
    pub first_error: Option<String>,
    /// Length of the replay.
    pub seconds: f64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// CPU time of the named server processes for each request, if any were named.
    pub server_cpu_us_per_request: Option<f64>,
    /// Time from sending a batch (with the sets before it) to its last reply.
    pub latency: Latency,
    /// Its distribution.
    pub histogram: Vec<Step>,
}

/// Replays the requests; `progress` is called about once a second.
pub fn replay(
    options: &ReplayOptions,
    trace: impl IntoIterator<Item = Result<TraceRequest, TraceError>>,
    mut progress: impl FnMut(Progress),
) -> Result<ReplayReport, BenchError> {
    if !(1..=REPLAY_BATCH_MAX).contains(&options.batch) {
        let rule = format!("{} keys in a get of a replay: 1 to {REPLAY_BATCH_MAX}", options.batch);
        return Err(BenchError::Options(rule));
    }
    pin(options.cpu)?;
    let mut replay = Replay::connect(options)?;
    let cpu_before = server_cpu::read(&options.server_pids);
    let start = clock::now();
    let (mut told, mut told_requests) = (start, 0);
    let limit = options.requests.unwrap_or(u64::MAX);
    for request in trace {
        if replay.counts.requests == limit {
            break;
        }
        replay.take(request?)?;
        // A look at the clock for each of them would cost more than the request.
        if replay.counts.requests.is_multiple_of(256) && clock::now().since(told) >= Duration::from_secs(1) {
            told = clock::now();
            let requests = replay.counts.requests;
            let last_second = requests - told_requests;
            told_requests = requests;
            progress(Progress { elapsed: told.since(start), stored: 0, requests, last_second });
        }
    }
    // The first sends the last gets, the second stores what they missed.
    replay.flush()?;
    replay.flush()?;
    let elapsed = clock::now().since(start);
    let cpu = server_cpu::read(&options.server_pids)
        .zip(cpu_before)
        .map(|(after, before)| after.saturating_sub(before));
    Ok(replay.report(elapsed, cpu))
}

#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    gets: u64,
    misses: u64,
    sets: u64,
    deletes: u64,
    errors: u64,
    first_error: Option<String>,
}

struct Replay<'a> {
    options: &'a ReplayOptions,
    writer: Stream,
    reader: BufReader<Stream>,
    /// Sets and deletes that go before the next get, and how many.
    output: Vec<u8>,
    lines: u64,
    /// The gets of the next batch, keys as they are sent.
    batch: Vec<(Vec<u8>, TraceRequest)>,
    filler: Vec<u8>,
    line: Vec<u8>,
    counts: Counts,
    histogram: Histogram<u64>,
}

impl<'a> Replay<'a> {
    fn connect(options: &'a ReplayOptions) -> Result<Self, BenchError> {
        let connect = || {
            let stream = options.target.connect()?;
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            Ok(stream)
        };
        let fail = |source| BenchError::Connect { target: options.target.clone(), source };
        let stream = connect().map_err(fail)?;
        let reader = match &stream {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
        };
        Ok(Self {
            options,
            writer: stream,
            reader: BufReader::with_capacity(READ_SIZE, reader),
            output: Vec::new(),
            lines: 0,
            batch: Vec::new(),
            filler: vec![b'x'; options.value_size.max()],
            line: Vec::new(),
            counts: Counts::default(),
            histogram: empty_histogram(),
        })
    }

    fn take(&mut self, request: TraceRequest) -> Result<(), BenchError> {
        self.counts.requests += 1;
        let key = wire_key(&request.key);
        match request.op {
            TraceOp::Get => {
                if self.batch.iter().any(|(held, _)| *held == key) {
                    self.flush()?;
                }
                self.batch.push((key, request));
                if self.batch.len() >= self.options.batch as usize {
                    self.flush()?;
                }
            }
            TraceOp::Set => {
                self.flush_gets()?;
                self.push_set(&key, &request);
            }
            TraceOp::Delete => {
                self.flush_gets()?;
                self.output.extend_from_slice(b"delete ");
                self.output.extend_from_slice(&key);
                self.output.extend_from_slice(b"\r\n");
                self.lines += 1;
                self.counts.deletes += 1;
            }
        }
        if self.output.len() > REPLAY_OUTPUT_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// What comes next in the trace must not overtake the gets.
    fn flush_gets(&mut self) -> Result<(), BenchError> {
        if self.batch.is_empty() { Ok(()) } else { self.flush() }
    }

    fn push_set(&mut self, key: &[u8], request: &TraceRequest) {
        let seed = match &request.key {
            TraceKey::Number(number) => *number,
            TraceKey::Text(text) => text.iter().fold(0xcbf2, |hash: u64, byte| {
                (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            }),
        };
        let len = request.value_len.unwrap_or_else(|| self.options.value_size.of(seed));
        let ttl = request.ttl_s.unwrap_or_else(|| self.options.ttl.of(seed));
        if self.filler.len() < len {
            self.filler.resize(len, b'x');
        }
        self.output.extend_from_slice(b"set ");
        self.output.extend_from_slice(key);
        // A Vec takes every write.
        let _ = write!(self.output, " 0 {ttl} {len}\r\n");
        self.output.extend_from_slice(&self.filler[..len]);
        self.output.extend_from_slice(b"\r\n");
        self.lines += 1;
        self.counts.sets += 1;
    }

    /// Sends what is due, reads its replies, and makes sets of what was missed.
    fn flush(&mut self) -> Result<(), BenchError> {
        if self.lines == 0 && self.batch.is_empty() {
            return Ok(());
        }
        let sent = clock::now();
        if !self.batch.is_empty() {
            self.output.extend_from_slice(b"get");
            for (key, _) in &self.batch {
                self.output.push(b' ');
                self.output.extend_from_slice(key);
            }
            self.output.extend_from_slice(b"\r\n");
        }
        self.writer.write_all(&self.output)?;
        self.output.clear();
        for _ in 0..std::mem::take(&mut self.lines) {
            self.read_line()?;
            self.count_error();
        }
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.read_values(&batch)?;
        }
        self.record(sent);
        Ok(())
    }

    fn read_values(&mut self, batch: &[(Vec<u8>, TraceRequest)]) -> Result<(), BenchError> {
        self.counts.gets += batch.len() as u64;
        let mut asked = batch.iter();
        loop {
            self.read_line()?;
            let Some(head) = self.line.strip_prefix(b"VALUE ") else { break };
            let mut words = head.split(|&b| b == b' ');
            let key = words.next().unwrap_or_default().to_vec();
            let len = words.nth(1).and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
            let len = len.ok_or_else(|| self.garbage())?;
            std::io::copy(&mut self.reader.by_ref().take(len + 2), &mut std::io::sink())?;
            // Values come in the order asked, so the keys before this one were missed.
            loop {
                let Some((held, request)) = asked.next() else { return Err(self.garbage()) };
                if *held == key {
                    break;
                }
                self.miss(held, request);
            }
        }
        if self.line != b"END" {
            self.count_error();
            return Ok(());
        }
        for (held, request) in asked {
            self.miss(held, request);
        }
        Ok(())
    }

    fn miss(&mut self, key: &[u8], request: &TraceRequest) {
        self.counts.misses += 1;
        self.push_set(key, request);
    }

    fn read_line(&mut self) -> Result<(), BenchError> {
        self.line.clear();
        match self.reader.read_until(b'\n', &mut self.line) {
            Ok(0) => return Err(BenchError::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Err(BenchError::Silent),
            Err(error) => return Err(error.into()),
        }
        self.line.truncate(self.line.trim_ascii_end().len());
        Ok(())
    }

    fn count_error(&mut self) {
        let line = &self.line;
        if [&b"ERROR"[..], b"CLIENT_ERROR", b"SERVER_ERROR"].iter().any(|word| line.starts_with(word)) {
            self.counts.errors += 1;
            self.counts.first_error.get_or_insert_with(|| String::from_utf8_lossy(line).into_owned());
        }
    }

    fn garbage(&self) -> BenchError {
        BenchError::Garbage(String::from_utf8_lossy(&self.line).into_owned())
    }

    fn record(&mut self, sent: Instant) {
        let ns = u64::try_from(clock::now().since(sent).as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(ns);
    }

    fn report(self, elapsed: Duration, cpu: Option<Duration>) -> ReplayReport {
        let counts = self.counts;
        let requests = counts.requests.max(1) as f64;
        ReplayReport {
            requests: counts.requests,
            gets: counts.gets,
            misses: counts.misses,
            miss_ratio: counts.misses as f64 / counts.gets.max(1) as f64,
            sets: counts.sets,
            deletes: counts.deletes,
            errors: counts.errors,
            first_error: counts.first_error,
            seconds: elapsed.as_secs_f64(),
            requests_per_second: counts.requests as f64 / elapsed.as_secs_f64().max(1e-9),
            server_cpu_us_per_request: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / requests),
            latency: Latency::of(&self.histogram),
            histogram: steps(&self.histogram),
        }
    }
}

/// Numbers as 16 hexadecimal digits.
fn wire_key(key: &TraceKey) -> Vec<u8> {
    match key {
        TraceKey::Number(number) => format!("{number:016x}").into_bytes(),
        TraceKey::Text(text) => text.clone(),
    }
}
