//! What goes into the manager's machine besides control messages, and what comes out.

use std::fmt;
use std::time::Duration;

use proto::control::Reply;
use proto::{BUCKET_COUNT, Bucket, Generation, Incarnation, MapVersion, NodeId, Term};

use crate::lease::{LEASE, waiting_time};
use crate::limits::POLL_HOLD;
use crate::record::Write;

/// How a manager behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// L, the lease that replies give.
    pub lease: Duration,
    /// W, after which a silent node's lease is surely over: `lease::waiting_time(lease)`.
    pub wait: Duration,
    /// How long a poll without news is held.
    pub hold: Duration,
    /// True: a node that nobody added joins with its first poll. False: it is refused until it is added.
    pub join: bool,
    /// Random, names this reign in the store: a transaction of another leader is never taken for one's own. Zero is
    /// enough where the store has one writer at a time by an exclusive lock.
    pub leader: u64,
    /// How many buckets are doled out: all. Fewer only in simulations.
    pub buckets: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease: LEASE,
            wait: waiting_time(LEASE),
            hold: POLL_HOLD,
            join: false,
            leader: 0,
            buckets: BUCKET_COUNT as u16,
        }
    }
}

/// Names a request of the shell, so that it finds the connection to answer. Every request gets exactly one
/// `Reply` or `Answer`, unless it was given up by `handle_closed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What an operator asks for. Answered when it is durable; moving buckets goes on after that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make a node a member; with an address if it is known before its first poll.
    Add {
        /// Its name.
        node: NodeId,
        /// `host:port`.
        address: Option<String>,
    },
    /// Give a member's buckets to the others and let it take none.
    Drain(NodeId),
    /// Let a draining or leaving member take its share again.
    Undrain(NodeId),
    /// Drain a member and forget it once nothing is left with it.
    Remove(NodeId),
}

/// One transaction: all writes or none, only if the store still has that revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    /// Names it in `handle_committed`.
    pub number: u64,
    /// The revision that the store must have.
    pub revision: u64,
    /// The term of the leader who writes.
    pub term: Term,
    /// Distinct keys.
    pub writes: Vec<Write>,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The store has another revision: someone else wrote, or an earlier try landed.
    #[error("the store has another revision")]
    Conflict,
    /// It failed, or nobody knows: the machine reads again and decides.
    #[error("{0}")]
    Unknown(String),
}

/// Why a request other than a poll's lease was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another cluster's business.
    #[error("this manager's cluster is {ours}, not {theirs}")]
    Cluster {
        /// Of this manager.
        ours: u64,
        /// Named in the request.
        theirs: u64,
    },
    /// No member of that name.
    #[error("node {0} is not a member: add it first")]
    NoMember(NodeId),
    /// A member of that name is there already.
    #[error("node {0} is a member already")]
    Member(NodeId),
    /// Another life of that node still has, or may have, a lease.
    #[error("node {node} is alive as incarnation {incarnation}: its lease ends within {within_ms} ms")]
    Alive {
        /// The node.
        node: NodeId,
        /// The life that is in the way.
        incarnation: Incarnation,
        /// Upper bound of the time until its lease is over, if it polls no more.
        within_ms: u64,
    },
    /// That life was proven dead or has released everything.
    #[error("incarnation {0} has ended")]
    Ended(Incarnation),
    /// A poll that was sent before one already seen.
    #[error("an older poll, overtaken by a newer one")]
    Overtaken,
    /// A poll or command that breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// A limit is reached; the request can be repeated.
    #[error("too many {0} are waiting: try again")]
    Busy(&'static str),
    /// This manager does not lead, or leads no more.
    #[error("this manager does not lead: {0}")]
    NotLeading(String),
}

/// Why a manager must stop at once: what it knows is not what is true. Nodes serve on until their leases end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// "Manager/OnPoll": the store went back in time.
    #[error(
        "node {node} holds bucket {bucket} under generation {reported}, the store knows {known}: \
         the store went back in time; start in restore mode"
    )]
    StoreWentBack {
        /// Who reports.
        node: NodeId,
        /// Of which bucket.
        bucket: Bucket,
        /// What it holds.
        reported: Generation,
        /// What the store has.
        known: Generation,
    },
    /// As `StoreWentBack`, seen by a map that was made by a transaction that is not there.
    #[error(
        "node {node} has the map of version {reported}, the store knows {known}: the store went back in time; \
         start in restore mode"
    )]
    MapWentBack {
        /// Who reports.
        node: NodeId,
        /// What it holds.
        reported: MapVersion,
        /// What the store has.
        known: MapVersion,
    },
    /// Another leader writes to the store.
    #[error("the store has been changed by another leader, of term {0}")]
    Deposed(Term),
    /// The store holds something that this manager did not write.
    #[error("the store cannot be read back: {0}")]
    Store(String),
}

/// What the shell has to do, in the order in which it comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write a transaction and call `handle_committed`. At most one is out.
    Commit(Txn),
    /// Read all records and call `handle_reloaded`.
    Reload,
    /// The answer to a poll.
    Reply {
        /// Whose.
        token: Token,
        /// `Err` goes out as `Refused` on the connection of that poll; the node tries again after a pause.
        reply: Result<Reply, Refusal>,
    },
    /// The answer to any other request.
    Answer {
        /// Whose.
        token: Token,
        /// `Ok` goes out as `Done`.
        answer: Result<(), Refusal>,
    },
    /// For the log.
    Event(Event),
    /// The last output ever: the process must end. It answers nothing more.
    Halt(Halt),
}

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The term is durable: this manager leads.
    Leading(Term),
    /// A life of a node was granted its first lease.
    Admitted(NodeId, Incarnation),
    /// A node's death is proven: by its guardian, its own release, or its successor's lock.
    Dead(NodeId, Incarnation, Proof),
    /// A node has been silent for W.
    Silent(NodeId, Incarnation),
    /// Buckets changed owner: how many, and the generation that they got.
    Moved(usize, Generation),
    /// Buckets were wiped for dirty reports.
    Wiped(usize, Generation),
    /// A drained member was forgotten.
    Removed(NodeId),
    /// A poll, a command or a report was refused.
    Refused(String),
    /// A transaction failed or has an unknown outcome.
    CommitFailed(String),
}

/// How a death was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its guardian waited for the process.
    Guardian,
    /// It said so itself.
    Release,
    /// The next life holds the same exclusive lock.
    Lock,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leading(term) => write!(f, "leads in term {term}"),
            Self::Admitted(node, life) => write!(f, "node {node} admitted as incarnation {life}"),
            Self::Dead(node, life, proof) => {
                write!(f, "node {node} incarnation {life} is dead, says {proof}")
            }
            Self::Silent(node, life) => {
                write!(f, "node {node} incarnation {life} is silent, its lease is over")
            }
            Self::Moved(count, generation) => {
                write!(f, "{count} buckets moved under generation {generation}")
            }
            Self::Wiped(count, generation) => {
                write!(f, "{count} buckets wiped under generation {generation}")
            }
            Self::Removed(node) => write!(f, "node {node} removed"),
            Self::Refused(what) => write!(f, "refused: {what}"),
            Self::CommitFailed(error) => write!(f, "transaction failed: {error}"),
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guardian => "its guardian",
            Self::Release => "the node itself",
            Self::Lock => "its successor's lock",
        })
    }
}
