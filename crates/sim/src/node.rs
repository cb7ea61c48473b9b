//! A node's host: its process with items and tags, its guardian, its machine's clocks. The shell in small.

use std::collections::BTreeMap;

use cluster::node::NodeOptions;
use cluster::{Lease, Map, Node};
use proto::control::{Life, LockIdentity, Reply};
use proto::{ClusterId, Generation, Incarnation, NodeId, Nonce};
use stdx::{LeaseTime, Prng};

use crate::clocks::{Clocks, MS, Real};
use crate::mutant::Mutant;
use crate::world::{BUCKETS, Event, Link, World};

/// The machine that a node runs on.
#[derive(Debug)]
pub(crate) struct NodeHost {
    id: NodeId,
    clocks: Clocks,
    /// Random at each boot of the machine.
    boot: u128,
    inode: u64,
    pub(crate) process: Option<Process>,
    paused: bool,
    deferred: Vec<Event>,
    /// The clock as read just before a pause, for the mutant that trusts it; until when.
    stale_clock: Option<(LeaseTime, Real)>,
    paused_clock: LeaseTime,
    /// Ends of lives that the manager has not yet confirmed to know; true: the node's own word.
    obituaries: BTreeMap<Incarnation, (Life, bool)>,
    /// A start is on its way.
    starting: bool,
}

/// One life of the node.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) incarnation: Incarnation,
    pub(crate) machine: Node,
    map: Map,
    pub(crate) lease: Lease,
    pub(crate) buckets: [BucketState; BUCKETS],
    /// Counts what makes a scheduled poll obsolete.
    serial: u32,
    /// Of the poll that is out.
    outstanding: Nonce,
    started: Real,
}

#[derive(Debug, Default)]
pub(crate) struct BucketState {
    pub(crate) tag: u64,
    /// Held by a mutation that was checked and is not yet applied.
    pub(crate) locked: bool,
    /// What waits for the lock.
    pub(crate) waiting: Vec<Event>,
    pub(crate) items: BTreeMap<u32, Item>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) value: u64,
    pub(crate) generation: Generation,
}

impl NodeHost {
    /// A machine without a process.
    pub(crate) fn new(index: usize, prng: &mut Prng) -> Self {
        Self {
            id: format!("n{index}").parse().expect("a legal name"),
            clocks: Clocks::new(prng),
            boot: u128::from(prng.next_u64()) + 1,
            inode: index as u64 + 1,
            process: None,
            paused: false,
            deferred: Vec::new(),
            stale_clock: None,
            paused_clock: LeaseTime::default(),
            obituaries: BTreeMap::new(),
            starting: false,
        }
    }

    /// Its name.
    pub(crate) fn id(&self) -> &NodeId {
        &self.id
    }

    /// The present life.
    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        self.process.as_ref().map(|process| process.incarnation)
    }

    /// What its boot clock showed at a time of its present life, `age` ago at most.
    pub(crate) fn clock_sample(&self, now: Real, age: Real) -> Option<(Real, u64)> {
        let process = self.process.as_ref()?;
        let at = now.saturating_sub(age).max(process.started);
        Some((at, self.clocks.read(at).boot))
    }

    /// The generation under which the node would execute a command now, if any. (One that is paused would if it
    /// were woken now.)
    pub(crate) fn can_act(&self, bucket: usize, now: Real) -> Option<Generation> {
        let process = self.process.as_ref()?;
        let tag = process.buckets[bucket].tag;
        (tag != 0 && process.lease.is_valid(self.clocks.read(now))).then_some(Generation(tag))
    }

    /// True when the node serves the bucket under that generation.
    pub(crate) fn serves(&self, bucket: usize, generation: Generation, now: Real) -> bool {
        self.can_act(bucket, now) == Some(generation)
    }
}

