//! TLS handshakes of a loop: they are computing for long, so each waits for its turn, behind everything else.

use std::collections::VecDeque;

use super::Io;
use crate::conn::ConnId;
use crate::limits::{HANDSHAKE_STEPS_PER_TURN, HANDSHAKE_TIMEOUT};
use crate::stats;
use crate::tls::stream::TlsStream;

/// Handshakes that are not done.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    /// All of them.
    count: usize,
    /// Those that have received something, each once. Their reads are not asked of the kernel meanwhile.
    queue: VecDeque<ConnId>,
}

impl Handshakes {
    pub(super) fn begun(&mut self) {
        self.count += 1;
    }

    pub(super) fn ended(&mut self) {
        self.count -= 1;
    }

    pub(crate) fn are_none(&self) -> bool {
        self.count == 0
    }

    pub(super) fn is_queue_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Io {
    /// The connection has something to read, and will be read for its handshake when it is its turn.
    pub(crate) fn queue_handshake(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id).filter(|conn| !conn.queued) else { return };
        conn.queued = true;
        self.handshakes.queue.push_back(id);
        self.disarm_read(id);
    }

    /// Those whose turn it is.
    pub(crate) fn take_handshakes(&mut self) -> Vec<ConnId> {
        let count = HANDSHAKE_STEPS_PER_TURN.min(self.handshakes.queue.len());
        let ids: Vec<ConnId> = self.handshakes.queue.drain(..count).collect();
        for id in &ids {
            if let Some(conn) = self.conn_mut(*id) {
                conn.queued = false;
            }
        }
        ids
    }

    /// After a read: what the session has to send goes out with this turn's flush, and so does output that waited for
    /// the end of the handshake.
    pub(super) fn note_tls_read(&mut self, id: ConnId, was_handshaking: bool) {
        let Some(conn) = self.conn(id) else { return };
        let is_done = was_handshaking && !conn.stream.is_handshaking();
        let is_new = conn.stream.tls().is_some_and(TlsStream::is_new_session);
        if conn.wants_write() {
            self.mark_dirty(id);
        }
        if is_done {
            self.handshakes.ended();
            stats::add(&self.stats.tls_sessions, u64::from(is_new));
        }
    }

    /// Connections whose handshake takes too long.
    pub(crate) fn late_handshakes(&self) -> Vec<ConnId> {
        if self.handshakes.are_none() {
            return Vec::new();
        }
        let is_late = |id: &ConnId| {
            let tls = self.conn(*id).and_then(|conn| conn.stream.tls());
            tls.is_some_and(|tls| tls.is_handshaking() && self.now.since(tls.since()) > HANDSHAKE_TIMEOUT)
        };
        self.connections().filter(is_late).collect()
    }
}
