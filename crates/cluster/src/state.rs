//! What the manager knows durably: cluster, term, members, map and bases ("Manager/DURABLE").

use proto::control::LockIdentity;
use proto::{ClusterId, Generation, Incarnation, Term};

use crate::map::Map;
use crate::record::{MemberRole, Records, Write};

/// The durable state, as loaded and as changed by each committed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    revision: u64,
    epoch: u32,
    term: Term,
    change: u64,
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

/// Why records are not a state. Nothing is ever written over them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Nothing there: a new store, or a lost one. It never starts silently.
    #[error("the store is empty: create a cluster with --bootstrap")]
    Empty,
    /// Written by a later version of this program.
    #[error("record \"{key}\" has format {format}, this program knows {known}")]
    Format {
        /// Of the record.
        key: String,
        /// In it.
        format: u64,
        /// The newest known here.
        known: u32,
    },
    /// Not a record of ours, a missing one, or one that contradicts another.
    #[error("record \"{key}\": {rule}")]
    Record {
        /// Of the record.
        key: String,
        /// The value and the rule that it breaks.
        rule: String,
    },
}

impl State {
    /// A new cluster without nodes, as state and as the writes that make an empty store hold it. The caller makes
    /// sure that the store is empty, in the same transaction.
    pub fn bootstrap(cluster: ClusterId) -> (Self, Vec<Write>) {
        let state = Self {
            revision: 0,
            epoch: 1,
            term: Term(0),
            change: 0,
            members: Vec::new(),
            map: Map::empty(cluster),
            bases: Vec::new().into(),
        };
        (state, Vec::new())
    }

    /// Reads the records of a store; refuses what it does not fully understand.
    pub fn load(records: &Records) -> Result<Self, LoadError> {
        let _ = records;
        Err(LoadError::Empty)
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
}
