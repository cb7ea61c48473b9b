//! "Manager/Change": the transaction that is out, and what becomes of it. Until its outcome is known its buckets
//! are frozen; once it is durable its state is the state, and what waited for it goes on.

use std::collections::{BTreeMap, BTreeSet};

use proto::{Bucket, Generation, Incarnation, NodeId, Nonce};
use stdx::{Instant, LeaseTime};

use super::Manager;
use super::contact::Contact;
use super::newcomer::Newcomer;
use super::output::{CommitError, Event, Halt, Output, Refusal, Token, Txn};
use super::plan::{Admission, Plan};
use crate::limits::RELOAD_PAUSE;
use crate::record::Records;
use crate::state::{State, last_change};

/// The transaction that is out.
#[derive(Debug)]
pub(super) struct InFlight {
    txn: Txn,
    /// The state once it is durable.
    next: State,
    /// Buckets that it changes: frozen.
    pub(super) changes: BTreeSet<Bucket>,
    /// Lives that it puts on record.
    admissions: Vec<Admission>,
    /// Members that it forgets, by their index before it.
    removed: Vec<usize>,
    /// To be answered when it is durable.
    tokens: Vec<Token>,
    /// To be answered when it is durable and fenced.
    pub(super) dirty: Vec<(Bucket, Token)>,
    retry: Retry,
}

/// What is done about a transaction that failed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// The shell has it, or is reading the store.
    Waiting,
    /// The store shall be read.
    ReloadAt(Instant),
    /// It has not landed; it goes out again, unchanged and under the same revision.
    CommitAt(Instant),
}

impl InFlight {
    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self.retry {
            Retry::Waiting => None,
            Retry::ReloadAt(at) | Retry::CommitAt(at) => Some(at),
        }
    }

    pub(super) fn admits(&self, node: &NodeId, incarnation: Incarnation) -> bool {
        self.admissions
            .iter()
            .any(|admission| admission.node == *node && admission.incarnation == incarnation)
    }

    pub(super) fn into_tokens(self) -> impl Iterator<Item = Token> {
        self.tokens.into_iter().chain(self.dirty.into_iter().map(|(_, token)| token))
    }
}

impl Manager {
    /// Sends a planned transaction, unless it changes nothing.
    pub(super) fn send(&mut self, plan: Plan) {
        if plan.draft.is_empty() {
            for token in plan.tokens {
                self.answer(token, Ok(()));
            }
            return;
        }
        let changes = plan.draft.changes().clone();
        let (next, writes) = plan.draft.finish();
        let txn = Txn { number: next.change(), revision: self.state.revision(), term: next.term(), writes };
        self.outputs.push_back(Output::Commit(txn.clone()));
        self.in_flight = Some(InFlight {
            txn,
            next,
            changes,
            admissions: plan.admissions,
            removed: plan.removed,
            tokens: plan.tokens,
            dirty: plan.dirty,
            retry: Retry::Waiting,
        });
    }

    /// "on a time-out re-read and decide".
    pub(super) fn receive_committed(&mut self, number: u64, result: Result<u64, CommitError>) {
        let Some(flight) = self.in_flight.as_mut().filter(|flight| flight.txn.number == number) else {
            return;
        };
        match result {
            Ok(revision) => self.install(revision),
            Err(error) => {
                flight.retry = Retry::Waiting;
                self.event(Event::CommitFailed(error.to_string()));
                self.outputs.push_back(Output::Reload);
            }
        }
    }

