//! The loop of one worker thread.
//!
//! A turn: wait; deliver what was put off; handle events (one read each); steps of TLS handshakes; time-outs; flush;
//! close.

use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;
use stdx::{Instant, clock};

use crate::app::{App, CloseReason};
use crate::conn::{Conn, ConnId};
use crate::io::{Io, Receive};
use crate::limits::{DRAIN_MAX, IDLE_SWEEP, READS_PER_EVENT, RECEIVE_BUFFER_LEN};
use crate::mailbox::{Mailbox, Post};
use crate::poller::{Interest, Ready};
use crate::stats;
use crate::stream::Transfer;
use crate::tls::TlsFault;

const WAKER_TOKEN: u64 = u64::MAX;

pub(crate) struct EventLoop<A: App> {
    app: A,
    io: Io,
    mailbox: Mailbox<A::Message>,
    /// Posts being handled; empty between turns.
    posts: Vec<Post<A::Message>>,
    /// Connections being delivered again; empty between turns.
    ready: Vec<ConnId>,
    receive_buffer: Box<[u8]>,
    idle_timeout: Option<Duration>,
    next_sweep: Instant,
    /// Set when the loop was told to stop: when it ends at the latest.
    drain_until: Option<Instant>,
}

impl<A: App> EventLoop<A> {
    pub(crate) fn new(
        app: A,
        io: Io,
        mailbox: Mailbox<A::Message>,
        idle_timeout: Option<Duration>,
    ) -> rustix::io::Result<Self> {
        io.poller.add(mailbox.waker(), WAKER_TOKEN, Interest { read: true, write: false })?;
        Ok(Self {
            app,
            next_sweep: io.now(),
            io,
            mailbox,
            posts: Vec::new(),
            ready: Vec::new(),
            receive_buffer: vec![0; RECEIVE_BUFFER_LEN].into_boxed_slice(),
            idle_timeout,
            drain_until: None,
        })
    }

    /// Runs until the mailbox is told to stop and the connections are flushed.
    pub(crate) fn run(mut self) {
        while !self.is_done() {
            self.turn();
        }
        let left: Vec<ConnId> = self.io.connections().collect();
        for id in left {
            self.io.abort(id);
        }
        self.remove_finished();
    }

    fn is_done(&self) -> bool {
        self.drain_until.is_some_and(|until| self.io.is_empty() || self.io.now() >= until)
    }

    fn turn(&mut self) {
        let timeout = self.timeout();
        let count = match self.io.poller.wait(timeout) {
            Ok(count) => count,
            // Only a broken poller fails, and nothing works without one.
            Err(error) => panic!("epoll_wait failed: {error}"),
        };
        self.io.now = clock::now();
        self.deliver_listed();
        for index in 0..count {
            if let Some(event) = self.io.poller.event(index) {
                self.handle_event(event);
            }
        }
        self.step_handshakes();
        self.fire_timers();
        self.app.turn_ended(&mut self.io);
        self.io.flush();
        self.remove_finished();
    }

    fn timeout(&self) -> Option<Duration> {
        if self.io.has_work() {
            return Some(Duration::ZERO);
        }
        let sweep = self.sweeps().then_some(self.next_sweep);
        let until = [self.app.next_timeout(), sweep, self.drain_until].into_iter().flatten().min()?;
        Some(until.since(clock::now()))
    }

    fn handle_event(&mut self, event: Ready) {
        if event.token == WAKER_TOKEN {
            return self.handle_posts();
        }
        let id = ConnId::from_token(event.token);
        let Some(conn) = self.io.conn(id) else { return };
        if conn.connecting {
            return self.finish_connect(id);
        }
        if event.write {
            self.io.mark_dirty(id);
        }
        let Some(conn) = self.io.conn(id) else { return };
        if conn.wants_read() && (event.read || event.broken) {
            if conn.stream.is_handshaking() {
                self.io.queue_handshake(id);
            } else {
                self.read(id);
            }
        } else if event.broken {
            self.io.fail(id, CloseReason::Peer);
        } else if event.read && !conn.listed {
            // One that is delivered again in the next turn is left armed: no system calls for that.
            self.io.disarm_read(id);
        }
    }

    fn finish_connect(&mut self, id: ConnId) {
        let Some(conn) = self.io.conn_mut(id) else { return };
        let failure = match sockopt::socket_error(&conn.stream) {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(error),
        };
        if let Some(error) = failure {
            return self.io.fail(id, CloseReason::ConnectFailed(error));
        }
        conn.connecting = false;
        self.io.mark_dirty(id);
        self.app.connected(&mut self.io, id);
    }

    /// One read, and some more while a long value is coming in, whose buffer is in the cache now.
    fn read(&mut self, id: ConnId) {
        for _ in 0..READS_PER_EVENT {
            let is_full = self.read_once(id);
            if !is_full || self.io.conn(id).is_none_or(|conn| !conn.wants_read() || conn.unsent() > 0) {
                break;
            }
        }
    }

