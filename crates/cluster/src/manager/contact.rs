//! What the manager knows of one member's present life, in this term: its lease, what it holds, its poll.
//!
//! **Invariant**: while `Present`, `held` together with the one reply that is not yet acknowledged says exactly
//! what the life may act on. That rests on three facts: polls of one life are numbered, a node accepts a reply to
//! its newest poll only, and a list counts only in a poll that was sent after a reply of this term.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::control::{Owned, Poll};
use proto::{BUCKET_COUNT, Bucket, Generation, MapVersion, Nonce};
use stdx::LeaseTime;

use super::output::Token;
use crate::map::bucket_range;

/// A member's present life, as far as this term knows it.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) phase: Phase,
    /// The life is proven dead; durable soon.
    pub(super) ended: bool,
    /// The last reply of this term that the life is known to have applied; zero: none.
    acknowledged: Nonce,
    /// The last reply, until the next poll tells whether it was applied.
    pub(super) sent: Option<Sent>,
    /// The arrival of the poll whose reply was applied last: its lease counts from before that.
    leased_from: LeaseTime,
    /// What the life has acknowledged, or listed, to hold.
    pub(super) held: BTreeMap<Bucket, Generation>,
    /// The poll that waits for its answer.
    pub(super) parked: Option<Parked>,
    /// Something may have changed for this member: compare what it holds with what it should hold.
    pub(super) news: bool,
    /// As it says; for people.
    pub(super) pid: u32,
    /// Arrival of the newest poll of this term.
    pub(super) last_poll: Option<LeaseTime>,
}

/// How far a life may be trusted to hold only what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No lease of it can be running: never leased, silent for W, or dead.
    Absent,
    /// "Manager/Lead": leased by a predecessor, perhaps. It may hold anything until it has confirmed a list or W
    /// has passed since the term began.
    Grace(Grace),
    /// `held` is exact.
    Present,
}

/// How far a life in grace has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grace {
    /// It has not listed what it holds.
    Silent,
    /// It has, but perhaps in a poll that was sent long ago.
    Listed,
    /// It got its one renewal on that list. Only one: it may send but not receive, and must not block the others
    /// for ever.
    Renewed,
}

/// A reply that may be on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) nonce: Nonce,
    pub(super) lease: bool,
    /// When its poll arrived; the lease counts from before that.
    pub(super) arrived: LeaseTime,
    /// Bucket and new generation, `NONE` for a revoke.
    pub(super) changes: BTreeMap<Bucket, Generation>,
}

/// A poll that waits for news or for its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    pub(super) token: Token,
    pub(super) nonce: Nonce,
    pub(super) map_version: MapVersion,
    pub(super) arrived: LeaseTime,
}

impl Parked {
    pub(super) fn new(token: Token, poll: &Poll, arrived: LeaseTime) -> Self {
        Self { token, nonce: poll.nonce, map_version: poll.map_version, arrived }
    }
}

impl Contact {
    /// A member without a life that could hold anything.
    pub(super) fn absent() -> Self {
        Self {
            phase: Phase::Absent,
            ended: false,
            acknowledged: Nonce(0),
            sent: None,
            leased_from: LeaseTime::default(),
            held: BTreeMap::new(),
            parked: None,
            news: false,
            pid: 0,
            last_poll: None,
        }
    }

    /// "Manager/Lead": bound[every node] = now + W.
    pub(super) fn in_grace(now: LeaseTime) -> Self {
        Self { phase: Phase::Grace(Grace::Silent), leased_from: now, ..Self::absent() }
    }

    /// A life that was just admitted, with what it has listed.
    pub(super) fn admitted(answered: Nonce, arrived: LeaseTime, list: &[Owned]) -> Self {
        let mut contact = Self {
            phase: Phase::Present,
            acknowledged: answered,
            leased_from: arrived,
            last_poll: Some(arrived),
            ..Self::absent()
        };
        contact.take_list(list);
        contact
    }

    /// "Manager/Fenced": no lease of this life can be running.
    pub(super) fn is_fenced(&self) -> bool {
        self.phase == Phase::Absent
    }