impl World {
    pub(crate) fn handle_node(&mut self, event: Event) {
        let node = match &event {
            Event::NodeStart { node } => return self.start_node(*node),
            Event::NodeResume { node, suspended } => return self.resume_node(*node, *suspended),
            Event::SendObituary { node, incarnation } => return self.send_obituary(*node, *incarnation),
            Event::ObituaryDone { node, incarnation } => {
                self.nodes[*node].obituaries.remove(incarnation);
                return;
            }
            Event::Reply { node, .. }
            | Event::PollNow { node, .. }
            | Event::Request { node, .. }
            | Event::Apply { node, .. } => *node,
            _ => return,
        };
        if self.nodes[node].paused {
            self.nodes[node].deferred.push(event);
            return;
        }
        let incarnation = self.nodes[node].incarnation();
        match event {
            Event::Reply { incarnation: to, nonce, reply, .. } if incarnation == Some(to) => {
                self.receive_reply(node, to, nonce, reply);
            }
            Event::PollNow { incarnation: of, serial, connected, .. } if incarnation == Some(of) => {
                self.poll_node(node, serial, connected);
            }
            Event::Request { request, .. } if incarnation == Some(request.incarnation) => {
                self.check_request(node, request);
            }
            Event::Apply { request, .. } if incarnation == Some(request.incarnation) => {
                self.apply_request(node, request);
            }
            _ => {}
        }
    }

    fn start_node(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        let incarnation = Incarnation(self.prng.next_u64() | 1);
        let locks = self.faults.locks;
        let host = &mut self.nodes[node];
        host.starting = false;
        let lock = LockIdentity { boot_id: host.boot, device: 1, inode: host.inode };
        let options = NodeOptions {
            node: host.id.clone(),
            incarnation,
            cluster: ClusterId(0),
            address: format!("{}.test:1", host.id),
            lock: if locks { lock } else { LockIdentity::default() },
            pid: 1,
        };
        host.process = Some(Process {
            incarnation,
            machine: Node::with_rules(options, Mutant::rules(self.mutant)),
            map: Map::empty(ClusterId(0)),
            lease: Lease::NONE,
            buckets: Default::default(),
            serial: 0,
            outstanding: Nonce(0),
            started: self.now,
        });
        self.trace(|| format!("n{node} starts as life {incarnation}"));
        self.schedule(self.now, Event::PollNow { node, incarnation, serial: 0, connected: true });
    }

    fn poll_node(&mut self, node: usize, serial: u32, connected: bool) {
        let random = self.prng.next_u64();
        let now = self.node_clock(node);
        let Some(process) = self.nodes[node].process.as_mut().filter(|process| process.serial == serial)
        else {
            return;
        };
        if connected {
            process.machine.connected();
        }
        let Some(poll) = process.machine.poll(now, random, process.map.version()) else {
            return;
        };
        process.serial += 1;
        process.outstanding = poll.nonce;
        let (serial, incarnation) = (process.serial, process.incarnation);
        let event = Event::Poll { node, poll: Box::new(poll), process: None };
        self.send(Link::NodeToManager(node), event);
        let again = self.now + self.faults.patience + self.prng.below(50 * MS);
        self.schedule(again, Event::PollNow { node, incarnation, serial, connected: true });
    }

    fn receive_reply(
        &mut self,
        node: usize,
        incarnation: Incarnation,
        nonce: Nonce,
        reply: Option<Box<Reply>>,
    ) {
        let Some(process) = self.nodes[node].process.as_mut() else {
            return;
        };
        let locked = process.buckets.iter_mut().find(|bucket| bucket.locked);
        if let Some(bucket) = locked.filter(|_| self.mutant != Some(Mutant::SwitchBesideMutation)) {
            // The effects wait for the lock.
            return bucket.waiting.push(Event::Reply { node, incarnation, nonce, reply });
        }
        let Some(reply) = reply else {
            if process.outstanding != nonce {
                return;
            }
            let pause = self.between(30 * MS, 100 * MS);
            return self.poll_after(node, pause);
        };
        if self.accept_reply(node, &reply) {
            let pause = self.between(MS / 20, MS / 2);
            self.poll_after(node, pause);
        }
    }