    /// True when it filled the loop's buffer: then there may be more.
    fn read_once(&mut self, id: ConnId) -> bool {
        let received = self.io.receive(id, &mut self.receive_buffer);
        let is_full = matches!(received, Receive::Shared(len) if len == self.receive_buffer.len());
        match received {
            Receive::Shared(len) => self.deliver(id, len),
            Receive::Own(input) => self.deliver_own(id, input),
            Receive::Nothing(Transfer::Ended) => self.end(id),
            Receive::Nothing(Transfer::Failed(Errno::CONNRESET)) => self.io.fail(id, CloseReason::Peer),
            Receive::Nothing(Transfer::Failed(error)) => {
                self.tell_fault(id);
                self.io.fail(id, CloseReason::Failed(error));
            }
            Receive::Nothing(_) => {}
        }
        is_full
    }

    fn step_handshakes(&mut self) {
        for id in self.io.take_handshakes() {
            if self.io.conn(id).is_some_and(Conn::wants_read) {
                self.read(id);
            }
            self.io.rearm(id);
        }
    }

    /// If the connection has failed for TLS's sake, counts it and tells the app.
    fn tell_fault(&mut self, id: ConnId) {
        let Some(tls) = self.io.conn_mut(id).and_then(|conn| conn.stream.tls_mut()) else { return };
        let Some(fault) = tls.take_fault() else { return };
        let is_handshaking = tls.is_handshaking();
        let stats = &self.io.stats;
        let counter = if is_handshaking { &stats.tls_handshake_errors } else { &stats.tls_protocol_errors };
        stats::add(counter, 1);
        self.app.tls_failed(&mut self.io, id, &fault);
    }

    fn end(&mut self, id: ConnId) {
        let Some(conn) = self.io.conn_mut(id) else { return };
        conn.ended = true;
        self.io.disarm_read(id);
        self.app.ended(&mut self.io, id);
    }

    fn deliver(&mut self, id: ConnId, len: usize) {
        let input = &self.receive_buffer[..len];
        let received = self.app.received(&mut self.io, id, input);
        self.io.settle(id, input, received);
        self.io.flush_long(id);
    }

    fn deliver_own(&mut self, id: ConnId, input: Vec<u8>) {
        let received = self.app.received(&mut self.io, id, &input);
        self.io.settle_own(id, input, received);
        self.io.flush_long(id);
    }

    fn deliver_listed(&mut self) {
        std::mem::swap(&mut self.ready, &mut self.io.ready);
        let mut ready = std::mem::take(&mut self.ready);
        for id in ready.drain(..) {
            if !self.io.unlist(id) {
                continue;
            }
            // Empty where the app only waited for its output to drain.
            if let Some(input) = self.io.take_kept(id).filter(|input| !input.is_empty()) {
                self.deliver_own(id, input);
            }
            self.io.rearm(id);
        }
        self.ready = ready;
    }

    fn handle_posts(&mut self) {
        let mut posts = std::mem::take(&mut self.posts);
        self.mailbox.drain(&mut posts);
        for post in posts.drain(..) {
            match post {
                Post::Message(message) => self.app.message(&mut self.io, message),
                Post::Accepted(fd, origin, tls) => match self.io.accept(fd, tls.as_ref()) {
                    Ok(id) => self.app.opened(&mut self.io, id, origin),
                    Err(_) => self.io.uncount(),
                },
            }
        }
        self.posts = posts;
        if self.mailbox.stopping() && self.drain_until.is_none() {
            self.start_draining();
        }
    }

    fn start_draining(&mut self) {
        self.drain_until = Some(self.io.now() + DRAIN_MAX);
        self.app.stopping(&mut self.io);
        let all: Vec<ConnId> = self.io.connections().collect();
        for id in all {
            self.io.close(id);
        }
    }

    fn fire_timers(&mut self) {
        let now = self.io.now();
        if self.app.next_timeout().is_some_and(|at| at <= now) {
            self.app.timed_out(&mut self.io, now);
        }
        if self.sweeps() && self.next_sweep <= now {
            self.next_sweep = now + IDLE_SWEEP;
            if let Some(limit) = self.idle_timeout {
                self.close_idle(now, limit);
            }
            self.close_late_handshakes();
        }
    }

    /// Are there connections that may have to be closed for their silence?
    fn sweeps(&self) -> bool {
        self.idle_timeout.is_some() || !self.io.handshakes.are_none()
    }

    fn close_late_handshakes(&mut self) {
        for id in self.io.late_handshakes() {
            stats::add(&self.io.stats.tls_handshake_errors, 1);
            self.app.tls_failed(&mut self.io, id, &TlsFault::TimedOut);
            self.io.fail(id, CloseReason::Failed(Errno::TIMEDOUT));
        }
    }

    fn close_idle(&mut self, now: Instant, limit: Duration) {
        let is_idle = |id: &ConnId| {
            self.io
                .conn(*id)
                .is_some_and(|conn| conn.accepted && !conn.may_idle && now.since(conn.last_received) > limit)
        };
        let idle: Vec<ConnId> = self.io.connections().filter(is_idle).collect();
        for id in idle {
            stats::add(&self.io.stats.idle_closes, 1);
            self.io.fail(id, CloseReason::Idle);
        }
    }

    fn remove_finished(&mut self) {
        let mut finished = std::mem::take(&mut self.io.finished);
        for id in finished.drain(..) {
            if let Some(conn) = self.io.remove(id) {
                self.app.closed(&mut self.io, id, conn.closing.unwrap_or(CloseReason::Local));
            }
        }
        if self.io.finished.is_empty() {
            // Keep the allocation.
            self.io.finished = finished;
        }
    }
}
