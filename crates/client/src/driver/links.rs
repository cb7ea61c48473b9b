//! The driver's connections: opening, sending, failing.

use proto::Generation;
use proto::reply::ReplyKind;
use proto::request::encode::{CLOCK, HANDSHAKE, put_bg, put_map_request};
use route::{BackendId, BackendView, Class, HealthState, Outcome};
use stdx::Instant;

use super::calls::{CallId, Place};
use super::link::{Asker, Link, LinkId, State};
use super::{Action, Closed, Driver};
use crate::limits::{LINK_OUTPUT_MAX, REOPEN_AFTER};

/// What a plain server is asked first; any answer of the kind proves that it is one.
const VERSION: &[u8] = b"version\r\n";

impl Driver {
    /// The link of a backend, made when it is first asked for.
    pub(super) fn link(&mut self, backend: BackendId) -> &mut Link {
        let index = backend.0 as usize;
        if self.links.len() <= index {
            self.links.resize_with(index + 1, Link::new);
        }
        &mut self.links[index]
    }

    /// The link that an event is about, if it is still that one.
    pub(super) fn current(&mut self, id: LinkId) -> Option<&mut Link> {
        let link = self.links.get_mut(id.backend.0 as usize)?;
        (link.serial == id.serial && link.state != State::Closed).then_some(link)
    }

    pub(super) fn link_id(&mut self, backend: BackendId) -> LinkId {
        LinkId { backend, serial: self.link(backend).serial }
    }

    /// Opens a connection unless there is one.
    pub(super) fn open(&mut self, backend: BackendId, now: Instant) {
        let until = now + self.router.options().timeout;
        let Some(address) = self.router.backend(backend).map(|view| view.address.to_owned()) else { return };
        let link = self.link(backend);
        if link.state != State::Closed {
            return;
        }
        link.open(until);
        let id = self.link_id(backend);
        self.actions.push(Action::Connect(id, address));
    }

    /// The socket stands: who is there?
    pub(super) fn connected(&mut self, id: LinkId) {
        let is_managed = self.router.is_managed();
        let Some(link) = self.current(id) else { return };
        let (hello, askers): (&[u8], &[_]) = if is_managed {
            (HANDSHAKE, &[(ReplyKind::Node, Asker::Node), (ReplyKind::Clock, Asker::Clock)])
        } else {
            (VERSION, &[(ReplyKind::Version, Asker::Version)])
        };
        link.output.extend_from_slice(hello);
        for &(kind, asker) in askers {
            link.pipeline.push(kind, asker).expect("the pipeline of a new connection is empty");
        }
    }

    /// The handshake is over.
    pub(super) fn ready(&mut self, backend: BackendId, now: Instant) {
        let link = self.link(backend);
        link.state = State::Ready { since: now };
        for id in std::mem::take(&mut link.held) {
            self.send_now(id, backend, now);
        }
    }

