//! The manager's host: its process over a simulated store. The shell that carries bytes and time, in small.

use std::collections::BTreeMap;

use cluster::manager::{Command, CommitError, Options, Output, Token, Txn};
use cluster::record::{Records, Write};
use cluster::rules::Rules;
use cluster::{Manager, State, lease};
use proto::control::Dirty;
use proto::{Bucket, ClusterId, Generation, Incarnation, Nonce};
use stdx::{LeaseTime, Prng};

use crate::client::{Answer, OpId};
use crate::clocks::{Clocks, MS, Real};
use crate::mutant::Mutant;
use crate::world::{BUCKETS, Event, Link, World};

/// The cluster of every run.
pub(crate) const CLUSTER: ClusterId = ClusterId(77);

/// L of the simulated cluster: a tenth of the real one, so that more happens.
pub(crate) const LEASE_MS: u64 = 1000;

/// The machine that the manager runs on, with its store.
#[derive(Debug)]
pub(crate) struct ManagerHost {
    clocks: Clocks,
    options: Options,
    rules: Rules,
    records: Records,
    machine: Option<Manager>,
    /// Processes started so far; the number of the present one.
    process: u32,
    paused: bool,
    /// What arrived during the pause.
    deferred: Vec<Event>,
    timer: Option<Real>,
    /// The transaction between the manager and the store.
    txn: Option<Txn>,
    asked: BTreeMap<Token, Asker>,
    tokens: u64,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
enum Asker {
    /// With the nonce of the poll: an answer comes on the connection that the poll went out on.
    Node(usize, Incarnation, Nonce),
    Guardian(usize, Incarnation),
    /// With the newest generation that anybody had taken up when the report arrived.
    Client(OpId, Generation),
    Operator,
}

impl ManagerHost {
    /// A store with a new cluster in it.
    pub(crate) fn new(prng: &mut Prng, mutant: Option<Mutant>) -> Self {
        let (_, writes) = State::bootstrap(CLUSTER);
        let mut records = Records::default();
        apply(&mut records, &writes);
        let length = std::time::Duration::from_millis(LEASE_MS);
        let mut wait = lease::waiting_time(length) - lease::WAIT_MARGIN + std::time::Duration::from_millis(2);
        if mutant == Some(Mutant::WaitOnlyLease) {
            wait = length;
        }
        let options = Options {
            lease: length,
            wait,
            hold: std::time::Duration::from_millis(100),
            join: true,
            leader: 1,
            buckets: BUCKETS as u16,
        };
        Self {
            clocks: Clocks::new(prng),
            options,
            rules: Mutant::rules(mutant),
            records,
            machine: None,
            process: 0,
            paused: false,
            deferred: Vec::new(),
            timer: None,
            txn: None,
            asked: BTreeMap::new(),
            tokens: 0,
        }
    }

    /// The number of the present process.
    pub(crate) fn process_count(&self) -> u32 {
        self.process
    }

    /// Role and health of each member, for messages.
    pub(crate) fn members(&self, now: Real) -> String {
        let members = self.machine.iter().flat_map(|machine| machine.members(self.now(now)));
        members.map(|view| format!(" {} {:?} {:?}", view.node, view.role, view.health)).collect()
    }

    /// Owner and generation of each bucket, if a manager leads.
    pub(crate) fn map(&self) -> Option<[(Option<usize>, Generation); BUCKETS]> {
        let machine = self.machine.as_ref().filter(|machine| machine.is_leading())?;
        let map = machine.map();
        let index = |bucket: Bucket| {
            let owner = map.owner(bucket).map(|(node, _)| node.id.as_str().to_owned());
            // Names are n0, n1, …
            let owner = owner.and_then(|name| name.strip_prefix('n')?.parse().ok());
            (owner, map.generation(bucket))
        };
        let mut buckets = Bucket::all();
        Some(std::array::from_fn(|_| buckets.next().map_or((None, Generation::NONE), index)))
    }

    fn now(&self, now: Real) -> LeaseTime {
        self.clocks.read(now)
    }
}

impl World {
    pub(crate) fn handle_manager(&mut self, event: Event) {
        match event {
            Event::ManagerStart => return self.start_manager(),
            Event::ManagerResume => return self.resume_manager(),
            Event::StoreApplies { process } if process == self.manager.process => {
                return self.store_applies();
            }
            _ => {}
        }
        if self.manager.machine.is_none() {
            return;
        }
        if self.manager.paused {
            self.manager.deferred.push(event);
            return;
        }
        self.feed_manager(event);
        self.drain_manager();
    }

