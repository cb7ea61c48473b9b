//! Clients that keep the client's rules of the promise: reads fail as misses, creating commands carry a deadline
//! in the node's clock and are resent only after a refusal, deletes go on until they are acknowledged or fenced.

use proto::{Generation, Incarnation};
use stdx::Prng;

use crate::clocks::{MS, Real};
use crate::history::{Kind, Operation};
use crate::mutant::Mutant;
use crate::world::{BUCKETS, Event, KEYS, Link, World};

/// Index of an operation.
pub(crate) type OpId = usize;

/// How long a client gives an operation before it returns or reports.
const BUDGET: Real = 150 * MS;
/// How long it waits for the answer to one try of a delete.
const TRY: Real = 60 * MS;
/// How long it waits before it repeats a dirty report.
const REPORT: Real = 300 * MS;

/// A client: one operation at a time.
#[derive(Debug)]
pub(crate) struct Client {
    /// The map that it holds, as an index into the world's.
    view: usize,
    /// Its clock's rate in parts per million.
    rate_ppm: u64,
}

/// An operation from its begin to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    client: usize,
    key: u32,
    what: What,
    start: Real,
    /// When the client returns, whatever has come.
    returns: Real,
    pub(crate) attempt: u32,
    /// The budget is spent: only the manager can end it.
    reported: bool,
    done: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Read.
    Get,
    /// Write that value.
    Set(u64),
    /// Remove.
    Delete,
}

/// A command as it reaches a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// For whom.
    pub(crate) op: OpId,
    /// Which try of it.
    pub(crate) attempt: u32,
    /// A connection belongs to one life.
    pub(crate) incarnation: Incarnation,
    /// The key.
    pub(crate) key: u32,
    /// Its bucket.
    pub(crate) bucket: usize,
    /// The generation that the client names; then the one it was checked at.
    pub(crate) generation: Generation,
    /// What to do.
    pub(crate) what: What,
    /// The deadline in the node's clock.
    pub(crate) stamp: u64,
    /// When the client returns, in real time; only the ghosts know.
    pub(crate) returns: Real,
}

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The value, or a miss.
    Read(Option<u64>),
    /// Applied.
    Done,
    /// Refused: certainly no effect.
    NotOwner,
    /// Past its deadline: certainly no effect.
    Expired,
    /// The manager has wiped the bucket.
    Wiped,
}

impl Client {
    /// A client that has no map yet.
    pub(crate) fn new(prng: &mut Prng) -> Self {
        Self { view: 0, rate_ppm: 950_000 + prng.below(100_001) }
    }
}

impl Op {
    /// The bucket of its key.
    pub(crate) fn bucket(&self) -> usize {
        self.key as usize % BUCKETS
    }
}

impl World {
    pub(crate) fn handle_client(&mut self, event: &Event) {
        match *event {
            Event::ClientNext { client } => self.begin_op(client),
            Event::ClientTimer { op, attempt } if !self.ops[op].done && self.ops[op].attempt == attempt => {
                self.op_timer(op);
            }
            Event::Answer { op, attempt, answer } if !self.ops[op].done => {
                self.op_answer(op, attempt, answer);
            }
            _ => {}
        }
    }

    fn begin_op(&mut self, client: usize) {
        let op = self.ops.len();
        let what = match self.prng.below(20) {
            0..=9 => What::Get,
            10..=15 => What::Set(op as u64),
            _ => What::Delete,
        };
        self.ops.push(Op {
            client,
            key: self.prng.below(KEYS) as u32,
            what,
            start: self.now,
            returns: self.now + BUDGET,
            attempt: 0,
            reported: false,
            done: false,
        });
        self.try_op(op);
    }

    /// Sends the command to whom the client's map names, or waits a little for a better map.
    fn try_op(&mut self, id: OpId) {
        self.ops[id].attempt += 1;
        let op = self.ops[id];
        let view = self.clients[op.client].view;
        let (owner, generation) = self.maps[view][op.bucket()];
        let target = owner.and_then(|node| Some((node, self.nodes[node].incarnation()?)));
        let Some((node, incarnation)) = target else {
            self.refresh(op.client);
            return self.timer(id, self.now + 10 * MS);
        };
        // The stamp: the node's clock as sampled, and the rest of the time at the slowest.
        let age = self.between(0, 100 * MS);
        let (sampled, clock) = self.nodes[node].clock_sample(self.now, age).unwrap_or((self.now, 0));
        let rest =
            u128::from(op.returns.saturating_sub(sampled)) * u128::from(self.clients[op.client].rate_ppm);
        let stamp = clock + (rest / 1_000_000 * 95 / 105) as u64;
        let request = Request {
            op: id,
            attempt: op.attempt,
            incarnation,
            key: op.key,
            bucket: op.bucket(),
            generation,
            what: op.what,
            stamp,
            returns: op.returns,
        };
        self.trace(|| {
            format!("client {} op {id} {:?} key {} to n{node} at {generation}", op.client, op.what, op.key)
        });
        self.send(Link::ClientToNode(node), Event::Request { node, request });
        let wait = if op.what == What::Delete { self.now + TRY } else { op.returns };
        self.timer(id, wait);
    }

