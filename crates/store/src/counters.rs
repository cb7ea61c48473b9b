//! Counters that many threads write, spread over cache lines by bucket.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::item::Absent;
use crate::record::Record;
use crate::stats::StoreStats;

/// One part of the counters. Gauges may wrap in a part; their sum is right.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Counters {
    items: AtomicU64,
    bytes: AtomicU64,
    pub(crate) total_items: AtomicU64,
    evictions: AtomicU64,
    evicted_unfetched: AtomicU64,
    evicted_with_exptime: AtomicU64,
    pub(crate) reclaimed: AtomicU64,
    expired_unfetched: AtomicU64,
    pub(crate) out_of_memory: AtomicU64,
}

impl Counters {
    pub(crate) fn add(field: &AtomicU64, count: u64) {
        field.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn linked(&self, bytes: u64) {
        Self::add(&self.items, 1);
        Self::add(&self.bytes, bytes);
    }

    pub(crate) fn unlinked(&self, bytes: u64) {
        Self::add(&self.items, 1u64.wrapping_neg());
        Self::add(&self.bytes, bytes.wrapping_neg());
    }

    /// An item goes to make room; `absent` when it was dead.
    pub(crate) fn dropped(&self, record: Record<'_>, absent: Option<Absent>) {
        let unfetched = u64::from(!record.was_fetched());
        match absent {
            Some(absent) => {
                Self::add(&self.reclaimed, 1);
                Self::add(&self.expired_unfetched, if absent == Absent::Expired { unfetched } else { 0 });
            }
            None => {
                Self::add(&self.evictions, 1);
                Self::add(&self.evicted_unfetched, unfetched);
                Self::add(&self.evicted_with_exptime, u64::from(record.exptime() != 0));
            }
        }
    }

    pub(crate) fn add_to(&self, total: &mut StoreStats) {
        let load = |field: &AtomicU64| field.load(Ordering::Relaxed);
        total.items = total.items.wrapping_add(load(&self.items));
        total.bytes = total.bytes.wrapping_add(load(&self.bytes));
        total.total_items += load(&self.total_items);
        total.evictions += load(&self.evictions);
        total.evicted_unfetched += load(&self.evicted_unfetched);
        total.evicted_with_exptime += load(&self.evicted_with_exptime);
        total.reclaimed += load(&self.reclaimed);
        total.expired_unfetched += load(&self.expired_unfetched);
        total.out_of_memory += load(&self.out_of_memory);
    }

    /// Gauges stay.
    pub(crate) fn reset(&self) {
        for field in [
            &self.total_items,
            &self.evictions,
            &self.evicted_unfetched,
            &self.evicted_with_exptime,
            &self.reclaimed,
            &self.expired_unfetched,
            &self.out_of_memory,
        ] {
            field.store(0, Ordering::Relaxed);
        }
    }
}
