//! What the manager knows durably: cluster, term, members, map and bases ("Manager/DURABLE").
//!
//! A [`State`] is what the store holds, never more: the manager drafts the next state, and takes it over when the
//! transaction that writes it is durable.
//!
//! **Invariants**: members and the map's nodes have the same order and indexes; base <= generation <= version for
//! every bucket; generations and versions are drawn from one counter and never repeat.

mod draft;
mod load;

use std::time::Duration;

use proto::control::LockIdentity;
use proto::{BUCKET_COUNT, Bucket, ClusterId, Generation, Incarnation, MapVersion, NodeId, Term};

use crate::map::Map;
use crate::record::{MemberRole, Records, Write};

pub(crate) use draft::Draft;
pub use load::LoadError;
pub(crate) use load::{LastChange, last_change};

/// The durable state, as loaded and as changed by each committed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    revision: u64,
    epoch: u32,
    term: Term,
    /// Counts transactions.
    change: u64,
    /// Who made the last one: random for each reign, so that none is taken for another's.
    leader: u64,
    /// The longest lease that a node may have of any term, this one's included.
    lease: Duration,
    /// Same order and indexes as the map's nodes.
    members: Vec<Member>,
    map: Map,
    /// Of each bucket: since when its owner has been one without a gap and without a wipe.
    bases: Box<[Generation]>,
}

/// The durable part of a member; its name and address are in the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What the operator wants of it.
    pub role: MemberRole,
    /// The life granted last; zero if none was.
    pub incarnation: Incarnation,
    /// That life is proven dead.
    pub dead: bool,
    /// The lock that that life held.
    pub lock: LockIdentity,
}

impl State {
    /// A new cluster without nodes, as state and as the writes that make an empty store hold it. The caller makes
    /// sure that the store is empty, in the same transaction.
    ///
    /// # Panics
    /// If `cluster` is zero, which names no cluster.
    pub fn bootstrap(cluster: ClusterId) -> (Self, Vec<Write>) {
        assert!(cluster.0 != 0, "cluster 0 names no cluster");
        let mut map = Map::empty(cluster);
        let bases = vec![Generation::NONE; BUCKET_COUNT].into_boxed_slice();
        map.set_version(MapVersion::new(1, 1));
        let state = Self {
            revision: 0,
            epoch: 1,
            term: Term(0),
            change: 0,
            leader: 0,
            lease: Duration::ZERO,
            members: Vec::new(),
            map,
            bases,
        };
        let writes = state.encode_all();
        (state, writes)
    }

    /// Reads the records of a store; refuses what it does not fully understand.
    pub fn load(records: &Records) -> Result<Self, LoadError> {
        load::load(records)
    }

    /// The cluster's id, never zero.
    pub fn cluster(&self) -> ClusterId {
        self.map.cluster()
    }

    /// The last term that began.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The high half of new generations.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The longest lease that may be running, whichever term gave it; zero before the first term.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// The store's revision after the last change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The map as committed.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// All members, in the order of the map's nodes.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The index of a member, in [`State::members`] and in the map's nodes.
    pub fn member_index(&self, id: &NodeId) -> Option<usize> {
        self.map.node_index(id)
    }

    /// Since when a bucket's owner has been one without a gap and without a wipe.
    pub fn base(&self, bucket: Bucket) -> Generation {
        self.bases[bucket.index()]
    }

    /// The number of the last transaction.
    pub(crate) fn change(&self) -> u64 {
        self.change
    }

    /// What tells the last transaction from every other.
    pub(crate) fn last_change(&self) -> LastChange {
        LastChange { change: self.change, term: self.term, leader: self.leader }
    }

    pub(crate) fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    pub(crate) fn node_id(&self, member: usize) -> &NodeId {
        &self.map.nodes()[member].id
    }
}

#[cfg(test)]
mod tests;
