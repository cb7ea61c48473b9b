//! Why a node does not accept a reply.

use proto::{Bucket, ClusterId, Generation, Incarnation, Nonce, Term};

/// Why a reply was not accepted; nothing changed. The connection that brought it is best closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefuseReply {
    /// A duplicate, a late one, or forged: not the answer to the outstanding poll.
    #[error("reply with nonce {0} answers no outstanding poll")]
    Nonce(Nonce),
    /// Meant for another life.
    #[error("reply for incarnation {theirs}, this is {ours}")]
    Incarnation {
        /// Named in the reply.
        theirs: Incarnation,
        /// This life.
        ours: Incarnation,
    },
    /// From another cluster's manager.
    #[error("reply from cluster {theirs}, this node belongs to {ours}")]
    Cluster {
        /// Named in the reply.
        theirs: ClusterId,
        /// This node's.
        ours: ClusterId,
    },
    /// From a manager that has been followed by another.
    #[error("reply of term {theirs}, term {known} has begun")]
    Term {
        /// Of the reply.
        theirs: Term,
        /// The highest seen.
        known: Term,
    },
    /// A lease longer than any: the manager is misconfigured.
    #[error("a lease of {0} ms is longer than an hour")]
    LeaseTooLong(u32),
    /// A run of buckets that does not exist.
    #[error("{count} buckets from {first} on do not exist")]
    Buckets {
        /// First bucket.
        first: Bucket,
        /// Number.
        count: u16,
    },
    /// A grant of generation zero, below its base, or below what is owned: the manager's state went back.
    #[error(
        "grant of bucket {bucket} under generation {generation} (base {base}), generation {held} is held"
    )]
    Generation {
        /// The bucket.
        bucket: Bucket,
        /// Granted.
        generation: Generation,
        /// Granted with it.
        base: Generation,
        /// Held now.
        held: Generation,
    },
    /// A role that this version does not know how to play.
    #[error("grant of bucket {0} as a copy: this node knows no copies")]
    Role(Bucket),
    /// This node has given everything back and waits for its end.
    #[error("the node has been released")]
    Released,
}
