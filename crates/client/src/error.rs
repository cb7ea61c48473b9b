//! What can go wrong, whose fault it is, and what is known about the outcome.

use proto::limits::KEY_LEN_MAX;
use route::PoolError;
use route::op::Reason;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller's: the same call will fail again.
    Caller,
    /// The cluster's, or the network's.
    Cluster,
    /// The client's own: it has ended with its runtime.
    Client,
}

/// Why a key is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No byte.
    #[error("an empty key")]
    Empty,
    /// Longer than memcached allows.
    #[error("a key of {0} bytes: at most {KEY_LEN_MAX}")]
    TooLong(usize),
    /// Spaces and control bytes cannot be sent.
    #[error("byte {byte:#04x} at {at} in a key: no spaces, no control bytes")]
    Byte {
        /// The byte.
        byte: u8,
        /// Its place.
        at: usize,
    },
}

/// Why a read was not even tried. A server that fails is no error: the key misses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The client's task has ended, mostly with its runtime.
    #[error("the client has ended")]
    Ended,
}

/// Why a write was not done, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Not a key. Nothing was sent.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Longer than [`crate::ClientOptions::value_len_max`]. Nothing was sent.
    #[error("a value of {len} bytes: at most {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The server refuses the request as it is (`CLIENT_ERROR`). It did not happen.
    #[error("refused by the server: {0}")]
    Refused(String),
    /// The server failed (`SERVER_ERROR`). It did not happen; a `set` may have removed the old value.
    #[error("the server failed: {0}")]
    Server(String),
    /// It did not happen, for this reason.
    #[error("not done: {0}")]
    NotDone(&'static str),
    /// It may have happened, or not. In a managed cluster it will not happen any more; there, a delete whose outcome
    /// is unknown goes on as a report to the manager. In a pool it still may.
    #[error("outcome unknown")]
    Unknown,
    /// The client's task has ended, mostly with its runtime. The outcome is unknown.
    #[error("the client has ended")]
    Ended,
}

impl WriteError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Key(_) | Self::TooLong { .. } | Self::Refused(_) => Fault::Caller,
            Self::Server(_) | Self::NotDone(_) | Self::Unknown => Fault::Cluster,
            Self::Ended => Fault::Client,
        }
    }

    /// True when it may have happened. A caller that must know reads the key, or deletes it.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown | Self::Ended)
    }

    /// True when it surely did not happen, and the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Server(_) | Self::NotDone(_))
    }
}

impl From<Reason> for WriteError {
    fn from(reason: Reason) -> Self {
        Self::NotDone(reason.text())
    }
}

/// Why there is no client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// No manager to ask.
    #[error("a managed client needs the address of at least one manager")]
    NoManagers,
    /// Not a list of servers.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The library does not replicate yet.
    #[error(
        "replicas = {0}: the client library has one place for each key; the proxy replicates in static pools"
    )]
    Replicas(usize),
    /// No manager gave a map.
    #[error("no map from {managers} within {} s: {reason}", crate::limits::START_TIMEOUT.as_secs())]
    NoMap {
        /// Who was asked.
        managers: String,
        /// What the last one said.
        reason: String,
    },
}
