//! A TLS session over a socket, with the same outcomes as a plain one.
//!
//! Runs on its connection's loop. Records are opened and sealed in the loop's [`super::scratch::Scratch`], so what a
//! session holds by itself is an unfinished record of the peer and what the peer has not taken; idle, neither.
//!
//! **Invariants**: what is received fits into the reader's buffer, since no record grows when it is opened, so
//! nothing received waits where the kernel does not announce it. The session never asks for a read to be able to
//! write once the handshake is done. Ciphertext that waits is at most [`TLS_SEAL_LEN`] of output with its overhead,
//! and a few bytes for each answer of TLS itself.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::Shutdown;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use stdx::Instant;

use super::{TlsAcceptor, TlsFault};
use crate::limits::{TLS_SEAL_LEN, TLS_SEALS_PER_TURN};
use crate::stream::{Transfer, read_plain, write_plain};

pub(crate) struct TlsStream {
    fd: OwnedFd,
    session: UnbufferedServerConnection,
    /// Received and not opened yet: the start of a record or of a handshake message. Without capacity when empty.
    held: Vec<u8>,
    /// Ciphertext; `out[sent..]` is still to be sent. Without capacity when there is none.
    out: Vec<u8>,
    sent: usize,
    /// When the handshake began.
    since: Instant,
    handshaking: bool,
    /// The peer has said that it will send nothing more.
    ended: bool,
    /// Why the last transfer failed, if it was for TLS.
    fault: Option<TlsFault>,
}

/// What the session wants after a step.
enum Step {
    GoOn,
    Wait,
}

impl TlsStream {
    pub(crate) fn accepted(fd: OwnedFd, acceptor: &TlsAcceptor, now: Instant) -> Result<Self, TlsFault> {
        Ok(Self {
            fd,
            session: UnbufferedServerConnection::new(acceptor.config())?,
            held: Vec::new(),
            out: Vec::new(),
            sent: 0,
            since: now,
            handshaking: true,
            ended: false,
            fault: None,
        })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.handshaking
    }

    /// When the handshake began.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// The handshake made a new session, instead of going on with an earlier one.
    pub(crate) fn is_new_session(&self) -> bool {
        self.session.handshake_kind() != Some(rustls::HandshakeKind::Resumed)
    }