    /// It may hold anything.
    pub(super) fn is_in_grace(&self) -> bool {
        matches!(self.phase, Phase::Grace(_))
    }

    /// The oldest moment from which its lease may count, if one may run.
    fn bound_from(&self) -> Option<LeaseTime> {
        match (&self.phase, &self.sent) {
            (Phase::Absent, _) => None,
            (_, Some(sent)) if sent.lease => Some(sent.arrived),
            _ => Some(self.leased_from),
        }
    }

    /// How long until its bound passes; `None` when it is absent.
    pub(super) fn bound_remaining(&self, wait: Duration, now: LeaseTime) -> Option<Duration> {
        Some(wait.saturating_sub(now.elapsed_min(self.bound_from()?)))
    }

    /// The bound has passed or the life is proven dead: nothing of it can act any more. If it ever polls again, it
    /// has to confirm what it holds before it gets a lease.
    pub(super) fn fence(&mut self) {
        self.phase = Phase::Absent;
        self.sent = None;
        self.acknowledged = Nonce(0);
        self.held.clear();
    }

    /// Takes a new poll's word on what became of the last reply. Returns the buckets whose holding may have
    /// changed.
    ///
    /// "applied" names the last reply that the node accepted. If that is not the last one sent, then that one is
    /// dead: the node has given its nonce up by sending this poll, so neither its lease nor its grants exist.
    pub(super) fn resolve(&mut self, poll: &Poll, now: LeaseTime) -> Vec<Bucket> {
        self.last_poll = Some(now);
        self.pid = poll.pid;
        let Some(sent) = self.sent.take() else {
            return Vec::new();
        };
        if sent.nonce != poll.applied {
            self.news = true;
            return sent.changes.into_keys().collect();
        }
        self.acknowledged = sent.nonce;
        if sent.lease {
            self.leased_from = sent.arrived;
        }
        for (&bucket, &generation) in &sent.changes {
            if generation == Generation::NONE {
                self.held.remove(&bucket);
            } else {
                self.held.insert(bucket, generation);
            }
        }
        sent.changes.into_keys().collect()
    }

    /// True when this poll was sent after the life applied a reply of this term. A delayed poll of an earlier term
    /// cannot pass.
    pub(super) fn is_confirmed_by(&self, poll: &Poll) -> bool {
        self.acknowledged != Nonce(0) && poll.applied == self.acknowledged
    }

    /// Takes over the list of a poll.
    pub(super) fn take_list(&mut self, list: &[Owned]) {
        self.held = list.iter().flat_map(|run| buckets(run).map(|bucket| (bucket, run.generation))).collect();
        self.news = true;
    }

    /// The list of `poll` is exact from now on.
    pub(super) fn confirm(&mut self, now: LeaseTime) {
        if self.phase == Phase::Absent {
            self.leased_from = now;
        }
        self.phase = Phase::Present;
    }

    /// The oldest generation under which the life may act on a bucket, with what a reply on its way may give.
    pub(super) fn may_hold(&self, bucket: Bucket) -> Option<Generation> {
        let promised = self.sent.as_ref().and_then(|sent| {
            sent.changes.get(&bucket).copied().filter(|&generation| generation != Generation::NONE)
        });
        match (self.held.get(&bucket).copied(), promised) {
            (Some(held), Some(promised)) => Some(held.min(promised)),
            (held, promised) => held.or(promised),
        }
    }
}

/// The buckets of a listed run, as far as they exist.
pub(super) fn buckets(run: &Owned) -> impl Iterator<Item = Bucket> + use<> {
    bucket_range(run.first.index(), usize::from(run.count))
}

/// Checks that a list is in order: runs that exist, ascending, not overlapping, each with a generation.
pub(super) fn check_list(list: &[Owned]) -> Result<(), String> {
    let mut covered = 0;
    for run in list {
        let (first, count) = (run.first.index(), usize::from(run.count));
        if count == 0 || first < covered || first + count > BUCKET_COUNT || run.generation == Generation::NONE
        {
            return Err(format!("the list of owned buckets is broken at {count} buckets from {first} on"));
        }
        covered = first + count;
    }
    Ok(())
}