    fn timer(&mut self, op: OpId, at: Real) {
        let attempt = self.ops[op].attempt;
        self.schedule(at, Event::ClientTimer { op, attempt });
    }

    /// Nothing came in time.
    fn op_timer(&mut self, id: OpId) {
        let op = self.ops[id];
        match op.what {
            What::Delete if op.reported => self.report_dirty(id),
            What::Delete if self.now >= op.returns && self.mutant == Some(Mutant::NoDirtyReport) => {
                self.finish(id, Some(Kind::Delete));
            }
            What::Delete if self.now >= op.returns => self.report_dirty(id),
            What::Set(value) if self.now >= op.returns => {
                self.finish(id, Some(Kind::Set { value, acknowledged: false }));
            }
            What::Get if self.now >= op.returns => self.finish(id, None),
            _ => {
                self.refresh(op.client);
                self.try_op(id);
            }
        }
    }

    fn op_answer(&mut self, id: OpId, attempt: u32, answer: Answer) {
        let op = self.ops[id];
        match (op.what, answer) {
            (What::Get, Answer::Read(Some(value))) if attempt == op.attempt => {
                self.finish(id, Some(Kind::Hit { value }));
            }
            (What::Get, Answer::Read(None)) => self.finish(id, None),
            (What::Set(value), Answer::Done) => {
                self.finish(id, Some(Kind::Set { value, acknowledged: true }));
            }
            (What::Set(value), Answer::Expired) if attempt == op.attempt => {
                self.finish(id, Some(Kind::Set { value, acknowledged: false }));
            }
            (What::Delete, Answer::Done | Answer::Wiped) => self.finish(id, Some(Kind::Delete)),
            (_, Answer::NotOwner) if attempt == op.attempt && !op.reported => {
                self.refresh(op.client);
                self.timer(id, self.now + 5 * MS);
            }
            _ => {}
        }
    }

    /// "delete: budget spent -> dirty report until acknowledged; success only then".
    fn report_dirty(&mut self, id: OpId) {
        self.ops[id].reported = true;
        self.ops[id].attempt += 1;
        self.send(Link::ClientToManager, Event::Dirty { op: id });
        self.timer(id, self.now + REPORT);
    }

    fn finish(&mut self, id: OpId, kind: Option<Kind>) {
        let op = self.ops[id];
        self.ops[id].done = true;
        self.trace(|| format!("client {} op {id} ends: {kind:?}", op.client));
        if let Some(kind) = kind {
            match kind {
                Kind::Hit { .. } => self.report.hits += 1,
                Kind::Delete | Kind::Set { acknowledged: true, .. } => self.report.acknowledged += 1,
                Kind::Set { .. } => {}
            }
            self.history.push(Operation { key: op.key, kind, start: op.start, end: self.now });
        }
        let pause = self.between(MS, 40 * MS);
        self.schedule(self.now + pause, Event::ClientNext { client: op.client });
    }

    /// What is still under way when the run ends has an unknown outcome.
    pub(crate) fn finish_all(&mut self) {
        let sets = self.ops.iter().filter(|op| !op.done).filter_map(|op| match op.what {
            What::Set(value) => Some((op, Kind::Set { value, acknowledged: false })),
            What::Get | What::Delete => None,
        });
        let end = self.now;
        self.history.extend(sets.map(|(op, kind)| Operation { key: op.key, kind, start: op.start, end }));
    }

    /// A newer map, not always the newest.
    fn refresh(&mut self, client: usize) {
        let newest = self.maps.len() - 1;
        let view = self.clients[client].view;
        let step = if self.prng.chance(7, 10) {
            newest - view
        } else {
            self.prng.below((newest - view) as u64 + 1) as usize
        };
        self.clients[client].view += step;
    }
}
