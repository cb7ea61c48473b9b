//! What the loop does with received bytes: one read, delivery, and keeping what the app left over.

use super::Io;
use crate::app::{CloseReason, Next, Received};
use crate::conn::ConnId;
use crate::limits::{INPUT_MAX, OUTPUT_LOW, SHORT_KEPT_LEN};
use crate::stats;
use crate::stream::Transfer;

/// Where the input of one read is.
pub(crate) enum Receive {
    /// In the loop's buffer, that many bytes with what was kept before.
    Shared(usize),
    /// In the connection's own.
    Own(Vec<u8>),
    /// Nothing came, for this reason.
    Nothing(Transfer),
}

impl Io {
    /// One read behind what was kept. `buffer` is the loop's; long input is kept and read elsewhere.
    pub(crate) fn receive(&mut self, id: ConnId, buffer: &mut [u8]) -> Receive {
        let now = self.now;
        let Some((conn, scratch)) = self.conn_and_scratch(id) else {
            return Receive::Nothing(Transfer::Blocked);
        };
        let kept = conn.kept.len();
        let is_short = kept <= SHORT_KEPT_LEN;
        let (front, back) = buffer.split_at_mut(if is_short { kept } else { 0 });
        let (is_tls, was_handshaking) = (conn.stream.tls().is_some(), conn.stream.is_handshaking());
        let transfer = conn.stream.read(back, scratch);
        if is_tls {
            self.note_tls_read(id, was_handshaking);
        }
        let (Transfer::Bytes(n), Some(conn)) = (transfer, self.conn_mut(id)) else {
            return Receive::Nothing(transfer);
        };
        conn.last_received = now;
        let received = if is_short {
            front.copy_from_slice(&conn.kept);
            Receive::Shared(kept + n)
        } else {
            conn.kept.extend_from_slice(&back[..n]);
            Receive::Own(std::mem::take(&mut conn.kept))
        };
        stats::add(&self.stats.bytes_read, n as u64);
        received
    }

    /// What was kept, to be delivered without a read; its buffer goes to `settle_own`.
    pub(crate) fn take_kept(&mut self, id: ConnId) -> Option<Vec<u8>> {
        self.conn_mut(id).map(|conn| std::mem::take(&mut conn.kept))
    }

    /// Files what the app left of input in the shared buffer, and what it wants next.
    pub(crate) fn settle(&mut self, id: ConnId, input: &[u8], received: Received) {
        self.keep(id, &input[consumed(input, received)..]);
        self.await_next(id, input.len(), received);
    }

    /// As `settle`, for input in a buffer of its own.
    pub(crate) fn settle_own(&mut self, id: ConnId, mut input: Vec<u8>, received: Received) {
        let len = input.len();
        input.drain(..consumed(&input, received));
        match self.conn_mut(id) {
            Some(conn) if !input.is_empty() => conn.kept = input,
            _ => self.pool.give(input),
        }
        self.await_next(id, len, received);
    }

    fn await_next(&mut self, id: ConnId, input_len: usize, received: Received) {
        let stuck = received.consumed == 0 && input_len >= INPUT_MAX;
        match received.next {
            Next::More if stuck => self.close_for(id, CloseReason::Overflow),
            Next::More => {}
            Next::Again => self.deliver_again(id),
            Next::Resume => self.pause(id),
            Next::Close => self.close(id),
        }
    }

    fn keep(&mut self, id: ConnId, rest: &[u8]) {
        let Some(slot) = self.slots.get_mut(id.index()).filter(|slot| slot.serial == id.serial) else {
            return;
        };
        let Some(conn) = slot.conn.as_mut() else { return };
        if rest.is_empty() {
            if conn.kept.capacity() > 0 {
                self.pool.give(std::mem::take(&mut conn.kept));
            }
            return;
        }
        if conn.kept.capacity() == 0 {
            conn.kept = self.pool.take();
        }
        conn.kept.clear();
        conn.kept.extend_from_slice(rest);
    }

    fn deliver_again(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id) else { return };
        if !conn.kept.is_empty() {
            conn.again = true;
            stats::add(&self.stats.yields, 1);
            self.list_if_drained(id);
        }
    }

    pub(super) fn list_if_drained(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id) else { return };
        if conn.again && !conn.listed && (conn.dirty || conn.unsent() <= OUTPUT_LOW) {
            conn.listed = true;
            self.ready.push(id);
        }
    }

    /// Takes a connection off the list of those to deliver again; false when it has to wait after all, since
    /// its peer has not taken enough of the output.
    pub(crate) fn unlist(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.conn_mut(id) else { return false };
        conn.listed = false;
        let now = conn.again && conn.closing.is_none() && conn.unsent() <= OUTPUT_LOW;
        conn.again &= !now;
        now
    }
}

fn consumed(input: &[u8], received: Received) -> usize {
    assert!(received.consumed <= input.len(), "an app consumed {} of {}", received.consumed, input.len());
    received.consumed
}
