//! "Manager/Fenced" and "Manager/Dirty": who may still act on an older generation of a bucket, and who waits for
//! the end of that.
//!
//! **Invariant**: `obstacles` holds (bucket, member) iff the member is `Present` and may hold the bucket under a
//! generation older than the map's. A member in grace may hold anything and stands in everyone's way.

use std::collections::{BTreeMap, BTreeSet};

use proto::{Bucket, Generation};

use super::Manager;
use super::output::{Output, Token};
use crate::rules::Rule;

/// Fences that are not there yet, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Fences {
    obstacles: BTreeSet<(Bucket, usize)>,
    /// Dirty reports: to be acknowledged once nobody may hold an older generation than this.
    waiters: BTreeMap<Bucket, Vec<(Token, Generation)>>,
    /// Buckets whose waiters may be free now.
    recheck: BTreeSet<Bucket>,
    /// All waiters may be free now.
    recheck_all: bool,
}

impl Fences {
    /// A report waits until the bucket is fenced below `generation`.
    pub(super) fn wait(&mut self, bucket: Bucket, generation: Generation, token: Token) {
        self.waiters.entry(bucket).or_default().push((token, generation));
        self.recheck.insert(bucket);
    }

    /// Everyone who waits, for a machine that stops.
    pub(super) fn take_waiters(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.waiters).into_values().flatten().map(|(token, _)| token).collect()
    }

    /// True while somebody may act on an older generation of the bucket.
    pub(super) fn is_waiting(&self, bucket: Bucket) -> bool {
        self.members(bucket).next().is_some()
    }

    fn members(&self, bucket: Bucket) -> impl Iterator<Item = usize> {
        self.obstacles.range((bucket, 0)..=(bucket, usize::MAX)).map(|&(_, member)| member)
    }
}

impl Manager {
    /// "Manager/Change": may a bucket be granted to this member now? "Any other grant waits until every other
    /// node is fenced for that bucket." What the member itself holds of it is replaced by the grant.
    pub(super) fn is_grantable(&self, bucket: Bucket, to: usize, others_in_grace: bool) -> bool {
        let frozen = self.in_flight.as_ref().is_some_and(|flight| flight.changes.contains(&bucket));
        let free = !others_in_grace && self.fences.members(bucket).all(|member| member == to);
        !frozen && (free || !self.rules.hold(Rule::WaitForFence))
    }

    /// True while another member than this one may hold anything.
    pub(super) fn others_in_grace(&self, member: usize) -> bool {
        let mut others = self.contacts.iter().enumerate().filter(|&(other, _)| other != member);
        others.any(|(_, contact)| contact.is_in_grace())
    }

    /// Recomputes whether a member is in the way of a bucket. To be called whenever one of the three changed:
    /// what the member may hold, whether it is fenced, the bucket's generation.
    pub(super) fn update_obstacle(&mut self, bucket: Bucket, member: usize) {
        let contact = &self.contacts[member];
        let generation = self.state.map().generation(bucket);
        let is_old = contact.may_hold(bucket).is_some_and(|held| held < generation);
        if is_old && !contact.is_fenced() && !contact.is_in_grace() {
            self.fences.obstacles.insert((bucket, member));
        } else if self.fences.obstacles.remove(&(bucket, member))
            && let Some(owner) = self.state.map().owner_index(bucket)
        {
            self.contacts[owner].news = true;
        }
        self.fences.recheck.insert(bucket);
    }

    /// A member is fenced as a whole: its bound has passed or its death is proven.
    pub(super) fn fence_member(&mut self, member: usize) {
        let was_in_grace = self.contacts[member].is_in_grace();
        self.contacts[member].fence();
        let freed: Vec<Bucket> =
            self.fences.obstacles.iter().filter(|&&(_, m)| m == member).map(|&(bucket, _)| bucket).collect();
        for bucket in freed {
            self.update_obstacle(bucket, member);
        }
        if was_in_grace {
            self.end_grace();
        }
    }

    /// A member that stood in everyone's way does so no more. It matters to all when it was the last one, and to
    /// the last one when it was the last but one.
    pub(super) fn end_grace(&mut self) {
        let left = self.contacts.iter().filter(|contact| contact.is_in_grace()).count();
        if left <= 1 {
            self.fences.recheck_all = true;
            for contact in &mut self.contacts {
                contact.news = true;
            }
        }
    }

    /// All that a member may hold is to be looked at: what it has, and what a reply on its way may give.
    pub(super) fn update_obstacles_of(&mut self, member: usize) {
        let old: Vec<Bucket> =
            self.fences.obstacles.iter().filter(|&&(_, m)| m == member).map(|&(bucket, _)| bucket).collect();
        let contact = &self.contacts[member];
        let promised = contact.sent.iter().flat_map(|sent| sent.changes.keys());
        let may_hold: Vec<Bucket> = contact.held.keys().chain(promised).copied().collect();
        for bucket in old.into_iter().chain(may_hold) {
            self.update_obstacle(bucket, member);
        }
    }

    /// After a member was forgotten: indexes above it have moved.
    pub(super) fn rebuild_obstacles(&mut self) {
        self.fences.obstacles.clear();
        for member in 0..self.contacts.len() {
            self.update_obstacles_of(member);
        }
        self.end_grace();
    }

    /// "Manager/Dirty": acknowledge iff durable AND fenced for every node that may hold an older generation.
    /// Never by comparing the map's generations (hazard c).
    pub(super) fn acknowledge_fenced(&mut self) {
        let everything = std::mem::take(&mut self.fences.recheck_all);
        let recheck = std::mem::take(&mut self.fences.recheck);
        if self.fences.waiters.is_empty() {
            return;
        }
        let buckets: Vec<Bucket> = if everything {
            self.fences.waiters.keys().copied().collect()
        } else {
            recheck.into_iter().collect()
        };
        for bucket in buckets {
            let Some(waiters) = self.fences.waiters.remove(&bucket) else {
                continue;
            };
            let (done, waiting): (Vec<_>, Vec<_>) =
                waiters.into_iter().partition(|&(_, generation)| self.is_fenced_below(bucket, generation));
            self.dirty_waiting -= done.len();
            for (token, _) in done {
                self.outputs.push_back(Output::Answer { token, answer: Ok(()) });
            }
            if !waiting.is_empty() {
                self.fences.waiters.insert(bucket, waiting);
            }
        }
    }

    /// True when no node can act on the bucket under an older generation than this.
    fn is_fenced_below(&self, bucket: Bucket, generation: Generation) -> bool {
        if !self.rules.hold(Rule::DirtyWaitsForFence) {
            return true;
        }
        let holds_older = |member: usize| {
            let held = self.contacts[member].may_hold(bucket);
            held.is_some_and(|held| held < generation)
        };
        !self.contacts.iter().any(super::contact::Contact::is_in_grace)
            && !self.fences.members(bucket).any(holds_older)
    }
}
