//! The node's side of ownership: what it owns, its lease, its one outstanding poll ("Node").
//!
//! The shell's control thread owns a `Node`. It sends what [`Node::poll`] returns and hands the answer to
//! [`Node::handle_reply`], whose [`Step`] it then carries out in this order:
//!
//! 1. every effect, each under its bucket's lock: wipe first if it says so, then the tag := its generation;
//! 2. then the lease is published (never before: what was revoked must be gone when the lease is longer);
//! 3. then the map text is applied, and the next poll is sent. `poll` must not be called before 1 and 2 are done:
//!    it tells the manager that the reply was applied.
//!
//! The data path needs two things only: the bucket's tag, kept in the store and checked under the bucket's
//! lock, and [`Lease::is_valid`]; [`may_execute`] says how they go together.
//!
//! **Invariants**: at most one nonce is acceptable at a time; a released node owns nothing for ever.

mod refuse;

use std::collections::BTreeMap;
use std::time::Duration;

use proto::control::{Change, Life, LockIdentity, Owned, Poll, Reply, Role};
use proto::{BUCKET_COUNT, Bucket, ClusterId, Generation, Incarnation, MapVersion, NodeId, Nonce, Term};
use stdx::LeaseTime;

use crate::Lease;
use crate::limits::LEASE_MAX;
use crate::map::bucket_range;
use crate::rules::{Rule, Rules};

pub use refuse::RefuseReply;

/// Who a node is, for one life of its process.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Unique in the cluster.
    pub node: NodeId,
    /// Random, not zero.
    pub incarnation: Incarnation,
    /// The cluster to belong to; zero: whichever the manager says first.
    pub cluster: ClusterId,
    /// Where clients reach the node, `host:port`.
    pub address: String,
    /// The lock held while the process lives; default: none, which proves nothing.
    pub lock: LockIdentity,
    /// Process id, for people.
    pub pid: u32,
}

/// The ownership machine of one life of a node.
#[derive(Clone, Debug)]
pub struct Node {
    options: NodeOptions,
    rules: Rules,
    /// Zero until known.
    cluster: ClusterId,
    /// The highest term seen; lower ones are refused.
    term_max: Term,
    own: BTreeMap<Bucket, Holding>,
    lease: Lease,
    /// The one poll whose reply may be accepted.
    request: Option<Request>,
    /// Nonce of the last reply applied; zero if none.
    applied: Nonce,
    polls_sent: u32,
    /// The next poll lists what is owned.
    list_next: bool,
    released: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holding {
    generation: Generation,
    base: Generation,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    nonce: Nonce,
    sent: LeaseTime,
}

/// What an accepted reply does, in this order: effects, then the lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "the effects must be performed before the next poll"]
pub struct Step {
    /// Revokes first, then grants. Each is done under the lock of its bucket.
    pub effects: Vec<Effect>,
    /// To be published after the effects; `None`: the lease stays as it is.
    pub lease: Option<Lease>,
}

/// A change of one bucket, to be made under its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Which one.
    pub bucket: Bucket,
    /// The new tag; `NONE` (zero): not owned any more.
    pub generation: Generation,
    /// Kill all items of the bucket before the tag is set.
    pub wipe: bool,
}

/// Why a command may not run; it certainly had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOwner {
    /// The lease is over.
    LeaseOver,
    /// The bucket is not owned under the generation that the client named.
    OtherGeneration,
}

/// "Node/Exec": whether a command under `generation` may run. `tag` is the bucket's tag, read under the bucket's
/// lock by mutations; `now` is read after the command was received completely and before the item is touched.
pub fn may_execute(tag: u64, generation: Generation, lease: Lease, now: LeaseTime) -> Result<(), NotOwner> {
    if !lease.is_valid(now) {
        return Err(NotOwner::LeaseOver);
    }
    if tag == 0 || tag != generation.0 {
        return Err(NotOwner::OtherGeneration);
    }
    Ok(())
}

impl Node {
    /// "Node/Boot": owns nothing, no lease, nothing is visible.
    pub fn new(options: NodeOptions) -> Self {
        Self::with_rules(options, Rules::ALL)
    }

