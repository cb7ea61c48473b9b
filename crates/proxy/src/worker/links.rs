//! The links to the backends: opened when needed, shaken hands with, written to, timed out, closed.

use net::{Address, CloseReason, ConnId, Io, Next, Received};
use proto::Generation;
use proto::reply::{Reply, ReplyKind};
use proto::request::encode::{CLOCK, HANDSHAKE, put_bg};
use route::{BackendId, Class, ClockSample, Outcome, Replied, Step};
use stdx::{Instant, clock};

use super::{Role, Worker};
use crate::counters::count;
use crate::limits::LINK_OUTPUT_MAX;
use crate::link::{Asker, Link, LinkState, Who};
use crate::requests::{Request, RequestId};

impl Worker {
    pub(super) fn link(&mut self, id: BackendId) -> &mut Link {
        let index = id.0 as usize;
        if self.links.len() <= index {
            self.links.resize_with(index + 1, Link::new);
        }
        &mut self.links[index]
    }

    /// Sends a request to a backend, or holds it until the link is ready for it.
    pub(super) fn send(
        &mut self,
        io: &mut Io,
        id: RequestId,
        backend: BackendId,
        generation: Option<Generation>,
    ) -> Result<(), Outcome> {
        if self.link(backend).must_flush && self.link(backend).state == LinkState::Ready {
            self.break_link(io, backend, clock::now(), false);
        }
        if self.link(backend).state == LinkState::Closed && !self.open_link(io, backend, clock::now()) {
            return Err(Outcome::NotSent);
        }
        let request = self.requests.get(id);
        let (class, mutates, pinned) = (request.op.class, request.prepared.mutates(), request.pinned);
        let link = self.link(backend);
        if link.state == LinkState::Ready && link.held.is_empty() && self.clock_is_fresh(io, backend, class) {
            self.write(io, id, backend, generation)?;
        } else {
            self.link(backend).held.push_back(id);
        }
        if mutates && generation.is_none() && pinned.is_none() {
            self.tell_copies(io, id, backend);
        }
        Ok(())
    }

    /// A create needs a fresh sample of the node's clock; the question for one is sent when the sample is half as old
    /// as it may be, so that a busy link never waits for it.
    fn clock_is_fresh(&mut self, io: &mut Io, backend: BackendId, class: Class) -> bool {
        if !self.router.is_managed() || !matches!(class, Class::Create | Class::Bound) {
            return true;
        }
        let timeout = self.router.options().timeout;
        let now = clock::now();
        let link = self.link(backend);
        let age = link.sample.map(|sample| sample.age(now));
        if !link.clock_asked && age.is_none_or(|age| age > timeout / 2) {
            let asker = Asker { who: Who::Clock, until: now + timeout };
            let conn = link.conn;
            if link.pipeline.push(ReplyKind::Clock, asker).is_ok() {
                link.clock_asked = true;
                if let Some(out) = conn.and_then(|conn| io.output(conn)) {
                    out.extend_from_slice(CLOCK);
                }
            }
        }
        age.is_some_and(|age| age <= timeout)
    }

    fn write(
        &mut self,
        io: &mut Io,
        id: RequestId,
        backend: BackendId,
        generation: Option<Generation>,
    ) -> Result<(), Outcome> {
        let request = self.requests.get(id);
        let link = &mut self.links[backend.0 as usize];
        let conn = link.conn.filter(|conn| io.unsent(*conn) < LINK_OUTPUT_MAX).ok_or(Outcome::NotSent)?;
        let out = io.output(conn).ok_or(Outcome::NotSent)?;
        let until = request.op.attempt_until;
        let asker = Asker { who: Who::Request(id), until };
        link.pipeline.push(request.prepared.kind, asker).map_err(|_| Outcome::NotSent)?;
        if let Some(generation) = generation {
            let creates = matches!(request.op.class, Class::Create | Class::Bound);
            let deadline = link.sample.filter(|_| creates).map(|sample| sample.stamp(until));
            put_bg(out, request.op.bucket(), generation, deadline);
        }
        out.extend_from_slice(&request.prepared.bytes);
        Ok(())
    }

