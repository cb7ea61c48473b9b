//! What decides whether a bucket's items may be seen: its floor and its tag.
//!
//! Both are written under the bucket's lock and read without it. Who sees a new tag also sees the floor of the
//! wipe before it: a bucket that changes hands is wiped first and tagged then.
//!
//! Runs under loom too, in `crates/model`.

use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Rights {
    /// Items with a seq at or below this are dead.
    floor: AtomicU64,
    /// The caller's number.
    tag: AtomicU64,
}

impl Rights {
    /// No item up to this seq is alive, and the tag is zero.
    pub(crate) fn new(floor: u64) -> Self {
        Self { floor: AtomicU64::new(floor), tag: AtomicU64::new(0) }
    }

    /// Kills all items up to this seq, the bucket's last. Called under the bucket's lock.
    pub(crate) fn wipe(&self, seq: u64) {
        self.floor.store(seq, Ordering::SeqCst);
    }

    /// Whether an item with this seq was wiped. Asked after the item was found.
    pub(crate) fn is_wiped(&self, seq: u64) -> bool {
        seq <= self.floor.load(Ordering::SeqCst)
    }

    pub(crate) fn tag(&self) -> u64 {
        self.tag.load(Ordering::SeqCst)
    }

    /// Called under the bucket's lock.
    pub(crate) fn set_tag(&self, tag: u64) {
        self.tag.store(tag, Ordering::SeqCst);
    }
}