    /// Hands an event to the machine.
    fn feed_manager(&mut self, event: Event) {
        let now = self.manager.now(self.now);
        let current = self.manager.process;
        match event {
            Event::Poll { node, poll, process } if process.is_none_or(|process| process == current) => {
                let token = self.token(Asker::Node(node, poll.incarnation, poll.nonce));
                self.trace(|| format!("manager gets poll of n{node}: {}", brief(&poll)));
                self.machine().handle_poll(token, *poll, now);
            }
            Event::Obituary { node, life, release } => {
                let token = self.token(Asker::Guardian(node, life.incarnation));
                self.trace(|| format!("manager hears that life {} of n{node} has ended", life.incarnation));
                if release {
                    self.machine().handle_release(token, &life, now);
                } else {
                    self.machine().handle_dead(token, &life, now);
                }
            }
            Event::Dirty { op } => {
                let bucket = self.ops[op].bucket();
                let token = self.token(Asker::Client(op, self.ghosts.newest(bucket)));
                self.trace(|| format!("manager hears that bucket {bucket} is dirty, for op {op}"));
                let bucket = Bucket::new(bucket as u16).expect("simulated buckets exist");
                self.machine().handle_dirty(token, &Dirty { cluster: CLUSTER, bucket }, now);
            }
            Event::ManagerTimer { process, at } if process == current && self.manager.timer == Some(at) => {
                self.manager.timer = None;
                self.machine().handle_timeout(now);
            }
            Event::Committed { process, number, result } if process == current => {
                self.machine().handle_committed(number, result.map_err(CommitError::Unknown), now);
            }
            Event::Reloaded { process } if process == current => {
                let records = self.manager.records.clone();
                self.machine().handle_reloaded(Ok(&records), now);
            }
            _ => {}
        }
    }

    fn machine(&mut self) -> &mut Manager {
        self.manager.machine.as_mut().expect("events are fed to a living manager")
    }

    fn token(&mut self, asker: Asker) -> Token {
        self.manager.tokens += 1;
        let token = Token(self.manager.tokens);
        self.manager.asked.insert(token, asker);
        token
    }

    fn start_manager(&mut self) {
        if self.manager.machine.is_some() {
            return;
        }
        let state = match State::load(&self.manager.records) {
            Ok(state) => state,
            Err(error) => return self.ghosts.violate(format!("the store can't be loaded: {error}")),
        };
        self.manager.process += 1;
        self.report.terms += 1;
        self.trace(|| format!("manager starts after term {}", state.term()));
        let (options, rules) = (self.manager.options.clone(), self.manager.rules);
        let now = self.manager.now(self.now);
        self.manager.machine = Some(Manager::lead_with_rules(state, options, now, rules));
        self.drain_manager();
    }

    pub(crate) fn kill_manager(&mut self) {
        if self.manager.machine.take().is_none() {
            return;
        }
        self.trace(|| "manager dies".to_owned());
        self.manager.paused = false;
        self.manager.deferred.clear();
        self.manager.asked.clear();
        self.manager.timer = None;
        // What was on its way to the store lands or not, but before the next one reads.
        if let Some(txn) = self.manager.txn.take()
            && self.prng.chance(1, 2)
            && self.mutant != Some(Mutant::StoreLies)
            && txn.revision == self.manager.records.revision
        {
            apply(&mut self.manager.records, &txn.writes);
        }
        self.manager.process += 1;
        let after = self.between(5 * MS, self.faults.manager_away);
        self.schedule(self.now + after, Event::ManagerStart);
    }

    pub(crate) fn pause_manager(&mut self) {
        if self.manager.machine.is_some() && !self.manager.paused {
            self.manager.paused = true;
            let length = self.between(10 * MS, 3000 * MS);
            self.schedule(self.now + length, Event::ManagerResume);
        }
    }

    fn resume_manager(&mut self) {
        self.manager.paused = false;
        for event in std::mem::take(&mut self.manager.deferred) {
            let at = self.now + self.prng.below(MS / 20);
            self.schedule(at, event);
        }
    }

    pub(crate) fn drain_node(&mut self, node: usize) {
        let id = self.nodes[node].id().clone();
        let drain = self.prng.chance(1, 2);
        self.command(if drain { Command::Drain(id) } else { Command::Undrain(id) });
    }

    pub(crate) fn remove_node(&mut self, node: usize) {
        let id = self.nodes[node].id().clone();
        self.command(Command::Remove(id));
    }

    pub(crate) fn undrain_all(&mut self) {
        if self.manager.machine.is_none() || self.manager.paused {
            return self.schedule(self.now + 50 * MS, Event::Undrain);
        }
        for node in 0..self.nodes.len() {
            let id = self.nodes[node].id().clone();
            self.command(Command::Undrain(id));
        }
    }

    fn command(&mut self, command: Command) {
        if self.manager.machine.is_some() && !self.manager.paused {
            self.trace(|| format!("operator: {command:?}"));
            let token = self.token(Asker::Operator);
            let now = self.manager.now(self.now);
            self.machine().handle_command(token, command, now);
            self.drain_manager();
        }
    }

