//! A whole run: threads, preload, start together, progress, the sum.

use std::io;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stdx::clock;

use crate::limits::{CONNECTIONS_MAX, PIPELINE_MAX, SILENCE_MAX};
use crate::options::BenchOptions;
use crate::report::{Report, Tally};
use crate::server_cpu;
use crate::thread::LoadThread;

/// Why a run did not end well.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The options contradict themselves or a limit.
    #[error("{0}")]
    Options(String),
    /// A connection was refused.
    #[error("no server at {address}: {source}")]
    Connect {
        /// Where.
        address: SocketAddr,
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
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Time since the start of the measured part.
    pub elapsed: Duration,
    /// Requests answered so far.
    pub requests: u64,
}

/// Counted by all threads.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    done: AtomicU64,
}

impl Shared {
    pub(crate) fn add_done(&self, requests: u64) {
        self.done.fetch_add(requests, Ordering::Relaxed);
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
        ready.wait();
        let cpu_before = server_cpu::read(&options.server_pids);
        let start = clock::now();
        watch(&shared, &threads, start, progress);
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
        Ok(tally.report(elapsed, cpu))
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
    if let Some(cpu) = options.cpu {
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu);
        rustix::thread::sched_setaffinity(None, &set).map_err(io::Error::from)?;
    }
    let mut thread = LoadThread::connect(options, shared, index)?;
    if options.preload {
        thread.preload(index)?;
    }
    Ok(thread)
}

fn watch<T>(
    shared: &Shared,
    threads: &[std::thread::ScopedJoinHandle<'_, T>],
    start: stdx::Instant,
    mut progress: impl FnMut(Progress),
) {
    let mut told = start;
    while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(2));
        let now = clock::now();
        if now.since(told) >= Duration::from_secs(1) {
            told = now;
            progress(Progress { elapsed: now.since(start), requests: shared.done.load(Ordering::Relaxed) });
        }
    }
}

fn check(options: &BenchOptions) -> Result<(), BenchError> {
    let digits = options.keys.max(1).to_string().len();
    let rules = [
        (options.threads >= 1, "at least one thread is needed".to_owned()),
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
        (options.keys >= 1, "at least one key is needed".to_owned()),
        (
            (digits + 4..=250).contains(&options.key_len),
            format!("keys of {} bytes: {} keys need {} to 250", options.key_len, options.keys, digits + 4),
        ),
        ((0.0..=1.0).contains(&options.set_share), format!("share of sets {}: 0 to 1", options.set_share)),
        ((1..=1000).contains(&options.multiget), format!("{} keys in a get: 1 to 1000", options.multiget)),
        (options.rate.is_none_or(|rate| rate > 0.0), "the rate must be above 0".to_owned()),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, rule)) => Err(BenchError::Options(rule)),
        None => Ok(()),
    }
}