    /// "Node/OnReply": effects under their buckets' locks, then the lease, then the map. False: not accepted.
    fn accept_reply(&mut self, node: usize, reply: &Reply) -> bool {
        let arrival = self.node_clock(node);
        let Some(process) = self.nodes[node].process.as_mut() else {
            return false;
        };
        let step = match process.machine.handle_reply(reply) {
            Ok(step) => step,
            Err(error) => {
                self.trace(|| format!("n{node} refuses: {error}"));
                return false;
            }
        };
        let life = process.incarnation;
        for effect in &step.effects {
            let bucket = effect.bucket.index();
            if effect.wipe {
                process.buckets[bucket].items.clear();
            }
            process.buckets[bucket].tag = effect.generation.0;
            if effect.generation != Generation::NONE {
                self.report.grants += 1;
                self.ghosts.take_up(bucket, effect.generation, life);
            }
        }
        if let Some(lease) = step.lease {
            let length = std::time::Duration::from_millis(u64::from(reply.lease_ms));
            let wrong = self.mutant == Some(Mutant::LeaseFromArrival);
            process.lease = if wrong { Lease::from_poll(arrival, length) } else { lease };
        }
        if !reply.map.is_empty()
            && let Err(error) = process.map.apply(&reply.map)
        {
            self.ghosts.violate(format!("n{node} refuses its manager's map: {error}"));
        }
        self.trace(|| format!("n{node} applies #{}: {:?}", reply.nonce.0 >> 32, step.effects));
        true
    }

    fn poll_after(&mut self, node: usize, pause: Real) {
        let Some(process) = self.nodes[node].process.as_mut() else {
            return;
        };
        process.serial += 1;
        let (serial, incarnation) = (process.serial, process.incarnation);
        let event = Event::PollNow { node, incarnation, serial, connected: false };
        self.schedule(self.now + pause, event);
    }

    /// The node's clocks, as its process reads them.
    pub(crate) fn node_clock(&self, node: usize) -> LeaseTime {
        let host = &self.nodes[node];
        match host.stale_clock {
            Some((clock, until)) if self.now <= until && self.mutant == Some(Mutant::CachedClock) => clock,
            _ => host.clocks.read(self.now),
        }
    }

    pub(crate) fn kill_node(&mut self, node: usize, guarded: bool) {
        if guarded {
            self.announce_death(node);
        }
        let host = &mut self.nodes[node];
        host.process = None;
        host.paused = false;
        host.deferred.clear();
        if !host.starting {
            host.starting = true;
            let after = self.between(5 * MS, 2500 * MS);
            self.schedule(self.now + after, Event::NodeStart { node });
        }
    }

    pub(crate) fn reboot_node(&mut self, node: usize) {
        let boot = u128::from(self.prng.next_u64()) + 1;
        self.kill_node(node, false);
        self.nodes[node].boot = boot;
        self.nodes[node].obituaries.clear();
    }

    /// The node's guardian begins to tell the manager.
    pub(crate) fn announce_death(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        if let Some(process) = &host.process {
            let incarnation = process.incarnation;
            host.obituaries.insert(incarnation, (process.machine.life(), false));
            self.schedule(self.now + MS, Event::SendObituary { node, incarnation });
        }
    }

    pub(crate) fn release_node(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        if host.paused {
            return;
        }
        if let Some(process) = &mut host.process {
            let (life, _) = process.machine.release();
            let incarnation = process.incarnation;
            host.obituaries.insert(incarnation, (life, true));
            self.kill_node(node, false);
            self.schedule(self.now + MS, Event::SendObituary { node, incarnation });
        }
    }

    fn send_obituary(&mut self, node: usize, incarnation: Incarnation) {
        let Some((life, release)) = self.nodes[node].obituaries.get(&incarnation).cloned() else {
            return;
        };
        self.send(Link::NodeToManager(node), Event::Obituary { node, life, release });
        self.schedule(self.now + 150 * MS, Event::SendObituary { node, incarnation });
    }

    pub(crate) fn pause_node(&mut self, node: usize, machine: bool) {
        let clock = self.nodes[node].clocks.read(self.now);
        let host = &mut self.nodes[node];
        if host.paused || host.process.is_none() {
            return;
        }
        host.paused = true;
        host.paused_clock = clock;
        let length = self.between(10 * MS, 3000 * MS);
        let suspended = if machine { length } else { 0 };
        self.schedule(self.now + length, Event::NodeResume { node, suspended });
    }

    fn resume_node(&mut self, node: usize, suspended: Real) {
        let until = self.now + MS / 10;
        let host = &mut self.nodes[node];
        if !host.paused {
            return;
        }
        host.paused = false;
        host.clocks.suspended(suspended);
        host.stale_clock = Some((host.paused_clock, until));
        for event in std::mem::take(&mut host.deferred) {
            let at = self.now + self.prng.below(MS / 20);
            self.schedule(at, event);
        }
    }
}