    /// A node with a rule missing, for simulators.
    #[doc(hidden)]
    pub fn with_rules(options: NodeOptions, rules: Rules) -> Self {
        Self {
            cluster: options.cluster,
            options,
            rules,
            term_max: Term(0),
            own: BTreeMap::new(),
            lease: Lease::NONE,
            request: None,
            applied: Nonce(0),
            polls_sent: 0,
            list_next: true,
            released: false,
        }
    }

    /// A new connection to a manager: the next poll lists what is owned.
    pub fn connected(&mut self) {
        self.list_next = true;
    }

    /// "Node/Poll": makes the next poll and the only one whose reply will be accepted; a poll still out is given
    /// up. A poll is sent once, on one connection: copies of it must not reach two managers, since both answers would
    /// carry the same nonce. `random` makes the nonce unguessable; its high half counts, so that the manager can tell which of
    /// two polls of one life was sent later. `None` once released.
    pub fn poll(&mut self, now: LeaseTime, random: u64, map_version: MapVersion) -> Option<Poll> {
        if self.released {
            return None;
        }
        self.polls_sent = self.polls_sent.checked_add(1)?;
        let nonce = Nonce(u64::from(self.polls_sent) << 32 | (random & 0xffff_ffff));
        self.request = Some(Request { nonce, sent: now });
        let owned = std::mem::take(&mut self.list_next).then(|| self.owned());
        Some(Poll {
            cluster: self.cluster,
            node: self.options.node.clone(),
            incarnation: self.options.incarnation,
            nonce,
            applied: self.applied,
            owned,
            map_version,
            address: self.options.address.clone(),
            lock: self.options.lock.clone(),
            pid: self.options.pid,
        })
    }

    /// "Node/OnReply": accepts the reply to the outstanding poll, or nothing of it. See the head of this file for
    /// what the caller does with the step, and in which order.
    pub fn handle_reply(&mut self, reply: &Reply) -> Result<Step, RefuseReply> {
        let request = self.accept(reply)?;
        let effects = self.plan(&reply.changes)?;
        self.request = None;
        self.applied = reply.nonce;
        self.list_next |= reply.list_owned || reply.term > self.term_max;
        self.term_max = reply.term;
        self.cluster = reply.cluster;
        for (effect, base) in &effects {
            if effect.generation == Generation::NONE {
                self.own.remove(&effect.bucket);
            } else {
                let holding = Holding { generation: effect.generation, base: *base };
                self.own.insert(effect.bucket, holding);
            }
        }
        let length = Duration::from_millis(u64::from(reply.lease_ms));
        let lease = reply.lease.then(|| Lease::from_poll(request.sent, length));
        self.lease = lease.unwrap_or(self.lease);
        Ok(Step { effects: effects.into_iter().map(|(effect, _)| effect).collect(), lease })
    }

    /// The node's own word that it will never serve again ("Proof of death: the node's own release"). The caller
    /// performs the effects, takes the lease back (`Lease::NONE`), and only then sends the life as `Release`.
    pub fn release(&mut self) -> (Life, Vec<Effect>) {
        self.released = true;
        self.request = None;
        self.lease = Lease::NONE;
        let buckets = std::mem::take(&mut self.own).into_keys();
        let effects =
            buckets.map(|bucket| Effect { bucket, generation: Generation::NONE, wipe: false }).collect();
        (self.life(), effects)
    }

    /// This life, as `Dead` and `Release` name it.
    pub fn life(&self) -> Life {
        Life { cluster: self.cluster, node: self.options.node.clone(), incarnation: self.options.incarnation }
    }

    /// The node's cluster; zero until learnt.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The highest term seen.
    pub fn term(&self) -> Term {
        self.term_max
    }

    /// The lease as last given.
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// The generation and the base under which a bucket is held.
    pub fn holding(&self, bucket: Bucket) -> Option<(Generation, Generation)> {
        self.own.get(&bucket).map(|holding| (holding.generation, holding.base))
    }

    /// How many buckets are held.
    pub fn owned_count(&self) -> usize {
        self.own.len()
    }

