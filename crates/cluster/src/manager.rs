//! The manager's side of ownership ("Manager"): who may own what, and since when everybody else surely doesn't.
//!
//! The shell calls a `handle_*` for everything that happens and then drains [`Manager::poll_output`] until it is
//! empty; it calls [`Manager::handle_timeout`] at [`Manager::poll_timeout`]. Outputs come in the order in which
//! they must be done. One transaction is out at a time; everything decided meanwhile goes into the next.
//!
//! `now` is always the time of the call, read after the message was received completely: a lease is counted from
//! the send time of its poll, which is before that.

//!
//! **Invariants**: at most one life of a name can hold anything; nothing is granted, and no map is shown, before it
//! is committed; a bucket is granted only when every other node is fenced for it.

mod answer;
mod commit;
mod contact;
mod fence;
mod newcomer;
mod output;
mod plan;
mod poll_order;
mod receive;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::control::{Dirty, Life, Poll};
use proto::{BUCKET_COUNT, Bucket, ClusterId, Incarnation, MapVersion, NodeId, Term};
use stdx::{Instant, LeaseTime};

use crate::lease::waiting_time;
use crate::map::Map;
use crate::record::{MemberRole, Records};
use crate::rules::{Rule, Rules};
use crate::state::State;

use commit::InFlight;
use contact::Contact;
use fence::Fences;
use newcomer::Newcomer;
use plan::Wanted;
use poll_order::PollOrder;

pub use output::{Command, CommitError, Event, Halt, Options, Output, Proof, Refusal, Token, Txn};

/// The manager's machine for one term.
#[derive(Debug)]
pub struct Manager {
    options: Options,
    rules: Rules,
    /// As committed.
    state: State,
    /// When this term began, and how long after that leases of earlier terms may run.
    led_at: LeaseTime,
    earlier_wait: Duration,
    /// The term is durable.
    leading: bool,
    halting: Halting,
    /// One for each member, by its index in the state.
    contacts: Vec<Contact>,
    newcomers: BTreeMap<NodeId, Newcomer>,
    polls: PollOrder,
    fences: Fences,
    /// Of each bucket: a grant of its present generation has been sent, or may have been by a predecessor.
    granted: Box<[bool]>,
    wanted: Wanted,
    in_flight: Option<InFlight>,
    /// Dirty reports that are not answered yet, wherever they wait.
    dirty_waiting: usize,
    outputs: VecDeque<Output>,
    /// The last map text made: for which version, of which version.
    map_text: Option<(MapVersion, MapVersion, Vec<u8>)>,
    /// Time of the last call.
    now: LeaseTime,
}

/// Whether the machine has stopped.
#[derive(Debug)]
enum Halting {
    No,
    /// The reason is still to be put out, after every answer.
    Now(Halt),
    Done,
}

/// A member as people and programs see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its name.
    pub node: NodeId,
    /// `host:port`; empty until its first poll.
    pub address: String,
    /// What the operator wants of it.
    pub role: MemberRole,
    /// What the manager knows of its life.
    pub health: Health,
    /// The life granted last; zero if none.
    pub incarnation: Incarnation,
    /// Process id, as it says; zero if it has not polled in this term.
    pub pid: u32,
    /// Buckets that the map gives to it.
    pub assigned: u32,
    /// Buckets that it has acknowledged to hold.
    pub held: u32,
    /// Milliseconds since its last poll arrived, if it has polled in this term.
    pub silent_ms: Option<u64>,
}

/// What the manager knows of a member's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Has never polled.
    New,
    /// Polls, or has polled so lately that its lease may run.
    Up,
    /// Silent for W: its lease is over.
    Silent,
    /// Proven dead, or released.
    Dead,
}

impl Manager {
    /// "Manager/Lead": begins a new term over a loaded state; the caller holds the leader key. The first output is
    /// the transaction that makes the term durable; polls wait for it.
    pub fn lead(state: State, options: Options, now: LeaseTime) -> Self {
        Self::lead_with_rules(state, options, now, Rules::ALL)
    }

    /// A manager with a rule missing, for simulators.
    #[doc(hidden)]
    pub fn lead_with_rules(state: State, options: Options, now: LeaseTime, rules: Rules) -> Self {
        let contact = |member: &crate::state::Member| {
            let may_be_leased = member.incarnation.0 != 0 && !member.dead && rules.hold(Rule::GraceAtLead);
            if may_be_leased { Contact::in_grace(now) } else { Contact::absent() }
        };
        let is_longer = state.lease() > options.lease;
        let mut manager = Self {
            led_at: now,
            earlier_wait: if is_longer { waiting_time(state.lease()) } else { options.wait },
            options,
            rules,
            leading: false,
            halting: Halting::No,
            contacts: state.members().iter().map(contact).collect(),
            state,
            newcomers: BTreeMap::new(),
            polls: PollOrder::default(),
            fences: Fences::default(),
            granted: vec![true; BUCKET_COUNT].into_boxed_slice(),
            wanted: Wanted::at_lead(),
            in_flight: None,
            dirty_waiting: 0,
            outputs: VecDeque::new(),
            map_text: None,
            now,
        };
        manager.advance(now);
        manager
    }

