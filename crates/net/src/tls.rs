//! TLS on accepted connections: what a listener offers, and what may go wrong.
//!
//! Certificates and rules come ready in a rustls configuration; nothing here reads files. The side that connects is
//! to be a second session under the same `stream::TlsStream`; what the loop does about it (output waits for the
//! end of the handshake, handshakes have their turn and their time) is the same for both.

pub(crate) mod scratch;
pub(crate) mod stream;

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;

/// What the TLS connections of a listener start from. Clones share it.
#[derive(Clone, Debug)]
pub struct TlsAcceptor(Arc<RwLock<Arc<ServerConfig>>>);

impl TlsAcceptor {
    /// Starts connections from this configuration. Early data must be off in it, as it is by default: it would be
    /// refused here.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// Starts connections accepted from now on from another configuration; the others go on as they are.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Why a TLS connection is no more.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsFault {
    /// The peer ended the connection before the handshake was done.
    #[error("the peer ended it in the middle of the handshake")]
    Ended,
    /// See [`crate::limits::HANDSHAKE_TIMEOUT`].
    #[error("the handshake took longer than {} s", crate::limits::HANDSHAKE_TIMEOUT.as_secs())]
    TimedOut,
    /// The peer's message is longer than a loop's buffer.
    #[error("a handshake message is too long")]
    TooLong,
    /// What was received is no TLS, or breaks its rules or ours.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}
