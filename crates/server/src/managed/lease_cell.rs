//! The lease where all workers read it: two atomics, the end on each of the two clocks.
//!
//! One writer (the control thread; at the end whoever stops the node, under the machine's lock). A reader may
//! see one number of an older lease and one of a newer: the mix ends no later than the newer on either clock,
//! and a lease that is taken back is zero on both, so whichever is read ends it.

use std::sync::atomic::{AtomicU64, Ordering};

use cluster::Lease;
use stdx::LeaseTime;

/// See the head of the file.
#[derive(Debug)]
pub struct LeaseCell {
    until_boot: AtomicU64,
    until_raw: AtomicU64,
}

impl LeaseCell {
    /// The lease of a node that is owned by hand.
    pub const FOR_EVER: Lease = Lease::from_until(LeaseTime { boot: u64::MAX, raw: u64::MAX });

    /// A cell that holds this lease.
    pub fn new(lease: Lease) -> Self {
        let until = lease.until();
        Self { until_boot: AtomicU64::new(until.boot), until_raw: AtomicU64::new(until.raw) }
    }

    /// Publishes a lease. What it depends on (tags, wipes) was done before.
    pub fn set(&self, lease: Lease) {
        let until = lease.until();
        self.until_boot.store(until.boot, Ordering::Release);
        self.until_raw.store(until.raw, Ordering::Release);
    }

    /// The lease now.
    #[inline]
    pub fn get(&self) -> Lease {
        Lease::from_until(LeaseTime {
            boot: self.until_boot.load(Ordering::Acquire),
            raw: self.until_raw.load(Ordering::Acquire),
        })
    }
}