    /// Decides what became of the transaction: landed, not landed, or somebody else wrote.
    pub(super) fn receive_reloaded(&mut self, records: Result<&Records, String>, now: LeaseTime) {
        let Some(flight) = self.in_flight.as_mut() else {
            return;
        };
        let again = now.instant() + RELOAD_PAUSE;
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                flight.retry = Retry::ReloadAt(again);
                self.event(Event::CommitFailed(error));
                return;
            }
        };
        match last_change(records) {
            Err(error) => self.halt(Halt::Store(error.to_string())),
            Ok(last) if last == flight.next.last_change() => self.install(records.revision),
            Ok(last) if last == self.state.last_change() && records.revision == self.state.revision() => {
                flight.retry = Retry::CommitAt(again);
            }
            Ok(last) => self.halt(Halt::Deposed(last.term)),
        }
    }

    pub(super) fn retry_commit(&mut self, now: LeaseTime) {
        let Some(flight) = self.in_flight.as_mut() else {
            return;
        };
        match flight.retry {
            Retry::ReloadAt(at) if now.instant() >= at => self.outputs.push_back(Output::Reload),
            Retry::CommitAt(at) if now.instant() >= at => {
                self.outputs.push_back(Output::Commit(flight.txn.clone()));
            }
            _ => return,
        }
        flight.retry = Retry::Waiting;
    }

    /// The transaction is durable: its state is the state, and what waited for it goes on.
    fn install(&mut self, revision: u64) {
        let Some(flight) = self.in_flight.take() else {
            return;
        };
        let before = std::mem::replace(&mut self.state, flight.next);
        self.state.set_revision(revision);
        if !self.leading {
            self.leading = true;
            self.event(Event::Leading(self.state.term()));
        }
        for &member in &flight.removed {
            self.refuse_member_poll(member, Refusal::NoMember(before.node_id(member).clone()));
            self.contacts.remove(member);
            self.event(Event::Removed(before.node_id(member).clone()));
        }
        self.contacts.resize_with(self.state.members().len(), Contact::absent);
        self.install_buckets(&before, &flight.changes);
        for admission in flight.admissions {
            self.install_admission(admission);
        }
        if !flight.removed.is_empty() {
            self.rebuild_obstacles();
        }
        for (bucket, token) in flight.dirty {
            self.fences.wait(bucket, self.state.map().generation(bucket), token);
        }
        for token in flight.tokens {
            self.answer(token, Ok(()));
        }
        self.settle_ends();
    }

    /// New generations: who held the old ones is in the way of the new ones from now on.
    fn install_buckets(&mut self, before: &State, changes: &BTreeSet<Bucket>) {
        let moved = changes.iter().filter(|&&bucket| {
            let owner = |state: &State| state.map().owner(bucket).map(|(node, _)| node.id.clone());
            owner(before) != owner(&self.state)
        });
        let moved = moved.count();
        let generation = Generation(self.state.map().version().0);
        if moved > 0 {
            self.event(Event::Moved(moved, generation));
        }
        if moved < changes.len() {
            self.event(Event::Wiped(changes.len() - moved, generation));
        }
        let mut old_index = BTreeMap::new();
        for (index, node) in before.map().nodes().iter().enumerate() {
            old_index.insert(index, self.state.member_index(&node.id));
        }
        for &bucket in changes {
            self.granted[bucket.index()] = false;
            let old = before.map().owner_index(bucket).and_then(|old| old_index.get(&old).copied().flatten());
            for member in [old, self.state.map().owner_index(bucket)].into_iter().flatten() {
                self.contacts[member].news = true;
                self.update_obstacle(bucket, member);
            }
        }
    }

    /// A life is on record: it may be granted things from now on.
    fn install_admission(&mut self, admission: Admission) {
        let Admission { node, incarnation, held } = admission;
        let Some(member) = self.state.member_index(&node) else {
            return;
        };
        match self.newcomers.get_mut(&node) {
            Some(newcomer) if newcomer.incarnation == incarnation => {
                let mut contact = Contact::admitted(newcomer.acknowledged(), newcomer.arrived, &held);
                contact.parked = newcomer.parked.take();
                contact.pid = newcomer.pid;
                self.contacts[member] = contact;
                self.newcomers.remove(&node);
            }
            other => {
                // Another life of that name has polled meanwhile; what it has proven was before this admission.
                other.into_iter().for_each(Newcomer::doubt);
                self.contacts[member] = Contact::admitted(Nonce(0), self.now, &held);
            }
        }
        self.update_obstacles_of(member);
        self.event(Event::Admitted(node, incarnation));
    }
}
