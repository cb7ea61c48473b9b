//! The manager's durable records: what is in the store, byte for byte.
//!
//! Keys are text, values JSON. `meta` is written by every transaction; `node/<name>` is one member;
//! `buckets/<number>` is a chunk of 128 buckets as runs. Every record carries the format's version, so that a
//! later one is refused instead of misread. All numbers are plain, names are text: a person can read them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The format's version that this code reads and writes.
pub const FORMAT: u32 = 1;
/// Buckets in one chunk record.
pub const CHUNK_BUCKETS: usize = 128;
/// Key of the meta record.
pub const META_KEY: &str = "meta";
/// Keys of members start with it, their name follows.
pub const NODE_PREFIX: &str = "node/";
/// Keys of chunks start with it, the three-digit number of the chunk follows.
pub const CHUNK_PREFIX: &str = "buckets/";

/// All records of a store, with the store's revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Of the store when it was read; the next transaction demands that it still holds.
    pub revision: u64,
    /// Key to value.
    pub entries: BTreeMap<String, Vec<u8>>,
}

/// One write of a transaction; `None` deletes the key.
pub type Write = (String, Option<Vec<u8>>);

/// The cluster as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetaRecord {
    pub(crate) format: u32,
    pub(crate) cluster: u64,
    pub(crate) epoch: u32,
    pub(crate) term: u64,
    pub(crate) version: u64,
    /// Counts transactions; with the leader it tells whether one of unknown outcome has landed.
    pub(crate) change: u64,
    /// Whose transaction it was.
    pub(crate) leader: u64,
    /// The longest lease that may be running, in milliseconds; zero before the first term.
    pub(crate) lease_ms: u64,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeRecord {
    pub(crate) format: u32,
    pub(crate) name: String,
    /// Empty until its first poll.
    pub(crate) address: String,
    /// Its place in the map's list of nodes.
    pub(crate) index: u32,
    pub(crate) role: MemberRole,
    /// The life granted last; zero if none was.
    pub(crate) incarnation: u64,
    /// That life is proven dead.
    pub(crate) dead: bool,
    /// 32 hex digits.
    pub(crate) lock_boot_id: String,
    pub(crate) lock_device: u64,
    pub(crate) lock_inode: u64,
}

/// What the operator wants of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    /// Takes its share of buckets while it lives.
    Active,
    /// Gives its buckets to the others and takes none.
    Draining,
    /// As draining, and is forgotten once nothing is left with it.
    Leaving,
}

/// A chunk of buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChunkRecord {
    pub(crate) format: u32,
    /// The chunk's first bucket.
    pub(crate) first: u16,
    /// Together [`CHUNK_BUCKETS`].
    pub(crate) runs: Vec<RunRecord>,
}

/// Neighbouring buckets that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRecord {
    pub(crate) count: u16,
    pub(crate) generation: u64,
    /// Since when the owner has been one without a gap and without a wipe.
    pub(crate) base: u64,
    pub(crate) owner: Option<String>,
}
