//! The world of a run: its clock, its queue of events, its network.

use std::collections::BTreeMap;

use proto::control::{Life, Poll, Reply};
use proto::{Generation, Incarnation, Nonce};
use stdx::Prng;

use crate::client::{Answer, Client, Op, OpId, Request};
use crate::clocks::{MS, Real};
use crate::faults::{Fault, Faults};
use crate::ghosts::Ghosts;
use crate::history::{self, Operation};
use crate::manager::ManagerHost;
use crate::mutant::Mutant;
use crate::node::NodeHost;

/// Nodes of the cluster.
pub(crate) const NODES: usize = 3;
/// Clients that write and read.
pub(crate) const CLIENTS: usize = 4;
/// Buckets doled out.
pub(crate) const BUCKETS: usize = 4;
/// Keys; key k is in bucket k mod `BUCKETS`.
pub(crate) const KEYS: u64 = 6;
/// How long faults happen.
pub(crate) const STORM: Real = 12_000 * MS;
/// How long the cluster then has to come to rest.
pub(crate) const CALM: Real = 6_000 * MS;
/// Lines of the trace that are kept.
const TRACE_MAX: usize = 400;

/// One party to another, one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    /// A node or its guardian to the manager.
    NodeToManager(usize),
    /// And back.
    ManagerToNode(usize),
    /// Clients to a node.
    ClientToNode(usize),
    /// And back.
    NodeToClient(usize),
    /// Clients to the manager.
    ClientToManager,
    /// And back.
    ManagerToClient,
}

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A poll reaches the manager; `process`: only that process of it.
    Poll { node: usize, poll: Box<Poll>, process: Option<u32> },
    /// A guardian's or a node's last word reaches the manager.
    Obituary { node: usize, life: Life, release: bool },
    /// It is time to send it, again and again until it was answered.
    SendObituary { node: usize, incarnation: Incarnation },
    /// The manager's answer to it arrives.
    ObituaryDone { node: usize, incarnation: Incarnation },
    /// A dirty report reaches the manager.
    Dirty { op: OpId },
    /// The manager's timer.
    ManagerTimer { process: u32, at: Real },
    /// The store has a transaction's fate.
    StoreApplies { process: u32 },
    /// The manager learns it.
    Committed { process: u32, number: u64, result: Result<u64, String> },
    /// The manager has read the store.
    Reloaded { process: u32 },
    /// The manager's process starts.
    ManagerStart,
    /// And goes on after a pause.
    ManagerResume,
    /// A reply reaches a node; `None`: a refusal.
    Reply { node: usize, incarnation: Incarnation, nonce: Nonce, reply: Option<Box<Reply>> },
    /// Time for a node's next poll, if nothing has happened to it since.
    PollNow { node: usize, incarnation: Incarnation, serial: u32, connected: bool },
    /// A node's process starts.
    NodeStart { node: usize },
    /// And goes on after a pause; the length of a suspension of its machine.
    NodeResume { node: usize, suspended: Real },
    /// A request reaches a node.
    Request { node: usize, request: Request },
    /// A request that was checked is applied.
    Apply { node: usize, request: Request },
    /// An answer reaches a client.
    Answer { op: OpId, attempt: u32, answer: Answer },
    /// A client's own timer for an operation.
    ClientTimer { op: OpId, attempt: u32 },
    /// A client begins its next operation.
    ClientNext { client: usize },
    /// The next big fault.
    NextFault,
    /// A cut is healed.
    Heal { link: Link },
    /// Faults end.
    Calm,
    /// The operator lets every node take buckets again, once there is a manager to hear it.
    Undrain,
    /// The run ends.
    End,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the promise forbids, if it happened.
    pub violation: Option<String>,
    /// Events that happened.
    pub events: u64,
    /// Big faults.
    pub faults: u64,
    /// Reads that returned a value.
    pub hits: u64,
    /// Mutations acknowledged.
    pub acknowledged: u64,
    /// Dirty reports acknowledged.
    pub dirty: u64,
    /// Grants taken up.
    pub grants: u64,
    /// Terms begun.
    pub terms: u64,
    /// The last things that happened, if the run was traced.
    pub trace: Vec<String>,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Real,
    sequence: u64,
    queue: BTreeMap<(Real, u64), Event>,
    pub(crate) prng: Prng,
    pub(crate) faults: Faults,
    pub(crate) mutant: Option<Mutant>,
    cuts: BTreeMap<Link, u32>,
    pub(crate) manager: ManagerHost,
    pub(crate) nodes: Vec<NodeHost>,
    pub(crate) clients: Vec<Client>,
    pub(crate) ops: Vec<Op>,
    /// Owner and generation of each bucket, for each version of the map.
    pub(crate) maps: Vec<[(Option<usize>, Generation); BUCKETS]>,
    pub(crate) ghosts: Ghosts,
    pub(crate) history: Vec<Operation>,
    pub(crate) report: Report,
    pub(crate) calm: bool,
    traced: bool,
}