    /// "Manager/OnPoll". Answered by `Output::Reply`, at once if there is news, else within `Options::hold`.
    pub fn handle_poll(&mut self, token: Token, poll: Poll, now: LeaseTime) {
        let who = (poll.node.clone(), poll.incarnation);
        if let Err(refusal) = self.receive_poll(token, poll, now) {
            self.event(Event::Refused(format!("poll of {} {}: {refusal}", who.0, who.1)));
            self.outputs.push_back(Output::Reply { token, reply: Err(refusal) });
        }
        self.advance(now);
    }

    /// The connection of a poll is gone: it needs no answer any more. (Other requests go on.)
    pub fn handle_closed(&mut self, token: Token) {
        let parked = self.contacts.iter_mut().map(|contact| &mut contact.parked);
        let parked = parked.chain(self.newcomers.values_mut().map(|newcomer| &mut newcomer.parked));
        for poll in parked {
            poll.take_if(|poll| poll.token == token);
        }
    }

    /// A guardian's word: that process has been waited for. Answered when durable.
    pub fn handle_dead(&mut self, token: Token, life: &Life, now: LeaseTime) {
        self.receive_end(token, life, Proof::Guardian);
        self.advance(now);
    }

    /// A node's own word that it owns nothing any more. Answered when durable.
    pub fn handle_release(&mut self, token: Token, life: &Life, now: LeaseTime) {
        self.receive_end(token, life, Proof::Release);
        self.advance(now);
    }

    /// "Manager/Dirty". Answered when the wipe is durable and fenced.
    pub fn handle_dirty(&mut self, token: Token, dirty: &Dirty, now: LeaseTime) {
        if let Err(refusal) = self.receive_dirty(token, dirty) {
            self.answer(token, Err(refusal));
        }
        self.advance(now);
    }

    /// An operator's command. Answered when durable.
    pub fn handle_command(&mut self, token: Token, command: Command, now: LeaseTime) {
        if let Err(refusal) = self.receive_command(token, command) {
            self.answer(token, Err(refusal));
        }
        self.advance(now);
    }

    /// What became of the transaction that is out; the new revision if it is durable. Other numbers are ignored.
    pub fn handle_committed(&mut self, number: u64, result: Result<u64, CommitError>, now: LeaseTime) {
        self.receive_committed(number, result);
        self.advance(now);
    }

