//! One connection as its loop sees it.

use stdx::Instant;

use crate::app::CloseReason;
use crate::limits::OUTPUT_HIGH;
use crate::poller::Interest;
use crate::stream::Stream;

/// Names a connection within its loop, for as long as the loop lives: an index is used again, with another
/// serial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    pub(crate) index: u32,
    pub(crate) serial: u32,
}

impl ConnId {
    /// A small number that no other connection of the loop has at the same time: an index for the app's own
    /// table.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) const fn token(self) -> u64 {
        (self.serial as u64) << 32 | self.index as u64
    }

    pub(crate) const fn from_token(token: u64) -> Self {
        Self { index: token as u32, serial: (token >> 32) as u32 }
    }
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) stream: Stream,
    /// Output; `out[sent..]` is still to be sent. Without capacity when there is none.
    pub(crate) out: Vec<u8>,
    pub(crate) sent: usize,
    /// Input that the app has not consumed. Without capacity when there is none.
    pub(crate) kept: Vec<u8>,
    /// As the kernel knows it. May ask for reads that are not wanted: it is corrected when one is announced.
    pub(crate) interest: Interest,
    pub(crate) last_received: Instant,
    /// Set once: the output is flushed (or dropped), then the connection goes.
    pub(crate) closing: Option<CloseReason>,
    /// Accepted here, and so counted; else outbound.
    pub(crate) accepted: bool,
    pub(crate) connecting: bool,
    /// In the queue for a step of its handshake.
    pub(crate) queued: bool,
    /// In the list of connections to flush.
    pub(crate) dirty: bool,
    /// In the list of connections to remove.
    pub(crate) finished: bool,
    /// The kept input is to be delivered without a read ([`crate::Next::Again`]).
    pub(crate) again: bool,
    /// In the list of connections to deliver again.
    pub(crate) listed: bool,
    pub(crate) paused: bool,
    /// The peer has ended its side.
    pub(crate) ended: bool,
    /// The idle time-out does not count for it.
    pub(crate) may_idle: bool,
}

impl Conn {
    pub(crate) fn new(stream: Stream, now: Instant, accepted: bool) -> Self {
        Self {
            stream,
            out: Vec::new(),
            sent: 0,
            kept: Vec::new(),
            interest: if accepted {
                Interest { read: true, write: false }
            } else {
                Interest { read: false, write: true }
            },
            last_received: now,
            closing: None,
            accepted,
            connecting: !accepted,
            queued: false,
            dirty: false,
            finished: false,
            again: false,
            listed: false,
            paused: false,
            ended: false,
            may_idle: false,
        }
    }

    /// Bytes that wait to be written to the stream.
    pub(crate) fn unwritten(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Bytes that the peer has not been sent.
    pub(crate) fn unsent(&self) -> usize {
        self.unwritten() + self.stream.unsent()
    }

    /// Is there anything that the socket could take? Output waits for the end of a handshake, which sends by itself.
    pub(crate) fn wants_write(&self) -> bool {
        self.stream.unsent() > 0 || (self.unwritten() > 0 && !self.stream.is_handshaking())
    }

    /// May the socket be read now? Who is served must take answers before more is read of it. An outbound connection
    /// is read always: its peer may serve by that same rule, and then neither side would ever read.
    pub(crate) fn wants_read(&self) -> bool {
        !(self.connecting || self.again || self.paused || self.ended || self.closing.is_some())
            && (!self.accepted || self.unsent() < OUTPUT_HIGH)
    }
}