/// Runs a seed to its end or to the first violation.
pub fn run(seed: u64, mutant: Option<Mutant>, traced: bool) -> Report {
    let mut world = World::new(seed, mutant, traced);
    world.schedule(0, Event::ManagerStart);
    for node in 0..NODES {
        world.schedule(MS, Event::NodeStart { node });
    }
    for client in 0..CLIENTS {
        world.schedule(10 * MS, Event::ClientNext { client });
    }
    world.schedule(500 * MS, Event::NextFault);
    world.schedule(STORM, Event::Calm);
    world.schedule(STORM + CALM, Event::End);
    while let Some(((at, _), event)) = world.queue.pop_first() {
        world.now = at;
        world.report.events += 1;
        if matches!(event, Event::End) {
            world.check_rest();
            break;
        }
        world.handle(event);
        if world.ghosts.violation().is_some() {
            break;
        }
    }
    world.finish_all();
    if let Err(error) = history::check(&world.history) {
        world.ghosts.violate(error);
    }
    world.report.violation = world.ghosts.violation().map(str::to_owned);
    world.report
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>, traced: bool) -> Self {
        let mut prng = Prng::new(seed);
        let faults = Faults::draw(&mut prng);
        Self {
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            manager: ManagerHost::new(&mut prng, mutant),
            nodes: (0..NODES).map(|index| NodeHost::new(index, &mut prng)).collect(),
            clients: (0..CLIENTS).map(|_| Client::new(&mut prng)).collect(),
            prng,
            faults,
            mutant,
            cuts: BTreeMap::new(),
            ops: Vec::new(),
            maps: vec![[(None, Generation::NONE); BUCKETS]],
            ghosts: Ghosts::default(),
            history: Vec::new(),
            report: Report::default(),
            calm: false,
            traced,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Poll { .. }
            | Event::Obituary { .. }
            | Event::Dirty { .. }
            | Event::ManagerTimer { .. }
            | Event::StoreApplies { .. }
            | Event::Committed { .. }
            | Event::Reloaded { .. }
            | Event::ManagerStart
            | Event::ManagerResume => self.handle_manager(event),
            Event::Reply { .. }
            | Event::PollNow { .. }
            | Event::NodeStart { .. }
            | Event::NodeResume { .. }
            | Event::Request { .. }
            | Event::Apply { .. }
            | Event::SendObituary { .. }
            | Event::ObituaryDone { .. } => self.handle_node(event),
            Event::Answer { .. } | Event::ClientTimer { .. } | Event::ClientNext { .. } => {
                self.handle_client(&event);
            }
            Event::NextFault => self.next_fault(),
            Event::Heal { link } => {
                self.cuts.entry(link).and_modify(|count| *count = count.saturating_sub(1));
            }
            Event::Calm => self.begin_calm(),
            Event::Undrain => self.undrain_all(),
            Event::End => {}
        }
    }

    /// Lets something happen at a time; what is for the same time happens in the order of the calls.
    pub(crate) fn schedule(&mut self, at: Real, event: Event) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), event);
    }

    /// Sends a message: it may be lost, late, or come twice.
    pub(crate) fn send(&mut self, link: Link, event: Event) {
        if self.cuts.get(&link).is_some_and(|&count| count > 0) || self.chance(self.faults.loss) {
            return;
        }
        let is_control = matches!(link, Link::NodeToManager(_) | Link::ManagerToNode(_));
        let mut event = event;
        if is_control && self.chance(self.faults.double) {
            event = self.pin(event);
            let at = self.now + self.delay();
            self.schedule(at, event.clone());
        }
        let late = matches!(event, Event::Poll { .. }) && self.chance(self.faults.late_polls);
        let more = if late { self.prng.below(self.faults.late_max) } else { 0 };
        let at = self.now + self.delay() + more;
        self.schedule(at, event);
    }

    /// A poll is sent on one connection, so both copies of it reach the same process or none.
    fn pin(&self, event: Event) -> Event {
        match event {
            Event::Poll { node, poll, .. } => {
                Event::Poll { node, poll, process: Some(self.manager.process_count()) }
            }
            event => event,
        }
    }

    fn delay(&mut self) -> Real {
        if self.chance(self.faults.late) {
            return self.prng.below(self.faults.late_max);
        }
        MS / 5 + self.prng.below(3 * MS)
    }

    /// True so many times in a thousand.
    pub(crate) fn chance(&mut self, per_thousand: u64) -> bool {
        per_thousand > 0 && self.prng.chance(per_thousand, 1000)
    }

    /// A random length between the two.
    pub(crate) fn between(&mut self, least: Real, most: Real) -> Real {
        least + self.prng.below(most - least + 1)
    }

    /// Notes what happens, if anybody wants to know.
    pub(crate) fn trace(&mut self, what: impl FnOnce() -> String) {
        if self.traced {
            if self.report.trace.len() == TRACE_MAX {
                self.report.trace.remove(0);
            }
            let ms = self.now as f64 / MS as f64;
            self.report.trace.push(format!("{ms:10.3} {}", what()));
        }
    }

    fn next_fault(&mut self) {
        if self.calm {
            return;
        }
        let gap = self.between(self.faults.every / 5, self.faults.every * 2);
        self.schedule(self.now + gap, Event::NextFault);
        let Some(fault) = self.faults.draw_fault(&mut self.prng) else {
            return;
        };
        self.report.faults += 1;
        self.trace(|| format!("FAULT {fault:?}"));
        let node = self.prng.below(NODES as u64) as usize;
        match fault {
            Fault::KillNode => self.kill_node(node, true),
            Fault::KillNodeAndGuardian => self.kill_node(node, false),
            Fault::RebootNode => self.reboot_node(node),
            Fault::ReleaseNode => self.release_node(node),
            Fault::PauseNode => self.pause_node(node, false),
            Fault::SuspendNode => self.pause_node(node, true),
            Fault::KillManager => self.kill_manager(),
            Fault::PauseManager => self.pause_manager(),
            Fault::Cut => self.cut(node),
            Fault::Drain => self.drain_node(node),
            Fault::Remove => self.remove_node(node),
        }
    }

    fn cut(&mut self, node: usize) {
        let links = [
            Link::NodeToManager(node),
            Link::ManagerToNode(node),
            Link::ClientToNode(node),
            Link::NodeToClient(node),
            Link::ClientToManager,
            Link::ManagerToClient,
        ];
        let link = links[self.prng.below(links.len() as u64) as usize];
        let length = self.between(50 * MS, 4000 * MS);
        self.trace(|| format!("cut {link:?} for {} ms", length / MS));
        *self.cuts.entry(link).or_default() += 1;
        self.schedule(self.now + length, Event::Heal { link });
        if self.mutant == Some(Mutant::SilenceIsProof)
            && let Link::NodeToManager(node) = link
        {
            self.announce_death(node);
        }
    }

    /// No more faults: everything is given the time to come to rest.
    fn begin_calm(&mut self) {
        self.trace(|| "CALM".to_owned());
        self.calm = true;
        self.faults.loss = 0;
        self.faults.late = 0;
        self.faults.late_polls = 0;
        self.faults.double = 0;
        self.faults.slow_request = 0;
        self.faults.unknown_commit = 0;
        self.cuts.clear();
        self.undrain_all();
    }

    /// At the end of the calm every bucket is served by the node that the map names.
    fn check_rest(&mut self) {
        let Some(map) = self.manager.map() else {
            self.ghosts.violate("no rest: no manager leads".to_owned());
            return;
        };
        for (bucket, &(owner, generation)) in map.iter().enumerate() {
            let served = owner.is_some_and(|owner| self.nodes[owner].serves(bucket, generation, self.now));
            if !served {
                let name = owner.map_or("nobody".to_owned(), |owner| format!("node {owner}"));
                let members = self.manager.members(self.now);
                self.ghosts.violate(format!(
                    "no rest: bucket {bucket} is {name}'s at {generation} and not served; members:{members}"
                ));
            }
        }
    }
}