    /// What is held, as runs in the order of their buckets.
    pub fn owned(&self) -> Vec<Owned> {
        let mut runs: Vec<Owned> = Vec::new();
        for (&bucket, holding) in &self.own {
            match runs.last_mut() {
                Some(run)
                    if run.generation == holding.generation
                        && usize::from(run.count) + run.first.index() == bucket.index() =>
                {
                    run.count += 1;
                }
                _ => runs.push(Owned { first: bucket, count: 1, generation: holding.generation }),
            }
        }
        runs
    }

    /// The rules of acceptance, one by one.
    fn accept(&self, reply: &Reply) -> Result<Request, RefuseReply> {
        if self.released {
            return Err(RefuseReply::Released);
        }
        let outstanding = self
            .request
            .filter(|request| request.nonce == reply.nonce || !self.rules.hold(Rule::OnlyOutstandingNonce));
        let Some(request) = outstanding else {
            return Err(RefuseReply::Nonce(reply.nonce));
        };
        let ours = self.options.incarnation;
        if reply.incarnation != ours {
            return Err(RefuseReply::Incarnation { theirs: reply.incarnation, ours });
        }
        if self.cluster.0 != 0 && reply.cluster != self.cluster {
            return Err(RefuseReply::Cluster { theirs: reply.cluster, ours: self.cluster });
        }
        if reply.term < self.term_max && self.rules.hold(Rule::NoLowerTerm) {
            return Err(RefuseReply::Term { theirs: reply.term, known: self.term_max });
        }
        if u128::from(reply.lease_ms) > LEASE_MAX.as_millis() {
            return Err(RefuseReply::LeaseTooLong(reply.lease_ms));
        }
        Ok(request)
    }

    /// What the changes come to, bucket by bucket: all revokes before all grants.
    fn plan(&self, changes: &[Change]) -> Result<Vec<(Effect, Generation)>, RefuseReply> {
        let mut revokes = Vec::new();
        let mut grants = Vec::new();
        for &change in changes {
            match change {
                Change::Revoke { first, count } => {
                    for bucket in buckets(first, count)?.filter(|bucket| self.own.contains_key(bucket)) {
                        let effect = Effect { bucket, generation: Generation::NONE, wipe: false };
                        revokes.push((effect, Generation::NONE));
                    }
                }
                Change::Grant { first, role: Role::Copy, .. } => return Err(RefuseReply::Role(first)),
                Change::Grant { first, count, generation, base, role: Role::Primary } => {
                    for bucket in buckets(first, count)? {
                        grants.extend(self.plan_grant(bucket, generation, base)?);
                    }
                }
            }
        }
        revokes.append(&mut grants);
        Ok(revokes)
    }

    /// "grant (gen, role, base): items tagged below base are dead". Items are tagged by being in the bucket
    /// since it was granted, so a wipe is needed unless the bucket is held under the same base without a gap.
    fn plan_grant(
        &self,
        bucket: Bucket,
        generation: Generation,
        base: Generation,
    ) -> Result<Option<(Effect, Generation)>, RefuseReply> {
        let held = self.own.get(&bucket).copied();
        let held_generation = held.map_or(Generation::NONE, |held| held.generation);
        if generation == Generation::NONE || base > generation || generation < held_generation {
            return Err(RefuseReply::Generation { bucket, generation, base, held: held_generation });
        }
        if held == Some(Holding { generation, base }) {
            return Ok(None);
        }
        let wipe = held.is_none_or(|held| held.base != base) && self.rules.hold(Rule::WipeOnGrant);
        Ok(Some((Effect { bucket, generation, wipe }, base)))
    }
}

/// The buckets of a run, if they exist.
fn buckets(first: Bucket, count: u16) -> Result<impl Iterator<Item = Bucket>, RefuseReply> {
    let end = first.index() + usize::from(count);
    if count == 0 || end > BUCKET_COUNT {
        return Err(RefuseReply::Buckets { first, count });
    }
    Ok(bucket_range(first.index(), usize::from(count)))
}

#[cfg(test)]
mod tests;
