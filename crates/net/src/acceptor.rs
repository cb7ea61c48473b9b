//! The thread that accepts connections and hands them to the loops in turn.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use crate::app::Origin;
use crate::limits::{ACCEPT_BACKOFF, ACCEPTS_PER_EVENT};
use crate::listener::Listener;
use crate::mailbox::{Mailbox, Post};
use crate::poller::{Interest, Poller};
use crate::stats::ConnectionStats;
use crate::tls::TlsAcceptor;

/// How many connections there may be, and what the others are told.
#[derive(Clone, Copy, Debug)]
pub struct AcceptorOptions {
    /// Connections at the same time, over all loops and listeners.
    pub max_connections: usize,
    /// Sent to a connection that is one too many, before it is closed.
    pub reject_text: &'static [u8],
    /// True: one too many is not rejected, but waits in the kernel's queue until another has ended.
    pub wait_when_full: bool,
}

pub(crate) struct Acceptor<M> {
    pub(crate) options: AcceptorOptions,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) loops: Vec<Mailbox<M>>,
    /// Told to stop, and woken, through this; nothing is posted to it.
    pub(crate) control: Mailbox<()>,
    pub(crate) poller: Poller,
    pub(crate) stats: Arc<ConnectionStats>,
    /// The loop that gets the next connection.
    pub(crate) turn: usize,
    /// No connection has been accepted since there were too many.
    pub(crate) paused: bool,
}

const CONTROL_TOKEN: u64 = u64::MAX;

/// What a connection too many is told where it expects TLS: a fatal alert, `internal_error`.
const REJECT_ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 80];

/// What a client sends first, of which a rejected one's is read.
const FIRST_FLIGHT_LEN: usize = 4096;

impl<M> Acceptor<M> {
    /// Puts the listeners under the poller; before the thread starts, so that failures are the starter's.
    pub(crate) fn arm(&self) -> rustix::io::Result<()> {
        let read = Interest { read: true, write: false };
        self.poller.add(self.control.waker(), CONTROL_TOKEN, read)?;
        for (index, listener) in self.listeners.iter().enumerate() {
            self.poller.add(listener, index as u64, read)?;
        }
        Ok(())
    }

    pub(crate) fn run(mut self) {
        while !self.control.stopping() {
            let count = match self.poller.wait(None) {
                Ok(count) => count,
                // Only a broken poller fails, and nothing works without one.
                Err(error) => panic!("epoll_wait failed: {error}"),
            };
            for index in 0..count {
                let Some(event) = self.poller.event(index).filter(|event| event.token != CONTROL_TOKEN)
                else {
                    continue;
                };
                if self.accept_some(event.token as usize) == Outcome::Exhausted {
                    if !std::mem::replace(&mut self.paused, true) {
                        self.stats.accept_pauses.fetch_add(1, Ordering::Relaxed);
                    }
                    std::thread::sleep(ACCEPT_BACKOFF);
                }
            }
        }
    }

    fn accept_some(&mut self, listener_index: usize) -> Outcome {
        for accepted in 0..ACCEPTS_PER_EVENT {
            let Some(listener) = self.listeners.get(listener_index) else { break };
            let origin = Origin { listener: listener.tag() };
            let tls = listener.tls().cloned();
            if self.options.wait_when_full && self.is_full() {
                // Whether another waits, the next event tells.
                return if accepted == 0 { Outcome::Exhausted } else { Outcome::Drained };
            }
            match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(fd) => {
                    self.paused = false;
                    self.hand_over(fd, origin, tls);
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => return Outcome::Exhausted,
                // A connection that died in the queue, or the network's own trouble: the next may do.
                Err(_) => {}
            }
        }
        Outcome::Drained
    }

    fn hand_over(&mut self, fd: OwnedFd, origin: Origin, tls: Option<TlsAcceptor>) {
        if self.is_full() {
            return self.reject(&fd, tls.is_some());
        }
        self.stats.current.fetch_add(1, Ordering::Relaxed);
        let mut post = Post::Accepted(fd, origin, tls);
        for _ in 0..self.loops.len() {
            let mailbox = &self.loops[self.turn % self.loops.len()];
            self.turn = self.turn.wrapping_add(1);
            match mailbox.push(post) {
                Ok(()) => {
                    self.stats.total.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(refused) => post = refused,
            }
        }
        // Every loop is far behind: turned away like any connection too many.
        self.stats.current.fetch_sub(1, Ordering::Relaxed);
        if let Post::Accepted(fd, _, tls) = post {
            self.reject(&fd, tls.is_some());
        }
    }

    fn is_full(&self) -> bool {
        let limit = u64::try_from(self.options.max_connections).unwrap_or(u64::MAX);
        self.stats.current.load(Ordering::Relaxed) >= limit
    }

    fn reject(&self, fd: &OwnedFd, is_tls: bool) {
        self.stats.rejected.fetch_add(1, Ordering::Relaxed);
        // Best effort: whoever can't take the line is closed anyway. What the peer has sent already is read,
        // or the close would be a reset, which can overtake the line.
        let answer = if is_tls { REJECT_ALERT } else { self.options.reject_text };
        let _ = rustix::net::send(fd, answer, SendFlags::NOSIGNAL);
        let _ = rustix::net::recv(fd, &mut [0; FIRST_FLIGHT_LEN], RecvFlags::DONTWAIT);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Drained,
    /// Out of descriptors or memory, or of connections that wait for others to end.
    Exhausted,
}

const _: () = assert!(ACCEPT_BACKOFF.as_nanos() < Duration::from_secs(1).as_nanos());
