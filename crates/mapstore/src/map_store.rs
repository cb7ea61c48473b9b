//! `trait MapStore`: what the manager asks of the place that keeps its state.
//!
//! One thread owns a store and may block in it for as long as a disk or a network takes. The shape is that of
//! a consensus engine too: a remote store puts its leader key and the expected revision into the guard of each
//! transaction, reports a lost leader key as [`CasError::Conflict`], and a time-out as [`CasError::Unknown`],
//! and names its own request limit in [`MapStore::txn_bytes_max`]. Only what two stores need stands here;
//! watches and leases join when there is a store that other managers share.

use std::collections::BTreeMap;
use std::fmt;

use crate::limits::{KEY_LEN_MAX, TXN_WRITES_MAX};

/// How many changes the state has seen; zero is a store in which nothing was ever written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One record's change: its key, and its new bytes or `None` to delete it.
pub type Write = (String, Option<Vec<u8>>);

/// The whole state at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Of all records together.
    pub revision: Revision,
    /// Every record, by key.
    pub records: BTreeMap<String, Vec<u8>>,
}

/// A place that keeps the manager's state. Its holder is the leading manager.
pub trait MapStore: Send + fmt::Debug {
    /// The newest state. What it returns is durable, also after a change with unknown outcome.
    fn load(&mut self) -> Result<Snapshot, LoadError>;

    /// Applies all of `writes`, or none of them, if the state is still at `expected`. `Ok` means durable, and
    /// carries the new revision. An empty change is legal and raises the revision. Of several writes of one
    /// key the last wins.
    fn compare_and_set(&mut self, expected: Revision, writes: &[Write]) -> Result<Revision, CasError>;

    /// Most bytes of one change; a caller with more splits it.
    fn txn_bytes_max(&self) -> usize;

    /// What and where it is, for messages.
    fn describe(&self) -> String;
}

/// Why the state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The medium fails; trying again may help.
    #[error("the manager's state in {store} cannot be read: {reason}")]
    Io {
        /// [`MapStore::describe`].
        store: String,
        /// The medium's words.
        reason: String,
    },
    /// What is there is not what was written; trying again does not help.
    #[error("the manager's state in {store} is damaged: {reason}; restore it from a backup")]
    Corrupt {
        /// [`MapStore::describe`].
        store: String,
        /// What is wrong.
        reason: String,
    },
}

/// Why a change was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum CasError {
    /// Nothing was changed: someone else changed the state, or the caller is behind.
    #[error("the state is at revision {found}, not at {expected}")]
    Conflict {
        /// What the caller took to be the newest revision.
        expected: Revision,
        /// The newest revision.
        found: Revision,
    },
    /// Nothing was changed: the change is outside the limits. A mistake of the caller.
    #[error("{what} is {size}, the limit is {limit}; nothing was changed")]
    TooLarge {
        /// Which quantity.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// Nothing was changed: the medium failed before the change was complete (a full disk, say).
    #[error("{store} cannot be written: {reason}; nothing was changed")]
    Io {
        /// [`MapStore::describe`].
        store: String,
        /// The medium's words.
        reason: String,
    },
    /// The change may be durable or not: [`MapStore::load`] tells.
    #[error("a change in {store} has an unknown outcome: {reason}")]
    Unknown {
        /// [`MapStore::describe`].
        store: String,
        /// The medium's words.
        reason: String,
    },
}

/// Refuses a change outside the limits that hold for every store.
pub(crate) fn check_limits(writes: &[Write], bytes_max: usize) -> Result<(), CasError> {
    let within =
        |what, size, limit| if size > limit { Err(CasError::TooLarge { what, size, limit }) } else { Ok(()) };
    within("the number of records in one change", writes.len(), TXN_WRITES_MAX)?;
    let longest = writes.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    within("the length of a key in bytes", longest, KEY_LEN_MAX)?;
    let bytes = writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
    within("the size of one change in bytes", bytes, bytes_max)
}
