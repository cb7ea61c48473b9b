//! The control messages between manager, nodes, guardians, clients: plain data, and their one versioned codec.
//!
//! See the promise, "Node" and "Manager". One `Reply` carries revokes, grants and lease together; only the
//! outstanding nonce is accepted, so duplicated, reordered and delayed replies are harmless. Who asks (node,
//! guardian, client) may send several requests on one connection; each gets exactly one answer, in order.

mod body;
pub mod codec;
mod reader;

pub use codec::{DecodeError, decode, encode};

use crate::bucket::Bucket;
use crate::ids::{ClusterId, Generation, Incarnation, MapVersion, NodeId, Nonce, Term};

/// Any control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A node asks for its lease and for news.
    Poll(Poll),
    /// The manager's answer to one poll.
    Reply(Reply),
    /// A guardian's word: that incarnation's process has been waited for.
    Dead(Life),
    /// A node's own word: it has disowned everything and will not serve again in that incarnation.
    Release(Life),
    /// A client's word: a write or delete of that bucket may be lost; wipe it.
    Dirty(Dirty),
    /// The manager has done what was asked (dead, release, dirty), durably and, for dirty, fenced.
    Done,
    /// The manager refuses; the text says why.
    Refused(String),
    /// A client asks for the map if newer than the version it holds.
    MapGet(MapVersion),
    /// The map as text (`cluster::map`), whole or a delta.
    MapIs(Vec<u8>),
}

/// `POLL`: exactly one is out at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Zero until the node has learnt its cluster.
    pub cluster: ClusterId,
    /// Whose poll.
    pub node: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Random; the reply carries it back.
    pub nonce: Nonce,
    /// The nonce of the last reply that this incarnation applied; zero if none.
    pub applied: Nonce,
    /// Everything owned, when the manager asked for it or the connection is new; else `None`.
    pub owned: Option<Vec<Owned>>,
    /// Newest map that the node holds.
    pub map_version: MapVersion,
    /// Where clients reach the node, `host:port`.
    pub address: String,
    /// The lock that the node holds while it lives.
    pub lock: LockIdentity,
    /// Process id of the node, for people.
    pub pid: u32,
}

/// What proves that a later holder of the same lock outlived an earlier one: same boot, same device and inode.
/// All zero: no lock, proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockIdentity {
    /// Random id of the machine's boot.
    pub boot_id: u128,
    /// Device of the locked file.
    pub device: u64,
    /// Inode of the locked file.
    pub inode: u64,
}

/// A run of buckets owned under one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// First bucket of the run.
    pub first: Bucket,
    /// Number of buckets in it, at least 1; `first + count` is at most 32,768.
    pub count: u16,
    /// Generation of all of them.
    pub generation: Generation,
}

/// The answer to one poll: revokes and grants, in one step, and with `lease` the right to serve until L after
/// the poll was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The manager's cluster.
    pub cluster: ClusterId,
    /// Copied from the poll.
    pub incarnation: Incarnation,
    /// Copied from the poll.
    pub nonce: Nonce,
    /// The manager's reign.
    pub term: Term,
    /// False: news only, no right to serve is renewed.
    pub lease: bool,
    /// Length of the lease in milliseconds, counted from the send time of the poll.
    pub lease_ms: u32,
    /// True: the next poll must list what the node owns.
    pub list_owned: bool,
    /// Applied in order, atomically against the data path.
    pub changes: Vec<Change>,
    /// Newer map or delta as text (`cluster::map`), empty when there is none.
    pub map: Vec<u8>,
}

/// A change of one node's ownership of a run of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Serve no more under any generation.
    Revoke {
        /// First bucket of the run.
        first: Bucket,
        /// Number of buckets.
        count: u16,
    },
    /// Own from now on; items tagged below `base` are dead.
    Grant {
        /// First bucket of the run.
        first: Bucket,
        /// Number of buckets.
        count: u16,
        /// The generation to own under.
        generation: Generation,
        /// Since when this node has been a member without a gap and without a wipe.
        base: Generation,
        /// Primary or copy.
        role: Role,
    },
}

/// What a member of a bucket does for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Serves reads and writes.
    Primary,
    /// Follows the primary's stream and never serves reads.
    Copy,
}

/// One life of one node, for `Dead` and `Release`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Zero if the speaker never learnt it.
    pub cluster: ClusterId,
    /// Whose life.
    pub node: NodeId,
    /// Which life.
    pub incarnation: Incarnation,
}

/// A dirty report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirty {
    /// The reporter's cluster.
    pub cluster: ClusterId,
    /// In which a write may be lost.
    pub bucket: Bucket,
}
