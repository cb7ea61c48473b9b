//! One request on its way, and the words in which the router and its owner speak about it.

use proto::{Bucket, Generation, KeyHash};
use stdx::Instant;

use crate::router::BackendId;

/// What may be done when a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// get, gat, touch: any failure is a miss.
    Read,
    /// delete: sent again under any map until it is acknowledged, else its bucket is reported dirty.
    Delete,
    /// set, add, replace, and incr, decr, append, prepend: carries a deadline; sent again only after a refusal, which
    /// definitely had no effect.
    Create,
    /// cas: bound to the generation of its read ([`crate::Router::start_bound`]), or, where that is not known, to the
    /// first that it is routed under; it is never sent under another.
    Bound,
}

/// One request; the owner keeps it as long as it is unanswered.
#[derive(Clone, Debug)]
pub struct Op {
    /// What may be done when it fails.
    pub class: Class,
    /// Of its key.
    pub hash: KeyHash,
    /// When its caller is told, whatever happens.
    pub deadline: Instant,
    /// Until when the present attempt is waited for; a create is stamped with it, so until then it may still land.
    pub attempt_until: Instant,
    pub(crate) attempts: u8,
    /// Where and under what it was sent last; only another place makes another attempt worth while at once.
    pub(crate) tried: Option<Place>,
    /// Until when it is parked, unless it has another place before.
    pub(crate) parked_until: Instant,
    /// True once it may have been executed somewhere without an answer.
    pub(crate) in_doubt: bool,
    /// The one generation that a bound request may be sent under; `None` until known.
    pub(crate) bound: Option<Generation>,
    /// Why it is not done yet.
    pub(crate) reason: Reason,
}

impl Op {
    /// The bucket of its key.
    pub fn bucket(&self) -> Bucket {
        self.hash.bucket()
    }

    /// True for a write that may have happened already and must not happen twice.
    pub(crate) fn is_over(&self) -> bool {
        self.in_doubt && matches!(self.class, Class::Create | Class::Bound)
    }
}

/// Where a request goes: a backend, and in a managed cluster the generation of its bucket.
pub(crate) type Place = (BackendId, Option<Generation>);

/// What is to be done next with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send it; an answer that is no failure ends it.
    Send {
        /// Where.
        backend: BackendId,
        /// Managed clusters: the generation for its `bg`.
        generation: Option<Generation>,
    },
    /// Keep it, and ask again ([`crate::Router::resume`]) when a newer map has come, or at that time.
    Park {
        /// When to ask again at the latest.
        until: Instant,
    },
    /// Report its bucket dirty to the manager; the report's acknowledgement acknowledges the delete.
    ReportDirty,
    /// Tell the caller this.
    Answer(Failure),
}

/// What the caller is told when no backend's word can be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such item, as far as anybody can say.
    Miss,
    /// The item may have changed since it was read.
    Changed,
    /// It definitely did not happen.
    NotDone(Reason),
    /// It may have happened, or not; it will not happen any more.
    Unknown,
}

/// Why a write did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The key's server does not answer.
    BackendDown,
    /// Nobody owns the bucket, or everybody asked refused.
    NoOwner,
    /// It reached the node too late.
    Expired,
    /// The map has not been confirmed for the length of a lease.
    MapUnconfirmed,
}

impl Reason {
    /// In words, for a `SERVER_ERROR`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::BackendDown => "server of this key is down",
            Self::NoOwner => "no node owns the bucket of this key",
            Self::Expired => "request came too late to the node",
            Self::MapUnconfirmed => "no node has confirmed the map lately",
        }
    }
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `ERROR_NOT_OWNER`: definitely no effect.
    NotOwner,
    /// `ERROR_EXPIRED`: definitely no effect.
    Expired,
    /// It could not be sent: definitely no effect.
    NotSent,
    /// It was sent, and the connection broke, or answered nonsense.
    Lost,
    /// It was sent, and no answer came in time.
    TimedOut,
}