    /// Static pools with copies: the others that hold the key hear of the mutation. What depends on the old value is
    /// not done twice, it would drift: there the copy's item is dropped.
    fn tell_copies(&mut self, io: &mut Io, id: RequestId, sent_to: BackendId) {
        let copies = self.router.copies(self.requests.get(id).prepared.key(), sent_to);
        for missed in self.router.missed(self.requests.get(id).prepared.key(), sent_to) {
            self.link(missed).must_flush = true;
        }
        for copy in copies {
            let bytes = self.requests.buffer();
            let prepared = self.requests.get(id).prepared.for_copy(bytes);
            let op = self.router.pin(clock::now());
            let request = Request { prepared, op, client: None, seq: 0, pinned: Some(copy) };
            let request = self.requests.insert(request);
            self.take_step(io, request, Step::Send { backend: copy, generation: None });
        }
    }

    /// Starts a connection, if there is none; false when that fails at once.
    pub(super) fn open_link(&mut self, io: &mut Io, id: BackendId, now: Instant) -> bool {
        if self.link(id).state != LinkState::Closed {
            return true;
        }
        let Some(address) = self.router.backend(id).and_then(|backend| self.shared.resolve(backend.address))
        else {
            self.router.handle_broken(id, now);
            return false;
        };
        count(&self.counters.backend_connects);
        match io.connect(&Address::Tcp(address)) {
            Ok(conn) => {
                self.set_role(conn, Role::Backend(id));
                let until = now + self.router.options().timeout;
                let link = self.link(id);
                link.state = LinkState::Opening;
                link.conn = Some(conn);
                // The connect itself is what is waited for first.
                let handshake = Asker { who: Who::Version, until };
                let _ = link.pipeline.push(ReplyKind::Version, handshake);
                true
            }
            Err(_) => {
                count(&self.counters.backend_failures);
                self.router.handle_broken(id, now);
                false
            }
        }
    }

    /// The connection stands: ask who is there before anything else is sent.
    pub(super) fn shake_hands(&mut self, io: &mut Io, id: BackendId) {
        let until = clock::now() + self.router.options().timeout;
        let managed = self.router.is_managed();
        let link = self.link(id);
        let Some(out) = link.conn.and_then(|conn| io.output(conn)) else { return };
        let mut ask = |kind, who| {
            let _ = link.pipeline.push(kind, Asker { who, until });
        };
        out.extend_from_slice(b"version\r\n");
        if managed {
            out.extend_from_slice(HANDSHAKE);
            ask(ReplyKind::Node, Who::Node);
            ask(ReplyKind::Clock, Who::Clock);
        } else if link.must_flush {
            out.extend_from_slice(b"flush_all\r\n");
            ask(ReplyKind::Ok, Who::Flush);
        }
    }

    /// Takes replies off a backend's input.
    pub(super) fn read_replies(
        &mut self,
        io: &mut Io,
        id: BackendId,
        conn: ConnId,
        input: &[u8],
    ) -> Received {
        let mut consumed = 0;
        while let Some(rest) = input.get(consumed..).filter(|rest| !rest.is_empty()) {
            if self.link(id).conn != Some(conn) {
                return Received { consumed: input.len(), next: Next::Close };
            }
            let is_good = match self.link(id).pipeline.next(rest) {
                Replied::NeedMore { at_least } if at_least <= net::limits::INPUT_MAX => {
                    return Received { consumed, next: Next::More };
                }
                Replied::One { consumed: len, asker, reply } => {
                    consumed += len;
                    let raw = rest.get(..len).unwrap_or_default();
                    self.reply(io, id, asker, &reply, raw)
                }
                Replied::NeedMore { .. } | Replied::Bad => false,
            };
            if !is_good {
                count(&self.counters.backend_failures);
                self.break_link(io, id, clock::now(), false);
                return Received { consumed: input.len(), next: Next::Close };
            }
        }
        Received { consumed, next: Next::More }
    }

