//! What a managed node knows besides its items: who it is, its lease, its clock, the newest map.
//!
//! Shared by all workers, written by the control thread (or the admin listener's session). The generation of
//! each bucket is the bucket's tag in the store.

pub mod claim;
pub mod lease_cell;
pub mod map_keeper;

use std::sync::atomic::{AtomicU64, Ordering};

use cluster::Lease;
use proto::{ClusterId, Incarnation, NodeId};
use stdx::LeaseTime;

use crate::clock::Start;
use lease_cell::LeaseCell;
use map_keeper::MapKeeper;

pub use claim::{Claim, Refused};

/// The managed side of an engine.
#[derive(Debug)]
pub struct Managed {
    /// This node's name.
    pub node: NodeId,
    /// This life of it.
    pub incarnation: Incarnation,
    /// True: `own` and `disown` are understood on the admin listener, and there is no lease.
    pub by_hand: bool,
    /// The lease as published by the control thread.
    pub lease: LeaseCell,
    /// The newest map.
    pub map: MapKeeper,
    /// Zero until the manager has said it.
    cluster: AtomicU64,
    /// The node's clock starts here: random, so that a deadline of another life is absurd in this one.
    clock_start_ms: u64,
    start: Start,
}

impl Managed {
    /// A node that owns nothing. `random` makes its clock unlike that of any other life.
    pub fn new(node: NodeId, incarnation: Incarnation, by_hand: bool, start: Start, random: u64) -> Self {
        let lease = LeaseCell::new(if by_hand { LeaseCell::FOR_EVER } else { Lease::NONE });
        Self {
            node,
            incarnation,
            by_hand,
            lease,
            map: MapKeeper::default(),
            cluster: AtomicU64::new(0),
            clock_start_ms: (1 << 40) + (random >> 3),
            start,
        }
    }

    /// The node's clock, in milliseconds, by the faster of the lease clocks: a deadline never comes late.
    pub fn clock_ms(&self, lease: LeaseTime) -> u64 {
        self.clock_start_ms + self.start.elapsed_max_ms(lease)
    }

    /// The node's cluster; zero until known.
    pub fn cluster(&self) -> ClusterId {
        ClusterId(self.cluster.load(Ordering::Relaxed))
    }

    /// The manager has said which cluster this is.
    pub fn set_cluster(&self, cluster: ClusterId) {
        self.cluster.store(cluster.0, Ordering::Relaxed);
    }
}
