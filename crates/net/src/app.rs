//! What a loop runs.

use stdx::Instant;

use crate::{ConnId, Io, TlsFault};

/// The state and rules of one worker: all its connections, told apart by [`ConnId`].
///
/// For each connection the loop calls `opened` (accepted) or nothing yet (`Io::connect`), then `connected`
/// once an outbound one stands, `received` any number of times, `ended` at most once, and at last `closed`
/// exactly once.
pub trait App: Send + 'static {
    /// What other threads may post to the loop.
    type Message: Send + 'static;

    /// A connection was accepted.
    fn opened(&mut self, io: &mut Io, conn: ConnId, origin: Origin);

    /// An outbound connection stands; output written earlier is on its way.
    fn connected(&mut self, _io: &mut Io, _conn: ConnId) {}

    /// Bytes have come: all that were left unconsumed before, and what was just read. Never empty.
    /// The bytes were read before this call, so a clock read in it is later than their receive.
    fn received(&mut self, io: &mut Io, conn: ConnId, input: &[u8]) -> Received;

    /// A TLS connection has failed for TLS's sake; it is closed after this call. For people.
    fn tls_failed(&mut self, _io: &mut Io, _conn: ConnId, _fault: &TlsFault) {}

    /// The peer will send nothing more. By default the connection closes once its output is flushed; an app
    /// that still owes replies may leave it open and close it later.
    fn ended(&mut self, io: &mut Io, conn: ConnId) {
        io.close(conn);
    }

    /// The connection is gone; its id will not be used again.
    fn closed(&mut self, io: &mut Io, conn: ConnId, reason: CloseReason);

    /// A message from another thread.
    fn message(&mut self, io: &mut Io, message: Self::Message);

    /// When `timed_out` wants to be called; asked once a turn.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// The time of `next_timeout` has come.
    fn timed_out(&mut self, _io: &mut Io, _now: Instant) {}

    /// Everything of this turn was handled; what is written now still leaves with this turn's flush.
    fn turn_ended(&mut self, _io: &mut Io) {}

    /// The loop is about to stop: connections are closed after this call, once they are flushed.
    fn stopping(&mut self, _io: &mut Io) {}
}

/// Where an accepted connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The tag that the listener was bound with.
    pub listener: u32,
}

/// The answer to received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes from the front are done with; the rest is kept and comes again.
    pub consumed: usize,
    /// What has to happen before the rest comes again.
    pub next: Next,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes from the peer.
    More,
    /// Its next turn: the rest comes again, without a read, once the output so far is (nearly) sent. For
    /// fairness between connections and for bounded output.
    Again,
    /// [`Io::resume`].
    Resume,
    /// Nothing: flush the output and close.
    Close,
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer ended it.
    Peer,
    /// The app closed it, or the loop stopped.
    Local,
    /// It failed while it stood.
    Failed(rustix::io::Errno),
    /// It never stood.
    ConnectFailed(rustix::io::Errno),
    /// Nothing was received for the idle time-out.
    Idle,
    /// Its unconsumed input reached [`crate::limits::INPUT_MAX`].
    Overflow,
}