    /// One reply; false when the connection is of no use.
    fn reply(&mut self, io: &mut Io, id: BackendId, asker: Asker, reply: &Reply<'_>, raw: &[u8]) -> bool {
        let now = clock::now();
        match (asker.who, reply) {
            (Who::Request(request), _) => {
                self.router.handle_answer(id, now);
                if !self.replied(io, request, reply, raw) {
                    let step = self.failed(request, Outcome::Lost);
                    self.take_step(io, request, step);
                    return false;
                }
                true
            }
            (Who::Version, Reply::Version(_)) => {
                if !self.router.is_managed() && !self.link(id).must_flush {
                    self.link_ready(io, id, now);
                }
                true
            }
            (Who::Node, Reply::Node(node)) => {
                let expected = self.router.backend(id).and_then(|backend| backend.node);
                expected == Some(&node.name) && node.cluster == self.router.cluster()
            }
            (Who::Clock, Reply::Clock(clock)) => {
                let link = self.link(id);
                link.sample = Some(ClockSample::new(*clock, now));
                link.clock_asked = false;
                if link.state == LinkState::Opening {
                    self.link_ready(io, id, now);
                } else {
                    self.release_held(io, id);
                }
                true
            }
            (Who::Flush, Reply::Ok) => {
                self.link(id).must_flush = false;
                self.link_ready(io, id, now);
                true
            }
            (Who::Map, Reply::Map(map)) => {
                self.take_map(io, map.text, now);
                true
            }
            _ => false,
        }
    }

    fn link_ready(&mut self, io: &mut Io, id: BackendId, now: Instant) {
        self.router.handle_answer(id, now);
        let link = self.link(id);
        if link.state == LinkState::Opening {
            link.state = LinkState::Ready;
            self.release_held(io, id);
        }
    }

    /// Sends what was held, each by a fresh decision of the router: the map may have changed meanwhile.
    fn release_held(&mut self, io: &mut Io, id: BackendId) {
        for request in std::mem::take(&mut self.link(id).held) {
            let held = self.requests.get_mut(request);
            let step = match held.pinned {
                Some(backend) => Step::Send { backend, generation: None },
                None => self.router.reroute(&mut held.op, held.prepared.key(), clock::now()),
            };
            self.take_step(io, request, step);
        }
    }

    /// When the first of a link's askers, or the first that it holds, gives up.
    pub(super) fn link_due(&self, link: &Link) -> Option<Instant> {
        let asked = link.pipeline.front().map(|asker| asker.until);
        let held = link.held.front().map(|id| self.requests.get(*id).op.attempt_until);
        [asked, held].into_iter().flatten().min()
    }

    pub(super) fn expire_links(&mut self, io: &mut Io, now: Instant) {
        for index in 0..self.links.len() {
            let id = BackendId(index as u32);
            let link = &self.links[index];
            if link.pipeline.front().is_some_and(|asker| asker.until <= now) {
                self.break_link(io, id, now, true);
                continue;
            }
            while let Some(&request) = self.links[index].held.front() {
                if self.requests.get(request).op.attempt_until > now {
                    break;
                }
                self.links[index].held.pop_front();
                let step = self.failed(request, Outcome::NotSent);
                self.take_step(io, request, step);
            }
        }
    }

    /// Closes a link and settles everything that it owed.
    fn break_link(&mut self, io: &mut Io, id: BackendId, now: Instant, timed_out: bool) {
        if timed_out {
            self.router.handle_timeout(id, now);
        } else {
            self.router.handle_broken(id, now);
        }
        if let Some(conn) = self.link(id).conn {
            io.abort(conn);
        }
        self.settle(io, id, now);
    }

    /// The loop says that a connection is gone.
    pub(super) fn link_closed(&mut self, io: &mut Io, id: BackendId, conn: ConnId, reason: CloseReason) {
        if self.link(id).conn != Some(conn) {
            return;
        }
        // A server may close an idle connection; that says nothing about its health.
        let idle = self.link(id).pipeline.is_empty() && reason == CloseReason::Peer;
        if !idle {
            count(&self.counters.backend_failures);
            self.router.handle_broken(id, io.now());
        }
        self.settle(io, id, clock::now());
    }

    fn settle(&mut self, io: &mut Io, id: BackendId, now: Instant) {
        let replicated = self.router.options().replicas > 1;
        let link = self.link(id);
        link.reset();
        let askers: Vec<Asker> = link.pipeline.drain().collect();
        let held = std::mem::take(&mut link.held);
        for asker in askers {
            match asker.who {
                Who::Request(request) => {
                    let mutates = self.requests.get(request).prepared.mutates();
                    self.link(id).must_flush |= replicated && mutates;
                    let outcome = if asker.until <= now { Outcome::TimedOut } else { Outcome::Lost };
                    let step = self.failed(request, outcome);
                    self.take_step(io, request, step);
                }
                Who::Map => self.router.fail_refresh(now),
                Who::Node | Who::Clock | Who::Version | Who::Flush => {}
            }
        }
        for request in held {
            let step = self.failed(request, Outcome::NotSent);
            self.take_step(io, request, step);
        }
    }
}
