//! A list of what was evicted, for who wants to tell it: kept while it is switched on, bounded, and empty else.
//!
//! Any thread that evicts appends, under the lock of the item's bucket; whoever takes the list takes all of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::item::ItemView;
use crate::limits::EVICTED_COUNT_MAX;

/// A live item that had to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Its key.
    pub key: Box<[u8]>,
    /// Length of its value in bytes.
    pub value_len: usize,
    /// When it would have expired; zero: never.
    pub exptime_ms: u64,
    /// When it was last fetched or written.
    pub last_access_ms: u64,
    /// Fetched since it was written.
    pub fetched: bool,
}

/// The list.
#[derive(Debug, Default)]
pub(crate) struct EvictedList {
    is_on: AtomicBool,
    items: Mutex<Vec<Evicted>>,
    /// Did not fit into the list.
    lost: AtomicU64,
}

impl EvictedList {
    pub(crate) fn switch(&self, on: bool) {
        self.is_on.store(on, Ordering::Relaxed);
        if !on {
            *self.items.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    #[cold]
    pub(crate) fn note(&self, item: &ItemView<'_>) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        if items.len() >= EVICTED_COUNT_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        items.push(Evicted {
            key: item.key.into(),
            value_len: item.value.len(),
            exptime_ms: item.exptime_ms,
            last_access_ms: item.last_access_ms,
            fetched: item.marks.fetched,
        });
    }

    pub(crate) fn take(&self) -> (Vec<Evicted>, u64) {
        let items = std::mem::take(&mut *self.items.lock().unwrap_or_else(PoisonError::into_inner));
        (items, self.lost.swap(0, Ordering::Relaxed))
    }
}
