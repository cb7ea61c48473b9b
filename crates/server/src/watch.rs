//! `watch`: connections that are told what others do, line by line.
//!
//! A worker writes its lines to a [`Log`] of its own and hands them to the watchers at the end of a turn. A
//! watcher has a bounded queue; what does not fit is skipped and counted, so one that does not read slows nobody
//! down. The worker that has the watcher's connection is woken, and moves lines from the queue to the output.
//!
//! **Invariants**: while nobody watches, a batch of input costs one relaxed load, and nothing is held. The list's
//! lock is taken before a queue's, and a queue's lock before nothing.

pub mod events;
mod kinds;
pub mod line;
mod log;
mod queue;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::WATCHERS_MAX;
pub use kinds::Kinds;
pub use log::Log;
use queue::Queue;

/// All watchers of a node.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// What anybody wants to hear of, standard error (`-vv`) included.
    wanted: AtomicU32,
    watchers: Mutex<Vec<Arc<Watcher>>>,
    /// Number of the last line (`gid`), over all workers.
    last_line: AtomicU64,
    pub(crate) counters: Counters,
}

/// Lines since the start or the last `stats reset`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Did not fit into a worker's log.
    pub(crate) dropped: AtomicU64,
    /// Written to workers' logs.
    pub(crate) written: AtomicU64,
    /// Did not fit into a watcher's queue.
    pub(crate) skipped: AtomicU64,
    /// Put into watchers' queues.
    pub(crate) sent: AtomicU64,
}

/// One watching connection.
#[derive(Debug)]
pub struct Watcher {
    kinds: Kinds,
    /// Lines up to this number are older than the watcher.
    after: u64,
    queue: Mutex<Queue>,
    /// Its worker was told of lines and has not looked since.
    woken: AtomicBool,
    /// The worker that has its connection.
    worker: usize,
}

/// There are as many watchers as there may be.
#[derive(Debug)]
pub(crate) struct TooMany;

impl Watch {
    /// What is to be logged now.
    #[inline]
    pub(crate) fn wanted(&self) -> Kinds {
        Kinds::from_bits(self.wanted.load(Ordering::Relaxed))
    }

    /// One more watcher, of a connection of this worker; lines that do not fit into so many bytes are skipped.
    pub(crate) fn add(&self, kinds: Kinds, worker: usize, len_max: usize) -> Result<Arc<Watcher>, TooMany> {
        let mut watchers = self.lock();
        if watchers.len() >= WATCHERS_MAX {
            return Err(TooMany);
        }
        let watcher = Arc::new(Watcher {
            kinds,
            after: self.last_line.load(Ordering::Relaxed),
            queue: Mutex::new(Queue::new(len_max)),
            woken: AtomicBool::new(false),
            worker,
        });
        watchers.push(Arc::clone(&watcher));
        self.refresh(&watchers);
        Ok(watcher)
    }

    pub(crate) fn remove(&self, watcher: &Arc<Watcher>) {
        let mut watchers = self.lock();
        watchers.retain(|other| !Arc::ptr_eq(other, watcher));
        self.refresh(&watchers);
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// What standard error wants to hear of at this level of `-v`.
    pub(crate) fn set_verbosity(&self, level: u64) {
        let _watchers = self.lock();
        let others = self.wanted().without(Kinds::SPOKEN);
        self.wanted.store(others.with(Kinds::of_verbosity(level)).bits(), Ordering::Relaxed);
    }

    /// Moves the lines of a log to the watchers' queues; `wake` is called with the workers that have some now.
    pub(crate) fn distribute(&self, log: &Log, mut wake: impl FnMut(usize) -> bool) {
        let watchers = self.lock();
        log.drain(|lines| {
            for watcher in watchers.iter() {
                let (sent, skipped) = watcher.offer(lines);
                self.counters.sent.fetch_add(sent, Ordering::Relaxed);
                self.counters.skipped.fetch_add(skipped, Ordering::Relaxed);
                if sent > 0 && !watcher.woken.swap(true, Ordering::SeqCst) && !wake(watcher.worker) {
                    // It is told with the next lines.
                    watcher.woken.store(false, Ordering::SeqCst);
                }
            }
            self.counters.written.fetch_add(lines.count() as u64, Ordering::Relaxed);
            self.counters.dropped.fetch_add(lines.dropped(), Ordering::Relaxed);
        });
    }

    fn next_line(&self) -> u64 {
        self.last_line.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn refresh(&self, watchers: &[Arc<Watcher>]) {
        let spoken = self.wanted().only(Kinds::SPOKEN);
        let wanted = watchers.iter().fold(spoken, |all, watcher| all.with(watcher.kinds));
        self.wanted.store(wanted.bits(), Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Watcher>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    pub(crate) fn reset(&self) {
        for counter in [&self.dropped, &self.written, &self.skipped, &self.sent] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

impl Watcher {
    /// Appends the oldest lines to `out`, at most `room` bytes; true when there are more.
    pub(crate) fn take(&self, room: usize, out: &mut Vec<u8>) -> bool {
        self.queue().take(room, out)
    }

    /// Whether any wait to be taken; who asks will be woken for those that come later.
    pub(crate) fn has_lines(&self) -> bool {
        self.woken.store(false, Ordering::SeqCst);
        !self.queue().is_empty()
    }

    /// How many lines were queued and how many skipped.
    fn offer(&self, lines: &log::Lines) -> (u64, u64) {
        let mut queue = self.queue();
        let (mut sent, mut skipped) = (0, 0);
        for line in lines.iter() {
            if !self.kinds.has(line.kind) || line.number <= self.after {
                continue;
            }
            if queue.push(line.text) {
                sent += 1;
            } else {
                skipped += 1;
            }
        }
        (sent, skipped)
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
