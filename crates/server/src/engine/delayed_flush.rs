//! `flush_all` with a delay: one point in time, looked at when a batch of requests comes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use store::Store;

/// A flush that is still to come, if any; a later `flush_all` replaces it.
#[derive(Debug, Default)]
pub(crate) struct DelayedFlush {
    /// On the store's clock; zero: none.
    at_ms: AtomicU64,
    /// Held while flushing, so that no worker goes on with items that should be gone.
    flushing: Mutex<()>,
}

impl DelayedFlush {
    /// Flushes now, and forgets what was to come.
    pub(crate) fn now(&self, store: &Store) {
        let _guard = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        store.wipe_all();
        self.at_ms.store(0, Ordering::Release);
    }

    /// Flushes at a time on the store's clock.
    pub(crate) fn later(&self, at_ms: u64) {
        self.at_ms.store(at_ms, Ordering::Release);
    }

    /// When it is due, on the store's clock; zero: there is none.
    pub(crate) fn at_ms(&self) -> u64 {
        self.at_ms.load(Ordering::Acquire)
    }

    /// Called before requests are handled: does what is due.
    #[inline]
    pub(crate) fn run_due(&self, store: &Store, now_ms: u64) {
        if self.is_due(now_ms) {
            self.run(store, now_ms);
        }
    }

    fn is_due(&self, now_ms: u64) -> bool {
        let at_ms = self.at_ms.load(Ordering::Acquire);
        at_ms != 0 && at_ms <= now_ms
    }

    #[cold]
    fn run(&self, store: &Store, now_ms: u64) {
        let _guard = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_due(now_ms) {
            store.wipe_all();
            self.at_ms.store(0, Ordering::Release);
        }
    }
}
