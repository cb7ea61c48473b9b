//! A worker's connection to one backend.

use std::collections::VecDeque;

use net::ConnId;
use route::{ClockSample, Pipeline};
use stdx::Instant;

use crate::requests::RequestId;

/// Who awaits a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) who: Who,
    /// When it gives up.
    pub(crate) until: Instant,
}

/// What a reply is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// A client's request.
    Request(RequestId),
    /// The handshake: who the node is.
    Node,
    /// The handshake, or a renewed sample of the node's clock.
    Clock,
    /// The handshake of a plain server.
    Version,
    /// The flush of a server that has missed writes.
    Flush,
    /// A newer map.
    Map,
}

/// What the connection is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// There is none.
    Closed,
    /// Connecting, or the handshake is not over.
    Opening,
    /// Requests can be sent.
    Ready,
}

/// The connection to one backend.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) state: LinkState,
    pub(crate) conn: Option<ConnId>,
    pub(crate) pipeline: Pipeline<Asker>,
    /// Waiting for the handshake, or for a fresh sample of the clock; in order.
    pub(crate) held: VecDeque<RequestId>,
    pub(crate) sample: Option<ClockSample>,
    /// A question for the clock is out.
    pub(crate) clock_asked: bool,
    /// It has missed a write: it must be flushed before it is read again.
    pub(crate) must_flush: bool,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            state: LinkState::Closed,
            conn: None,
            pipeline: Pipeline::default(),
            held: VecDeque::new(),
            sample: None,
            clock_asked: false,
            must_flush: false,
        }
    }

    /// Forgets the connection.
    pub(crate) fn reset(&mut self) {
        self.state = LinkState::Closed;
        self.conn = None;
        self.sample = None;
        self.clock_asked = false;
    }
}
