//! What the loop does at the end of a turn: one write for each connection with output, closes, and telling the
//! kernel what each connection waits for.

use super::Io;
use crate::app::CloseReason;
use crate::conn::ConnId;
use crate::limits::OUTPUT_HIGH;
use crate::poller::Interest;
use crate::stats;
use crate::stream::Transfer;

impl Io {
    pub(crate) fn close_for(&mut self, id: ConnId, reason: CloseReason) {
        let Some(conn) = self.conn_mut(id).filter(|conn| conn.closing.is_none()) else { return };
        conn.closing = Some(reason);
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Closes without a flush.
    pub(crate) fn fail(&mut self, id: ConnId, reason: CloseReason) {
        let Some(conn) = self.conn_mut(id).filter(|conn| !conn.finished) else { return };
        conn.closing.get_or_insert(reason);
        conn.finished = true;
        self.finished.push(id);
    }

    pub(crate) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id).filter(|conn| !conn.dirty) {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Sends long output at once, before its turn's end, while it is in the processor's cache and so that the next
    /// connection gets its buffer.
    pub(crate) fn flush_long(&mut self, id: ConnId) {
        if self.conn(id).is_some_and(|conn| conn.dirty && conn.unsent() >= OUTPUT_HIGH) {
            self.flush_one(id);
        }
    }

    /// Writes once for each connection that has something to send.
    pub(crate) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            if self.conn(id).is_some_and(|conn| conn.dirty) {
                self.flush_one(id);
            }
        }
        // Nothing was marked meanwhile; keep the allocation.
        self.dirty = dirty;
    }

    fn flush_one(&mut self, id: ConnId) {
        let Some((conn, scratch)) = self.conn_and_scratch(id) else { return };
        conn.dirty = false;
        if conn.connecting {
            if let Some(reason) = conn.closing {
                self.fail(id, reason);
            }
            return;
        }
        if conn.wants_write() {
            match conn.stream.write(&conn.out[conn.sent..], scratch) {
                Transfer::Bytes(n) => self.note_sent(id, n),
                Transfer::Blocked => {}
                Transfer::Ended => return self.fail(id, CloseReason::Peer),
                Transfer::Failed(error) => return self.fail(id, CloseReason::Failed(error)),
            }
        }
        self.after_flush(id);
    }

    fn note_sent(&mut self, id: ConnId, n: usize) {
        stats::add(&self.stats.bytes_written, n as u64);
        let Some(conn) = self.conn_mut(id) else { return };
        conn.sent += n;
        if conn.unwritten() == 0 {
            conn.sent = 0;
            let out = std::mem::take(&mut conn.out);
            self.pool.give(out);
        } else if conn.sent >= conn.out.len() / 2 {
            // What was sent is dropped when it is at least half, so each byte moves at most once on average.
            conn.out.drain(..conn.sent);
            conn.sent = 0;
        }
    }

    fn after_flush(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id) else { return };
        if conn.out.is_empty() && conn.out.capacity() > 0 {
            let out = std::mem::take(&mut conn.out);
            self.pool.give(out);
        }
        let Some((conn, scratch)) = self.conn_and_scratch(id) else { return };
        match conn.closing {
            // What waits for a handshake would wait for ever: nothing is received any more.
            Some(reason) if conn.unsent() == 0 || conn.stream.is_handshaking() => {
                conn.stream.finish(scratch);
                self.fail(id, reason);
            }
            _ => {
                self.list_if_drained(id);
                self.rearm(id);
            }
        }
    }

    /// Tells the kernel what the connection waits for, if that needs a system call: an unwanted read interest
    /// is left in place until an event shows that it matters.
    pub(crate) fn rearm(&mut self, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        let write = conn.connecting || conn.wants_write();
        let read = conn.wants_read() || (conn.interest.read && !conn.connecting);
        self.set_interest(id, Interest { read, write });
    }

    /// An unwanted read was announced: no more of these until `rearm`.
    pub(crate) fn disarm_read(&mut self, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        self.set_interest(id, Interest { read: false, write: conn.interest.write });
    }

    fn set_interest(&mut self, id: ConnId, interest: Interest) {
        let Some(conn) = self.conn(id).filter(|conn| conn.interest != interest) else { return };
        match self.poller.modify(&conn.stream, id.token(), interest) {
            Ok(()) => {
                if let Some(conn) = self.conn_mut(id) {
                    conn.interest = interest;
                }
            }
            Err(error) => self.fail(id, CloseReason::Failed(error)),
        }
    }
}