    /// Sends a call's attempt, or holds it until it can be sent.
    pub(super) fn send(
        &mut self,
        id: CallId,
        backend: BackendId,
        generation: Option<Generation>,
        now: Instant,
    ) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.generation = generation;
        let until = call.op.attempt_until;
        self.place(id, Place::Held(backend), until);
        match self.link(backend).state {
            State::Ready { .. } => self.send_now(id, backend, now),
            State::Opening { .. } => self.link(backend).held.push_back(id),
            State::Closed => {
                self.open(backend, now);
                self.link(backend).held.push_back(id);
            }
        }
    }

    /// Sends a held call on a connection that is ready, unless it must wait for the node's clock.
    fn send_now(&mut self, id: CallId, backend: BackendId, now: Instant) {
        let timeout = self.router.options().timeout;
        let Some(call) = self.calls.get_mut(id).filter(|call| call.place == Place::Held(backend)) else {
            return;
        };
        // To a caller that has dropped it, it is over: sent now, a write could land on top of a later one. A delete may.
        if call.reply.is_closed() && call.request.class != Class::Delete {
            self.calls.remove(id);
            return;
        }
        let index = backend.0 as usize;
        let Some(link) = self.links.get_mut(index) else { return };
        let is_stamped = call.generation.is_some() && call.request.has_deadline();
        if call.generation.is_some() && link.sample.is_none_or(|sample| sample.age(now) > timeout / 2) {
            ask_clock(link, now);
        }
        let sample = link.sample.filter(|sample| sample.age(now) <= timeout);
        if is_stamped && sample.is_none() {
            link.unstamped.push_back(id);
            return;
        }
        let no_room = link.output.len() > LINK_OUTPUT_MAX;
        if no_room || link.pipeline.push(call.request.kind, Asker::Call(id)).is_err() {
            return self.fail_attempt(id, Outcome::NotSent, now);
        }
        call.place = Place::Sent(backend);
        if let Some(generation) = call.generation {
            let stamp = sample.filter(|_| is_stamped).map(|sample| sample.stamp(call.op.attempt_until));
            put_bg(&mut link.output, call.op.bucket(), generation, stamp);
        }
        link.output.extend_from_slice(&call.request.bytes);
    }

    /// A sample of the clock has come: what waited for it can go.
    pub(super) fn stamped(&mut self, backend: BackendId, now: Instant) {
        for id in std::mem::take(&mut self.link(backend).unstamped) {
            self.send_now(id, backend, now);
        }
    }

    /// A call got no answer in time. Its connection is closed, since what may still come on it is nobody's.
    pub(super) fn time_out(&mut self, backend: BackendId, late: CallId, now: Instant) {
        self.router.handle_timeout(backend, now);
        self.fail_link(backend, Some(late), now);
    }

    /// The connection answered nonsense, or is somebody else's: closed, and counted as broken.
    pub(super) fn distrust(&mut self, backend: BackendId, now: Instant) {
        self.router.handle_broken(backend, now);
        self.fail_link(backend, None, now);
    }

    /// News that a connection is gone.
    pub(super) fn closed(&mut self, id: LinkId, closed: Closed, now: Instant) {
        let Some(link) = self.current(id) else { return };
        let stood = matches!(link.state, State::Ready { since } if now.since(since) >= REOPEN_AFTER);
        if closed == Closed::Ended && link.is_idle() && stood {
            // A server may end connections that are idle, and a dying one ends them all: trying tells.
            link.close();
            return self.open(id.backend, now);
        }
        self.router.handle_broken(id.backend, now);
        self.fail_link(id.backend, None, now);
    }

    /// Closes a connection; all who waited for it are told. `late`: whose time was over.
    fn fail_link(&mut self, backend: BackendId, late: Option<CallId>, now: Instant) {
        let id = self.link_id(backend);
        let (sent, not_sent) = self.link(backend).close();
        self.actions.push(Action::Close(id));
        if self.map_asked == Some(id) {
            self.map_failed(now);
        }
        for asker in sent {
            if let Asker::Call(call) = asker {
                let outcome = if Some(call) == late { Outcome::TimedOut } else { Outcome::Lost };
                self.fail_attempt(call, outcome, now);
            }
        }
        for call in not_sent {
            if self.calls.get_mut(call).is_some_and(|call| call.place == Place::Held(backend)) {
                self.fail_attempt(call, Outcome::NotSent, now);
            }
        }
    }

    /// Links that are still opening when their time is over, or on which a question of our own is not answered.
    pub(super) fn time_out_links(&mut self, now: Instant) {
        for index in 0..self.links.len() {
            let backend = BackendId(index as u32);
            if self.link_timeout(index).is_some_and(|until| until <= now) {
                self.router.handle_timeout(backend, now);
                self.fail_link(backend, None, now);
            }
        }
    }

    pub(super) fn next_link_timeout(&self) -> Option<Instant> {
        (0..self.links.len()).filter_map(|index| self.link_timeout(index)).min()
    }

    fn link_timeout(&self, index: usize) -> Option<Instant> {
        let link = self.links.get(index)?;
        match link.state {
            State::Closed => None,
            State::Opening { until } => Some(until),
            State::Ready { .. } => {
                let asked = [link.clock_asked, link.map_asked].into_iter().flatten().min();
                asked.map(|asked| asked + self.router.options().timeout)
            }
        }
    }

    /// Sends the question for the map to a node that is up; which connection it went to. If there is no connection,
    /// one is opened, so that the next question has one: managers are not asked for long.
    pub(super) fn ask_map_of_a_node(&mut self, now: Instant) -> Option<LinkId> {
        let version = self.router.map_version();
        let usable = |view: &BackendView<'_>| view.current && view.health.state() != HealthState::Down;
        let mut nodes: Vec<BackendId> =
            self.router.backends().filter(|(_, view)| usable(view)).map(|(id, _)| id).collect();
        let turn = self.router.prng().below(nodes.len() as u64) as usize;
        nodes.rotate_left(turn);
        let is_ready = |id: &&BackendId| {
            self.links.get(id.0 as usize).is_some_and(|link| matches!(link.state, State::Ready { .. }))
        };
        let Some(&backend) = nodes.iter().find(is_ready) else {
            if let Some(&backend) = nodes.first() {
                self.open(backend, now);
            }
            return None;
        };
        let link = self.link(backend);
        link.pipeline.push(ReplyKind::Map, Asker::Map).ok()?;
        put_map_request(&mut link.output, version);
        link.map_asked = Some(now);
        Some(self.link_id(backend))
    }

    /// Ends the idle connections to nodes that the map does not name any more.
    pub(super) fn close_past_links(&mut self) {
        for index in 0..self.links.len() {
            let id = BackendId(index as u32);
            let past = self.router.backend(id).is_none_or(|view| !view.current);
            let link = &mut self.links[index];
            if past && link.state != State::Closed && link.is_idle() {
                let closed = LinkId { backend: id, serial: link.serial };
                link.close();
                self.actions.push(Action::Close(closed));
            }
        }
    }

    /// What a socket's task has written: the next may go.
    pub(super) fn written(&mut self, id: LinkId, mut buffer: Vec<u8>) {
        let Some(link) = self.current(id) else { return };
        link.writing = false;
        if link.output.is_empty() {
            buffer.clear();
            link.output = buffer;
        }
    }

    /// Output that can be handed to its socket's task.
    pub(super) fn collect_output(&mut self) {
        for (index, link) in self.links.iter_mut().enumerate() {
            if !link.writing && !link.output.is_empty() {
                link.writing = true;
                let id = LinkId { backend: BackendId(index as u32), serial: link.serial };
                self.actions.push(Action::Write(id, std::mem::take(&mut link.output)));
            }
        }
    }
}

/// Asks for the node's clock, unless that is under way.
fn ask_clock(link: &mut Link, now: Instant) {
    if link.clock_asked.is_none() && link.pipeline.push(ReplyKind::Clock, Asker::Clock).is_ok() {
        link.output.extend_from_slice(CLOCK);
        link.clock_asked = Some(now);
    }
}