    /// Does what the machine wants done.
    fn drain_manager(&mut self) {
        while let Some(output) = self.manager.machine.as_mut().and_then(Manager::poll_output) {
            match output {
                Output::Commit(txn) => self.begin_commit(txn),
                Output::Reload => {
                    let (at, process) = (self.now + self.between(MS, 20 * MS), self.manager.process);
                    self.schedule(at, Event::Reloaded { process });
                }
                Output::Reply { token, reply } => {
                    let Some(Asker::Node(node, incarnation, nonce)) = self.manager.asked.remove(&token)
                    else {
                        continue;
                    };
                    self.trace(|| format!("manager answers n{node}: {reply:?}"));
                    let reply = reply.ok().map(Box::new);
                    self.send(Link::ManagerToNode(node), Event::Reply { node, incarnation, nonce, reply });
                }
                Output::Answer { token, answer } => self.answer_asker(token, answer.is_ok()),
                Output::Event(event) => self.trace(|| format!("manager: {event}")),
                Output::Halt(reason) => self.ghosts.violate(format!("the manager halts: {reason}")),
            }
        }
        self.note_map();
        let wanted = self.manager.machine.as_ref().and_then(Manager::poll_timeout);
        let Some(at) = wanted.map(|at| self.manager.clocks.real_at(at.0).max(self.now + 1)) else {
            return;
        };
        if self.manager.timer.is_none_or(|timer| at < timer) {
            self.manager.timer = Some(at);
            self.schedule(at, Event::ManagerTimer { process: self.manager.process, at });
        }
    }

    fn note_map(&mut self) {
        if let Some(map) = self.manager.map().filter(|map| self.maps.last() != Some(map)) {
            self.trace(|| format!("map: {map:?}"));
            self.maps.push(map);
        }
    }

    fn answer_asker(&mut self, token: Token, done: bool) {
        match self.manager.asked.remove(&token) {
            Some(Asker::Guardian(node, incarnation)) if done => {
                self.send(Link::ManagerToNode(node), Event::ObituaryDone { node, incarnation });
            }
            Some(Asker::Client(op, newest)) if done => {
                self.report.dirty += 1;
                self.check_fenced(self.ops[op].bucket(), newest);
                let attempt = self.ops[op].attempt;
                let event = Event::Answer { op, attempt, answer: Answer::Wiped };
                self.send(Link::ManagerToClient, event);
            }
            _ => {}
        }
    }

    /// I4: nobody can act under a generation that was taken up before the report.
    fn check_fenced(&mut self, bucket: usize, newest: Generation) {
        for node in 0..self.nodes.len() {
            if let Some(held) = self.nodes[node].can_act(bucket, self.now)
                && held <= newest
            {
                self.ghosts.violate(format!(
                    "I4: dirty bucket {bucket} is acknowledged, n{node} still acts on {held}, taken up before"
                ));
            }
        }
    }

    fn begin_commit(&mut self, txn: Txn) {
        self.trace(|| format!("manager commits {} at revision {}", txn.number, txn.revision));
        let process = self.manager.process;
        let number = txn.number;
        let revision = txn.revision;
        self.manager.txn = Some(txn);
        let most = if self.chance(self.faults.late) { 500 * MS } else { 5 * MS };
        let at = self.now + self.between(MS / 2, most);
        if self.mutant == Some(Mutant::StoreLies) {
            self.schedule(self.now + 1, Event::Committed { process, number, result: Ok(revision + 1) });
        }
        self.schedule(at, Event::StoreApplies { process });
    }

    /// The store's turn: it lands or not, and the manager learns it or not.
    fn store_applies(&mut self) {
        let Some(txn) = self.manager.txn.take() else {
            return;
        };
        let unknown = self.chance(self.faults.unknown_commit);
        let conflict = txn.revision != self.manager.records.revision;
        if !conflict && (!unknown || self.prng.chance(1, 2)) {
            apply(&mut self.manager.records, &txn.writes);
        }
        if self.mutant == Some(Mutant::StoreLies) {
            return;
        }
        let failed = unknown || conflict;
        let result = if failed { Err("timed out".to_owned()) } else { Ok(self.manager.records.revision) };
        let (process, number) = (self.manager.process, txn.number);
        let at = self.now + self.between(MS / 10, MS);
        self.schedule(at, Event::Committed { process, number, result });
    }
}

fn apply(records: &mut Records, writes: &[Write]) {
    records.revision += 1;
    for (key, value) in writes {
        match value {
            Some(value) => records.entries.insert(key.clone(), value.clone()),
            None => records.entries.remove(key),
        };
    }
}

fn brief(poll: &proto::control::Poll) -> String {
    let (life, nonce, applied) = (poll.incarnation, poll.nonce.0 >> 32, poll.applied.0 >> 32);
    format!("life {life} #{nonce} applied #{applied} owns {:?}", poll.owned)
}