    /// The records asked for by `Output::Reload`, or why they could not be read.
    pub fn handle_reloaded(&mut self, records: Result<&Records, String>, now: LeaseTime) {
        self.receive_reloaded(records, now);
        self.advance(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: LeaseTime) {
        self.advance(now);
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call `handle_timeout`, on the clock of [`LeaseTime::instant`]; `None`: nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_halted() {
            return None;
        }
        let now = self.now.instant();
        let newcomers = self.newcomers.values().filter_map(|newcomer| newcomer.parked);
        let parked = self.contacts.iter().filter_map(|contact| contact.parked).chain(newcomers);
        let polls = parked.map(|poll| poll.arrived.instant() + self.options.hold);
        let bounds = self.contacts.iter().filter_map(|contact| self.bound_remaining(contact, self.now));
        let bounds = bounds.map(|remaining| now + remaining);
        let retry = self.in_flight.as_ref().and_then(InFlight::retry_at);
        polls.chain(bounds).chain(retry).min()
    }

    /// True from the durable beginning of the term until a halt.
    pub fn is_leading(&self) -> bool {
        self.leading && !self.is_halted()
    }

    /// This reign; the one before it until it is durable.
    pub fn term(&self) -> Term {
        self.state.term()
    }

    /// Which cluster.
    pub fn cluster(&self) -> ClusterId {
        self.state.cluster()
    }

    /// The map as committed; what clients may be told.
    pub fn map(&self) -> &Map {
        self.state.map()
    }

    /// The state as committed.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// All members with their health, in the order of the map's nodes.
    pub fn members(&self, now: LeaseTime) -> Vec<MemberView> {
        let counts = self.map().bucket_counts();
        let entries = self.map().nodes().iter().zip(self.state.members()).zip(&self.contacts).zip(counts);
        let view = |(((node, member), contact), assigned): (((&crate::map::MapNode, _), &Contact), u32)| {
            let member: &crate::state::Member = member;
            MemberView {
                node: node.id.clone(),
                address: node.address.clone(),
                role: member.role,
                health: Health::of(member, contact),
                incarnation: member.incarnation,
                pid: contact.pid,
                assigned,
                held: contact.held.len() as u32,
                silent_ms: contact
                    .last_poll
                    .map(|last| u64::try_from(now.elapsed_min(last).as_millis()).unwrap_or(u64::MAX)),
            }
        };
        entries.map(view).collect()
    }

    /// True while a bucket waits for a node that may still act on an older generation of it.
    pub fn is_waiting(&self, bucket: Bucket) -> bool {
        self.fences.is_waiting(bucket)
    }

    /// What follows from everything that happened until now: bounds that have passed, the next transaction,
    /// answers. Ends with a halt.
    fn advance(&mut self, now: LeaseTime) {
        self.now = now;
        if !self.is_halted() {
            self.expire_bounds(now);
            self.forget_newcomers(now);
            self.retry_commit(now);
            self.begin_commit();
            self.answer_polls(now);
            self.acknowledge_fenced();
        }
        if self.is_halted() {
            self.refuse_everything();
        }
        if let Halting::Now(reason) = &self.halting {
            self.outputs.push_back(Output::Halt(reason.clone()));
            self.halting = Halting::Done;
        }
    }

    /// "Manager/Fenced: now >= its bound".
    fn expire_bounds(&mut self, now: LeaseTime) {
        for member in 0..self.contacts.len() {
            let remaining = self.bound_remaining(&self.contacts[member], now);
            if remaining.is_some_and(|remaining| remaining.is_zero()) {
                let name = self.state.node_id(member).clone();
                self.event(Event::Silent(name, self.state.members()[member].incarnation));
                self.fence_member(member);
                self.wanted.rebalance = true;
            }
        }
    }

    /// How long until the bound of a member's life passes; `None` when it is absent. Leases that earlier terms gave
    /// may be longer than this term's.
    fn bound_remaining(&self, contact: &Contact, now: LeaseTime) -> Option<Duration> {
        let bound = contact.bound_remaining(self.options.wait, now)?;
        Some(bound.max(self.earlier_remaining(now)))
    }

    /// How long leases of earlier terms may still run.
    fn earlier_remaining(&self, now: LeaseTime) -> Duration {
        self.earlier_wait.saturating_sub(now.elapsed_min(self.led_at))
    }

    /// True when the leases that are on record as the longest ones are over.
    fn may_shorten_lease(&self) -> bool {
        self.leading && self.state.lease() > self.options.lease && self.earlier_remaining(self.now).is_zero()
    }

    /// Newcomers that poll no more.
    fn forget_newcomers(&mut self, now: LeaseTime) {
        let wait = self.options.wait;
        self.newcomers
            .retain(|_, newcomer| newcomer.parked.is_some() || now.elapsed_min(newcomer.arrived) < wait);
    }

    /// Stops for good with the end of this call: what this manager knows is not what is true.
    fn halt(&mut self, reason: Halt) {
        if !self.is_halted() {
            self.halting = Halting::Now(reason);
        }
    }

    fn is_halted(&self) -> bool {
        !matches!(self.halting, Halting::No)
    }

    /// Every request still gets its answer.
    fn refuse_everything(&mut self) {
        let stopped = || Refusal::NotLeading("it has stopped".to_owned());
        let contacts = self.contacts.iter_mut().filter_map(|contact| contact.parked.take());
        let newcomers = self.newcomers.values_mut().filter_map(|newcomer| newcomer.parked.take());
        let polls: Vec<Token> = contacts.chain(newcomers).map(|parked| parked.token).collect();
        let mut tokens = self.wanted.take_tokens();
        tokens.extend(self.fences.take_waiters());
        tokens.extend(self.in_flight.take().into_iter().flat_map(InFlight::into_tokens));
        self.outputs.extend(polls.into_iter().map(|token| Output::Reply { token, reply: Err(stopped()) }));
        self.outputs.extend(tokens.into_iter().map(|token| Output::Answer { token, answer: Err(stopped()) }));
    }

    fn answer(&mut self, token: Token, answer: Result<(), Refusal>) {
        self.outputs.push_back(Output::Answer { token, answer });
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

impl Health {
    fn of(member: &crate::state::Member, contact: &Contact) -> Self {
        if member.incarnation.0 == 0 {
            Self::New
        } else if member.dead || contact.ended {
            Self::Dead
        } else if contact.is_fenced() {
            Self::Silent
        } else {
            Self::Up
        }
    }
}

#[cfg(test)]
mod tests;
