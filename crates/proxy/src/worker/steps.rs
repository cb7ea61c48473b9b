//! Doing what the router says.

use net::Io;
use proto::reply::{Reply, ReplyKind, text};
use route::op::Reason;
use route::{Class, Failure, Outcome, Step};
use stdx::{Instant, clock};

use super::Worker;
use crate::control::Ask;
use crate::counters::count;
use crate::limits::{REPORT_WAIT, REPORTS_MAX};
use crate::requests::RequestId;

impl Worker {
    /// Steps that follow from one another are taken in a loop, each attempt being counted by the router.
    pub(super) fn take_step(&mut self, io: &mut Io, id: RequestId, mut step: Step) {
        loop {
            match step {
                Step::Send { backend, generation } => match self.send(io, id, backend, generation) {
                    Ok(()) => return,
                    Err(outcome) => step = self.failed(id, outcome),
                },
                Step::Park { until } => return self.park(id, until),
                Step::ReportDirty => return self.report(io, id),
                Step::Answer(failure) => return self.answer_failure(io, id, failure),
            }
        }
    }

    /// An attempt failed: what next?
    pub(super) fn failed(&mut self, id: RequestId, outcome: Outcome) -> Step {
        match outcome {
            Outcome::NotOwner => count(&self.counters.not_owner),
            Outcome::TimedOut => count(&self.counters.backend_timeouts),
            _ => {}
        }
        let request = self.requests.get_mut(id);
        if let Some(backend) = request.pinned {
            self.link(backend).must_flush = true;
            return Step::Answer(Failure::NotDone(Reason::BackendDown));
        }
        let step = self.router.handle_outcome(&mut request.op, outcome, request.prepared.key(), clock::now());
        if matches!(step, Step::Send { .. }) {
            count(&self.counters.retries);
        }
        step
    }

    /// A backend's reply to a request, whole as it came. False: it is none that the request can have.
    pub(super) fn replied(&mut self, io: &mut Io, id: RequestId, reply: &Reply<'_>, raw: &[u8]) -> bool {
        let request = self.requests.get(id);
        let outcome = match reply {
            Reply::NotOwner => Some(Outcome::NotOwner),
            Reply::Expired => Some(Outcome::Expired),
            // A read never errs: what a backend cannot answer is a miss.
            failure if failure.is_failure() && request.op.class == Class::Read => Some(Outcome::NotSent),
            _ => None,
        };
        if let Some(outcome) = outcome {
            let step = self.failed(id, outcome);
            self.take_step(io, id, step);
            return true;
        }
        if let Some(backend) = request.pinned.filter(|_| reply.is_failure()) {
            self.link(backend).must_flush = true;
        }
        let request = self.requests.get(id);
        if let Reply::Values(values) = reply {
            let mut values = *values;
            let first = values.next();
            if values.next().is_some() || first.is_some_and(|value| value.key != request.prepared.key()) {
                return false;
            }
            count(if first.is_some() { &self.counters.get_hits } else { &self.counters.get_misses });
        }
        self.finish(io, id, raw);
        true
    }

    /// Ends a request with these bytes for its client.
    fn finish(&mut self, io: &mut Io, id: RequestId, bytes: &[u8]) {
        let request = self.requests.remove(id);
        let bytes = request.prepared.answer.unwrap_or(bytes);
        if let Some(client) = request.client {
            self.deliver(io, client, request.seq, request.prepared.bytes.len(), bytes);
        }
        self.requests.recycle(request.prepared.bytes);
    }

    fn answer_failure(&mut self, io: &mut Io, id: RequestId, failure: Failure) {
        let kind = self.requests.get(id).prepared.kind;
        match failure {
            Failure::Miss if kind == ReplyKind::Values => {
                count(&self.counters.get_misses);
                count(&self.counters.get_misses_by_failure);
                self.finish(io, id, text::END);
            }
            Failure::Miss => self.finish(io, id, text::NOT_FOUND),
            Failure::Changed => self.finish(io, id, text::EXISTS),
            Failure::Unknown => {
                count(&self.counters.unknown);
                // Not what a too large value is answered with: the old one may still be there.
                self.requests.get_mut(id).prepared.answer = None;
                self.finish(io, id, text::OUTCOME_UNKNOWN);
            }
            Failure::NotDone(reason) => self.not_done(io, id, reason),
        }
    }

    fn not_done(&mut self, io: &mut Io, id: RequestId, reason: Reason) {
        count(&self.counters.not_done);
        self.requests.get_mut(id).prepared.answer = None;
        self.finish(io, id, format!("SERVER_ERROR {}\r\n", reason.text()).as_bytes());
    }

    /// Keeps a request for later. What its client sent behind it waits too: a pipelined get must not overtake its set.
    fn park(&mut self, id: RequestId, until: Instant) {
        if let Some(client) = self.requests.get(id).client.and_then(|conn| self.client(conn)) {
            client.waiting += 1;
        }
        self.parked.push((until, id));
    }

    /// A newer map has come (`all`), or the time of some parked requests.
    pub(super) fn resume_parked(&mut self, io: &mut Io, now: Instant, all: bool) {
        let (due, parked) =
            std::mem::take(&mut self.parked).into_iter().partition(|(until, _)| all || *until <= now);
        self.parked = parked;
        let due: Vec<(Instant, RequestId)> = due;
        for (_, id) in due {
            if let Some(client) = self.requests.get(id).client.and_then(|conn| self.client(conn)) {
                client.waiting -= 1;
            }
            let request = self.requests.get_mut(id);
            let step = self.router.resume(&mut request.op, request.prepared.key(), now);
            self.take_step(io, id, step);
        }
    }

    fn report(&mut self, io: &mut Io, id: RequestId) {
        count(&self.counters.dirty_reports);
        self.report_number += 1;
        let (worker, report) = (self.number, self.report_number);
        let ask = Ask::Dirty { bucket: self.requests.get(id).op.bucket(), worker, report };
        if self.reports.len() >= REPORTS_MAX || self.control.try_send(ask).is_err() {
            return self.answer_failure(io, id, Failure::Unknown);
        }
        self.reports.insert(report, (clock::now() + REPORT_WAIT, id));
    }

    /// The bucket of a reported delete is fenced and empty: the delete is done.
    pub(super) fn report_done(&mut self, io: &mut Io, report: u64) {
        if let Some((_, id)) = self.reports.remove(&report) {
            self.finish(io, id, text::DELETED);
        }
    }

    pub(super) fn expire_reports(&mut self, io: &mut Io, now: Instant) {
        while let Some(mut entry) = self.reports.first_entry() {
            let (until, id) = *entry.get_mut();
            if until > now {
                break;
            }
            entry.remove();
            self.answer_failure(io, id, Failure::Unknown);
        }
    }
}