    /// Ciphertext that the peer has not taken.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    pub(crate) fn take_fault(&mut self) -> Option<TlsFault> {
        self.fault.take()
    }

    /// One read of the socket; what could be opened of it goes to `into`. Nothing for it yet is `Blocked`, though the
    /// session may have something to send then.
    pub(crate) fn read(&mut self, into: &mut [u8], scratch: &mut [u8]) -> Transfer {
        if self.ended {
            return Transfer::Ended;
        }
        let (held, room) = (self.held.len(), into.len().min(scratch.len()));
        if held >= room {
            return self.fail(TlsFault::TooLong);
        }
        let scratch = &mut scratch[..room];
        scratch[..held].copy_from_slice(&self.held);
        match read_plain(&self.fd, &mut scratch[held..]) {
            Transfer::Bytes(n) => self.open(&mut scratch[..held + n], into),
            Transfer::Ended if self.handshaking => self.fail(TlsFault::Ended),
            other => other,
        }
    }

    /// Opens all whole records of `received`, and holds the rest.
    fn open(&mut self, mut received: &mut [u8], into: &mut [u8]) -> Transfer {
        let mut len = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.session.process_tls_records(&mut *received);
            let step = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        into[len..][..record.payload.len()].copy_from_slice(record.payload);
                        len += record.payload.len();
                        discard += record.discard;
                    }
                    Step::GoOn
                }
                Ok(state) => {
                    let (step, ended) = answer(state, &mut self.out);
                    self.ended |= ended;
                    step
                }
                Err(error) => return self.break_off(error, received),
            };
            received = &mut received[discard..];
            if matches!(step, Step::Wait) {
                break;
            }
        }
        self.handshaking &= self.session.is_handshaking();
        self.hold(received);
        self.opened(len)
    }

    fn hold(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.held = Vec::new();
        } else {
            self.held.clear();
            self.held.extend_from_slice(rest);
        }
    }

    fn opened(&self, len: usize) -> Transfer {
        if self.ended && len > 0 {
            // Nothing that may still come counts: the kernel announces the end as it does for a plain stream.
            // Where it can't, it has announced a failure.
            let _ = rustix::net::shutdown(&self.fd, Shutdown::Read);
        }
        match len {
            0 if self.ended => Transfer::Ended,
            0 => Transfer::Blocked,
            len => Transfer::Bytes(len),
        }
    }

    /// Sends what waits, then seals and sends `bytes` as far as the socket takes them, and no more than a turn's worth.
    pub(crate) fn write(&mut self, bytes: &[u8], scratch: &mut [u8]) -> Transfer {
        match self.send_out() {
            Transfer::Bytes(_) if !self.handshaking => {}
            Transfer::Bytes(_) => return Transfer::Blocked,
            other => return other,
        }
        let mut taken = 0;
        for chunk in bytes.chunks(TLS_SEAL_LEN).take(TLS_SEALS_PER_TURN) {
            let Some(len) = self.seal(Some(chunk), scratch) else { return Transfer::Failed(Errno::PROTO) };
            taken += chunk.len();
            match self.send(&scratch[..len]) {
                Transfer::Bytes(_) => {}
                Transfer::Blocked => break,
                failed => return failed,
            }
        }
        if taken > 0 { Transfer::Bytes(taken) } else { Transfer::Blocked }
    }

    /// Tells the peer that nothing more will come, if it can be told at once.
    pub(crate) fn finish(&mut self, scratch: &mut [u8]) {
        if self.handshaking || self.unsent() > 0 {
            return;
        }
        if let Some(len) = self.seal(None, scratch) {
            // Who can't take it sees the socket close.
            let _ = self.send(&scratch[..len]);
        }
    }

    /// Makes records of `bytes`, or of the word that nothing more will come, at the start of `scratch`.
    fn seal(&mut self, bytes: Option<&[u8]>, scratch: &mut [u8]) -> Option<usize> {
        loop {
            // What is held was looked at already; the session keeps its place in it.
            let UnbufferedStatus { discard, state } = self.session.process_tls_records(&mut self.held);
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let sealed = match bytes {
                        Some(bytes) => traffic.encrypt(bytes, scratch),
                        None => traffic.queue_close_notify(scratch),
                    };
                    return sealed.ok();
                }
                Ok(ConnectionState::ReadTraffic(_)) | Err(_) => return None,
                Ok(state) => {
                    let (step, ended) = answer(state, &mut self.out);
                    self.ended |= ended;
                    if matches!(step, Step::Wait) && !ended {
                        return None;
                    }
                }
            }
            self.held.drain(..discard);
        }
    }

    /// Sends behind what waits; what the socket does not take waits in turn (`Blocked`).
    fn send(&mut self, sealed: &[u8]) -> Transfer {
        if self.unsent() > 0 {
            self.out.extend_from_slice(sealed);
            return self.send_out();
        }
        let sent = match write_plain(&self.fd, sealed) {
            Transfer::Bytes(n) => n,
            Transfer::Blocked => 0,
            other => return other,
        };
        self.out.extend_from_slice(&sealed[sent..]);
        if self.out.is_empty() { Transfer::Bytes(sent) } else { Transfer::Blocked }
    }

    /// Sends what waits: `Bytes` when nothing waits any more, however little it was.
    fn send_out(&mut self) -> Transfer {
        if self.unsent() > 0 {
            match write_plain(&self.fd, &self.out[self.sent..]) {
                Transfer::Bytes(n) => self.sent += n,
                other => return other,
            }
        }
        if self.unsent() > 0 {
            return Transfer::Blocked;
        }
        (self.out, self.sent) = (Vec::new(), 0);
        Transfer::Bytes(0)
    }

    /// Tells the peer what was wrong, as far as it can be told at once.
    fn break_off(&mut self, error: rustls::Error, received: &mut [u8]) -> Transfer {
        // Not a step more than there are messages: the next would look at what was received once more.
        while self.session.wants_write() {
            let UnbufferedStatus { state, .. } = self.session.process_tls_records(&mut *received);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { break };
            encode(&mut data, &mut self.out);
        }
        let _ = self.send_out();
        self.fail(error.into())
    }

    fn fail(&mut self, fault: TlsFault) -> Transfer {
        self.fault = Some(fault);
        Transfer::Failed(Errno::PROTO)
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The session holds keys.
        f.debug_struct("TlsStream")
            .field("fd", &self.fd)
            .field("handshaking", &self.handshaking)
            .finish_non_exhaustive()
    }
}

impl AsFd for TlsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Everything but traffic: what to do next, and whether the peer has ended its side.
fn answer<D>(state: ConnectionState<'_, '_, D>, out: &mut Vec<u8>) -> (Step, bool) {
    match state {
        ConnectionState::EncodeTlsData(mut data) => {
            encode(&mut data, out);
            (Step::GoOn, false)
        }
        ConnectionState::TransmitTlsData(data) => {
            // It lies in `out`, in order.
            data.done();
            (Step::GoOn, false)
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => (Step::Wait, true),
        _ => (Step::Wait, false),
    }
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>, out: &mut Vec<u8>) {
    // Asked first how long it is.
    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else { return };
    let start = out.len();
    out.resize(start + size.required_size, 0);
    let len = data.encode(&mut out[start..]).expect("it has the room that it asked for");
    out.truncate(start + len);
}
