//! Counters that other threads may read. Each loop writes its own, so no line is shared by writers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Connections of all loops together; written by the acceptor and, on close, by the loops.
#[derive(Debug, Default)]
pub struct ConnectionStats {
    /// Accepted and not closed yet.
    pub current: AtomicU64,
    /// Accepted since the start.
    pub total: AtomicU64,
    /// Turned away because of the limit.
    pub rejected: AtomicU64,
    /// How often accepting paused: out of descriptors, or full and told to let others wait.
    pub accept_pauses: AtomicU64,
}

/// What one loop has moved; written by that loop alone.
#[derive(Debug, Default)]
pub struct LoopStats {
    /// Bytes received.
    pub bytes_read: AtomicU64,
    /// Bytes sent.
    pub bytes_written: AtomicU64,
    /// How often a connection with more input had to wait for its next turn.
    pub yields: AtomicU64,
    /// Connections closed by the idle time-out.
    pub idle_closes: AtomicU64,
    /// TLS handshakes that made a new session.
    pub tls_sessions: AtomicU64,
    /// TLS connections that failed before they stood.
    pub tls_handshake_errors: AtomicU64,
    /// TLS connections that failed later, for TLS's sake.
    pub tls_protocol_errors: AtomicU64,
}

/// Adds to a counter that only this thread writes: a load and a store, no locked instruction.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}
