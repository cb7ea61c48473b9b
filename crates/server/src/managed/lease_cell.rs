//! The lease where all workers read it: two atomics, the end on each of the two clocks.
//!
//! One writer (the control thread; at the end whoever stops the node, under the machine's lock). A reader may
//! see one number of an older lease and one of a newer: the mix ends no later than the newer on either clock,
//! and a lease that is taken back is zero on both, so whichever is read ends it.
//!
//! A lease that is new on either clock is seen only together with what was done before it was published. So who
//! goes by a lease and a tag has to read the lease first: [`LeaseCell::with_tag`].
//!
//! Runs under loom too, in `crates/model`.

use cluster::Lease;
use stdx::LeaseTime;

use crate::sync::{AtomicU64, Ordering};

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

    /// The lease, and then the tag of a bucket. The other way round, the tag could be from before a bucket was
    /// revoked, and the lease from the same reply as the revoke: a node whose lease had lapsed, and whose bucket
    /// had been given to another, would serve it once more.
    #[inline]
    pub fn with_tag(&self, tag: impl FnOnce() -> u64) -> (Lease, u64) {
        let lease = self.get();
        (lease, tag())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply that revokes the bucket and renews a lapsed lease, applied between the two reads.
    #[test]
    fn a_tag_from_before_a_revoke_never_comes_with_the_lease_from_after_it() {
        let until = |millis| Lease::from_until(LeaseTime::from_millis(millis));
        let (lapsed, renewed) = (until(10), until(30));
        let cell = LeaseCell::new(lapsed);
        let (lease, _) = cell.with_tag(|| {
            cell.set(renewed);
            7
        });
        assert_eq!(lease, lapsed);
    }
}
