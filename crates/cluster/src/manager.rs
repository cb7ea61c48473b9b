//! The manager's side of ownership ("Manager"): who may own what, and since when everybody else surely doesn't.
//!
//! The shell calls a `handle_*` for everything that happens and then drains [`Manager::poll_output`] until it is
//! empty; it calls [`Manager::handle_timeout`] at [`Manager::poll_timeout`]. Outputs come in the order in which
//! they must be done. One transaction is out at a time; everything decided meanwhile goes into the next.
//!
//! `now` is always the time of the call, read after the message was received completely: a lease is counted from
//! the send time of its poll, which is before that.

mod output;

use proto::control::{Dirty, Life, Poll};
use proto::{Bucket, ClusterId, Incarnation, NodeId, Term};
use stdx::{Instant, LeaseTime};

use crate::map::Map;
use crate::record::{MemberRole, Records};
use crate::rules::Rules;
use crate::state::State;

pub use output::{Command, CommitError, Event, Halt, Options, Output, Proof, Refusal, Token, Txn};

/// The manager's machine for one term.
#[derive(Debug)]
pub struct Manager {
    options: Options,
    rules: Rules,
    state: State,
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
        let _ = now;
        Self { options, rules, state }
    }

    /// "Manager/OnPoll". Answered by `Output::Reply`, at once if there is news, else within `Options::hold`.
    pub fn handle_poll(&mut self, token: Token, poll: Poll, now: LeaseTime) {
        let _ = (token, poll, now);
    }

    /// The connection of a request is gone: it needs no answer any more. Deaths, releases, dirty reports and
    /// commands go on.
    pub fn handle_closed(&mut self, token: Token) {
        let _ = token;
    }

    /// A guardian's word: that process has been waited for. Answered when durable.
    pub fn handle_dead(&mut self, token: Token, life: &Life, now: LeaseTime) {
        let _ = (token, life, now);
    }

    /// A node's own word that it owns nothing any more. Answered when durable.
    pub fn handle_release(&mut self, token: Token, life: &Life, now: LeaseTime) {
        let _ = (token, life, now);
    }

    /// "Manager/Dirty". Answered when the wipe is durable and fenced.
    pub fn handle_dirty(&mut self, token: Token, dirty: &Dirty, now: LeaseTime) {
        let _ = (token, dirty, now);
    }

    /// An operator's command. Answered when durable.
    pub fn handle_command(&mut self, token: Token, command: Command, now: LeaseTime) {
        let _ = (token, command, now);
    }

    /// What became of the transaction that is out; the new revision if it is durable.
    pub fn handle_committed(&mut self, number: u64, result: Result<u64, CommitError>, now: LeaseTime) {
        let _ = (number, result, now);
    }

    /// The records asked for by `Output::Reload`, or why they could not be read.
    pub fn handle_reloaded(&mut self, records: Result<&Records, String>, now: LeaseTime) {
        let _ = (records, now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: LeaseTime) {
        let _ = now;
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When to call `handle_timeout`, on the clock of [`LeaseTime::instant`]; `None`: nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// True from the durable beginning of the term until a halt.
    pub fn is_leading(&self) -> bool {
        false
    }

    /// This reign.
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

    /// All members with their health.
    pub fn members(&self, now: LeaseTime) -> Vec<MemberView> {
        let _ = now;
        Vec::new()
    }

    /// True while a bucket waits for its grant: moved or wiped, and not yet acknowledged by its owner.
    pub fn is_waiting(&self, bucket: Bucket) -> bool {
        let _ = bucket;
        false
    }
}
