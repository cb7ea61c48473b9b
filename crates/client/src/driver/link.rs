//! The connection to one server as the driver sees it: bytes in, bytes out, and who awaits which reply.

use std::collections::VecDeque;

use route::{BackendId, ClockSample, Pipeline};
use stdx::Instant;

use super::calls::CallId;

/// Names one connection: a server's next one has another serial, so late news of an old one is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkId {
    pub(crate) backend: BackendId,
    pub(crate) serial: u32,
}

/// Who awaits a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Call(CallId),
    /// The handshake: who the node is.
    Node,
    /// The handshake of a plain server.
    Version,
    /// A sample of the node's clock.
    Clock,
    /// A newer map.
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is no connection.
    Closed,
    /// Connecting, or the handshake is not over; not later than that.
    Opening { until: Instant },
    /// Requests can be sent.
    Ready { since: Instant },
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) serial: u32,
    pub(super) state: State,
    pub(super) pipeline: Pipeline<Asker>,
    /// Waiting for the end of the handshake, in order.
    pub(super) held: VecDeque<CallId>,
    /// Waiting for a fresh sample of the clock, in order.
    pub(super) unstamped: VecDeque<CallId>,
    pub(super) sample: Option<ClockSample>,
    /// When the question for the clock that is out was sent.
    pub(super) clock_asked: Option<Instant>,
    /// When the question for the map that is out was sent.
    pub(super) map_asked: Option<Instant>,
    /// Received, and not a whole reply yet.
    pub(super) input: Vec<u8>,
    /// With fewer bytes of input there is no reply to decode.
    pub(super) input_wanted: usize,
    /// To be written.
    pub(super) output: Vec<u8>,
    /// The socket's task is at work on bytes that it has been given.
    pub(super) writing: bool,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            serial: 0,
            state: State::Closed,
            pipeline: Pipeline::default(),
            held: VecDeque::new(),
            unstamped: VecDeque::new(),
            sample: None,
            clock_asked: None,
            map_asked: None,
            input: Vec::new(),
            input_wanted: 0,
            output: Vec::new(),
            writing: false,
        }
    }

    /// Begins another connection, under a new serial.
    pub(super) fn open(&mut self, until: Instant) {
        self.serial = self.serial.wrapping_add(1);
        self.state = State::Opening { until };
    }

    /// Forgets the connection; whoever waited for something of it is returned: sent first, then not sent.
    pub(super) fn close(&mut self) -> (Vec<Asker>, Vec<CallId>) {
        self.state = State::Closed;
        self.sample = None;
        self.clock_asked = None;
        self.map_asked = None;
        self.input = Vec::new();
        self.input_wanted = 0;
        self.output = Vec::new();
        self.writing = false;
        let sent = self.pipeline.drain().collect();
        let not_sent = self.held.drain(..).chain(self.unstamped.drain(..)).collect();
        (sent, not_sent)
    }

    /// True when nobody waits for anything of it.
    pub(super) fn is_idle(&self) -> bool {
        self.pipeline.is_empty() && self.held.is_empty() && self.unstamped.is_empty()
    }
}
