//! All of a client but its sockets: events in, actions out, no I/O and no clock of its own.
//!
//! Owned by one task ([`crate::task`]). Decisions are the router's; here is the book-keeping around it: which call is
//! where, what each connection owes, handshakes, samples of clocks, questions for the map, reports.
//!
//! **Invariants**: every call is answered exactly once, at the latest when its deadline (for a delete: its report's
//! wait) is over. Whatever goes wrong on a connection closes it.

mod calls;
mod link;
mod links;
mod replies;
mod reports;

use proto::{Bucket, ClusterId, MapVersion};
use route::{Failure, Outcome, Router, Step};
use stdx::Instant;
use tokio::sync::oneshot;

use crate::limits::{CALLS_MAX, REPORT_WAIT};
use crate::request::Request;

use calls::{Call, Calls, Place};
use link::Link;
use reports::Reports;

pub(crate) use calls::CallId;
pub(crate) use link::LinkId;
pub(crate) use replies::Answer;
pub(crate) use reports::ReportId;

/// A caller's request, and where its answer goes.
#[derive(Debug)]
pub(crate) struct NewCall {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// What happened outside.
#[derive(Debug)]
pub(crate) enum Event {
    /// A connection stands.
    Connected(LinkId),
    /// Bytes have come on it.
    Received(LinkId, Vec<u8>),
    /// All that its task was given is written; here is the buffer back.
    Written(LinkId, Vec<u8>),
    /// It is gone.
    Closed(LinkId, Closed),
    /// A manager's map; `None`: none answered.
    Map(Option<Vec<u8>>),
    /// A dirty report was acknowledged.
    Reported(ReportId),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The server ended it in order.
    Ended,
    /// It was refused, or broke.
    Broken,
}

/// What is to be done outside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Open a connection.
    Connect(LinkId, String),
    /// Write to it; one such action is out for a connection at a time, until [`Event::Written`].
    Write(LinkId, Vec<u8>),
    /// Drop it; nothing more is heard of it.
    Close(LinkId),
    /// Ask a manager for a map newer than this.
    AskMap(MapVersion),
    /// Report a bucket dirty, until that is acknowledged.
    Report(ReportId, ClusterId, Bucket),
}

#[derive(Debug)]
pub(crate) struct Driver {
    router: Router,
    value_len_max: usize,
    calls: Calls,
    /// By backend.
    links: Vec<Link>,
    /// The connection that the question for the map was sent on; `None`: to a manager, or none is out.
    map_asked: Option<LinkId>,
    reports: Reports,
    actions: Vec<Action>,
}

impl Driver {
    pub(crate) fn new(router: Router, value_len_max: usize) -> Self {
        Self {
            router,
            value_len_max,
            calls: Calls::default(),
            links: Vec::new(),
            map_asked: None,
            reports: Reports::default(),
            actions: Vec::new(),
        }
    }

    /// False while no more calls are taken.
    pub(crate) fn has_room(&self) -> bool {
        self.calls.len() < CALLS_MAX
    }

    /// True when nothing is on its way, and no report is owed.
    pub(crate) fn is_idle(&self) -> bool {
        self.calls.len() == 0 && self.reports.is_empty()
    }

    /// False in a managed cluster while no map is known.
    pub(crate) fn is_routable(&self) -> bool {
        !self.router.is_managed() || self.router.map_version() > MapVersion::NONE
    }

    /// Begins a call.
    pub(crate) fn handle_call(&mut self, new: NewCall, now: Instant) {
        let request = new.request;
        let (key, hash) = (&request.key, request.hash);
        let (op, step) = match request.bound.and_then(|cas| cas.generation) {
            Some(read) => self.router.start_bound(key, hash, read, now),
            None => self.router.start(request.class, key, hash, now),
        };
        let call = Call {
            request,
            op,
            place: Place::Parked,
            wake_at: Instant::ZERO,
            generation: None,
            reply: new.reply,
        };
        let id = self.calls.insert(call);
        self.take_step(id, step, now);
    }

    /// Applies an event. `now` was read after it came.
    pub(crate) fn apply(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected(link) => self.connected(link),
            Event::Received(link, bytes) => self.received(link, &bytes, now),
            Event::Written(link, buffer) => self.written(link, buffer),
            Event::Closed(link, closed) => self.closed(link, closed, now),
            Event::Map(Some(text)) => self.take_map(&text, now),
            Event::Map(None) => self.map_failed(now),
            Event::Reported(report) => {
                for id in self.reports.handle_done(report) {
                    self.answer(id, Answer::Deleted);
                }
            }
        }
    }

    /// When [`Driver::fire_timers`] wants to be called.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let refresh = if self.router.is_managed() { self.router.refresh.due() } else { None };
        let probe = self.router.next_probe();
        [self.calls.next_timer(), self.next_link_timeout(), refresh, probe].into_iter().flatten().min()
    }

    /// Whatever is due by `now`.
    pub(crate) fn fire_timers(&mut self, now: Instant) {
        while let Some(id) = self.calls.poll_timer(now) {
            self.wake(id, now);
        }
        self.time_out_links(now);
        while let Some(backend) = self.router.poll_probe(now) {
            self.open(backend, now);
        }
        if self.router.is_managed() && self.router.refresh.due().is_some_and(|due| due <= now) {
            self.ask_map(now);
        }
    }

    /// What has to be done now, in this order.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        self.collect_output();
        while let Some((report, bucket)) = self.reports.poll() {
            self.actions.push(Action::Report(report, self.router.cluster(), bucket));
        }
        std::mem::take(&mut self.actions)
    }

    /// A call's timer has fired.
    fn wake(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else { return };
        match call.place {
            Place::Parked => {
                let step = self.router.resume(&mut call.op, &call.request.key, now);
                self.take_step(id, step, now);
            }
            Place::Held(_) => self.fail_attempt(id, Outcome::NotSent, now),
            Place::Sent(backend) => self.time_out(backend, id, now),
            Place::Reported => self.answer(id, Answer::Failed(Failure::Unknown)),
        }
    }

    /// An attempt failed: what now?
    fn fail_attempt(&mut self, id: CallId, outcome: Outcome, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let step = self.router.handle_outcome(&mut call.op, outcome, &call.request.key, now);
        self.take_step(id, step, now);
    }

    fn take_step(&mut self, id: CallId, step: Step, now: Instant) {
        match step {
            Step::Send { backend, generation } => self.send(id, backend, generation, now),
            Step::Park { until } => self.place(id, Place::Parked, until),
            Step::ReportDirty => {
                if let Some(bucket) = self.calls.get_mut(id).map(|call| call.op.bucket()) {
                    self.place(id, Place::Reported, now + REPORT_WAIT);
                    self.reports.add(bucket, id, &self.calls);
                }
            }
            Step::Answer(failure) => self.answer(id, Answer::Failed(failure)),
        }
    }

    fn place(&mut self, id: CallId, place: Place, wake_at: Instant) {
        if let Some(call) = self.calls.get_mut(id) {
            call.place = place;
            self.calls.wake(id, wake_at);
        }
    }

    fn answer(&mut self, id: CallId, answer: Answer) {
        if let Some(call) = self.calls.remove(id) {
            // A caller that is gone needs no answer.
            let _ = call.reply.send(answer);
        }
    }

    fn ask_map(&mut self, now: Instant) {
        self.router.refresh.handle_asked(now);
        self.map_asked = self.ask_map_of_a_node(now);
        if self.map_asked.is_none() {
            self.actions.push(Action::AskMap(self.router.map_version()));
        }
    }

    fn take_map(&mut self, text: &[u8], now: Instant) {
        self.map_asked = None;
        match self.router.apply_map(text, now) {
            Ok(change) if change.newer => {
                self.close_past_links();
                for id in self.calls.parked() {
                    self.wake(id, now);
                }
            }
            // Nothing newer; or not for us, or damaged, and then the router asks somebody else.
            Ok(_) | Err(_) => {}
        }
    }

    fn map_failed(&mut self, now: Instant) {
        self.map_asked = None;
        self.router.fail_refresh(now);
    }
}

#[cfg(test)]
mod tests;
