//! "Manager/OnPoll", second half: when a parked poll is answered, and what the reply says.

use std::collections::BTreeMap;

use proto::control::{Change, Reply, Role};
use proto::{Bucket, Generation, Incarnation, NodeId};
use stdx::LeaseTime;

use super::Manager;
use super::contact::{Grace, Parked, Phase, Sent};
use super::output::{Output, Refusal};
use crate::map::bucket_range;

impl Manager {
    /// Answers every parked poll for which there is news or whose time is up.
    pub(super) fn answer_polls(&mut self, now: LeaseTime) {
        for member in 0..self.contacts.len() {
            if let Some(parked) = self.contacts[member].parked {
                self.answer_member(member, parked, now);
            }
        }
        let names: Vec<NodeId> = self.newcomers.keys().cloned().collect();
        for name in names {
            self.answer_newcomer(&name, now);
        }
    }

    fn answer_member(&mut self, member: usize, parked: Parked, now: LeaseTime) {
        let due = now.instant().since(parked.arrived.instant()) >= self.options.hold;
        if !self.leading {
            if due {
                self.refuse_member_poll(
                    member,
                    Refusal::NotLeading("its term is not durable yet".to_owned()),
                );
            }
            return;
        }
        match self.contacts[member].phase {
            // Nothing sure is known of what it holds: it gets no lease, and is asked.
            Phase::Absent | Phase::Grace(Grace::Silent | Grace::Renewed) => {
                self.challenge_member(member, parked);
            }
            // "Manager/Lead": the new leader renews at once what matches the map.
            Phase::Grace(Grace::Listed) => {
                self.contacts[member].phase = Phase::Grace(Grace::Renewed);
                let changes = self.take_changes(member);
                self.lease_member(member, parked, true, changes);
            }
            Phase::Present => {
                let changes = self.take_changes(member);
                let newer_map = parked.map_version < self.state.map().version();
                if due || newer_map || !changes.is_empty() {
                    self.lease_member(member, parked, false, changes);
                }
            }
        }
    }

    /// What can be changed for a member now. It is not asked again before there is news.
    fn take_changes(&mut self, member: usize) -> BTreeMap<Bucket, Generation> {
        if std::mem::take(&mut self.contacts[member].news) {
            self.changes_for(member)
        } else {
            BTreeMap::new()
        }
    }

    /// A reply with a lease, and with all changes that may be made.
    fn lease_member(
        &mut self,
        member: usize,
        parked: Parked,
        list_owned: bool,
        changes: BTreeMap<Bucket, Generation>,
    ) {
        for (&bucket, &generation) in &changes {
            self.granted[bucket.index()] |= generation != Generation::NONE;
        }
        let runs = self.encode_changes(&changes);
        let reply = self.reply(self.state.members()[member].incarnation, parked, true, list_owned, runs);
        let contact = &mut self.contacts[member];
        contact.sent = Some(Sent { nonce: parked.nonce, lease: true, arrived: parked.arrived, changes });
        contact.parked = None;
        let touched: Vec<Bucket> =
            contact.sent.iter().flat_map(|sent| sent.changes.keys().copied()).collect();
        for bucket in touched {
            self.update_obstacle(bucket, member);
        }
        self.outputs.push_back(Output::Reply { token: parked.token, reply: Ok(reply) });
    }

    /// A reply without a lease whose nonce the next poll must name.
    fn challenge_member(&mut self, member: usize, parked: Parked) {
        let reply = self.reply(self.state.members()[member].incarnation, parked, false, true, Vec::new());
        let contact = &mut self.contacts[member];
        let (nonce, arrived) = (parked.nonce, parked.arrived);
        contact.sent = Some(Sent { nonce, lease: false, arrived, changes: BTreeMap::new() });
        contact.parked = None;
        self.outputs.push_back(Output::Reply { token: parked.token, reply: Ok(reply) });
    }

    /// A newcomer is challenged, then waits for the transaction that admits it.
    fn answer_newcomer(&mut self, name: &NodeId, now: LeaseTime) {
        let Some((newcomer, parked)) = self.newcomers.get(name).and_then(|n| Some((n, n.parked?))) else {
            return;
        };
        let due = now.instant().since(parked.arrived.instant()) >= self.options.hold;
        let incarnation = newcomer.incarnation;
        if !self.leading {
            if due {
                let refusal = Refusal::NotLeading("its term is not durable yet".to_owned());
                self.refuse_newcomer(name, refusal);
            }
        } else if due || !self.is_proven(newcomer) {
            let reply = self.reply(incarnation, parked, false, true, Vec::new());
            if let Some(newcomer) = self.newcomers.get_mut(name) {
                newcomer.parked = None;
                newcomer.answer(parked.nonce);
            }
            self.outputs.push_back(Output::Reply { token: parked.token, reply: Ok(reply) });
        } else if let Some(refusal) = self.obstacle_to_admission(name, now) {
            self.refuse_newcomer(name, refusal);
        }
    }

    /// Why a newcomer that has proven to live can't be admitted now; `None` if it can be or soon is.
    fn obstacle_to_admission(&self, name: &NodeId, now: LeaseTime) -> Option<Refusal> {
        let Some(member) = self.state.member_index(name) else {
            return (!self.options.join).then(|| Refusal::NoMember(name.clone()));
        };
        if self.is_free_for(member, self.newcomers.get(name)?) {
            return None;
        }
        let within = self.bound_remaining(&self.contacts[member], now).unwrap_or_default();
        Some(Refusal::Alive {
            node: name.clone(),
            incarnation: self.state.members()[member].incarnation,
            within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
        })
    }

    pub(super) fn refuse_member_poll(&mut self, member: usize, refusal: Refusal) {
        if let Some(parked) = self.contacts[member].parked.take() {
            self.outputs.push_back(Output::Reply { token: parked.token, reply: Err(refusal) });
        }
    }

    pub(super) fn refuse_newcomer(&mut self, name: &NodeId, refusal: Refusal) {
        if let Some(parked) = self.newcomers.get_mut(name).and_then(|newcomer| newcomer.parked.take()) {
            self.outputs.push_back(Output::Reply { token: parked.token, reply: Err(refusal) });
        }
    }

    fn reply(
        &mut self,
        incarnation: Incarnation,
        parked: Parked,
        lease: bool,
        list_owned: bool,
        changes: Vec<Change>,
    ) -> Reply {
        Reply {
            cluster: self.state.cluster(),
            incarnation,
            nonce: parked.nonce,
            term: self.state.term(),
            lease,
            lease_ms: u32::try_from(self.options.lease.as_millis()).unwrap_or(u32::MAX),
            list_owned,
            changes,
            map: self.map_since(parked),
        }
    }

    /// The map text for a poll. Most polls hold the same version, so the last text is kept.
    fn map_since(&mut self, parked: Parked) -> Vec<u8> {
        let (since, version) = (parked.map_version, self.state.map().version());
        if since >= version {
            return Vec::new();
        }
        if !matches!(&self.map_text, Some(kept) if (kept.0, kept.1) == (since, version)) {
            self.map_text = Some((since, version, self.state.map().encode_since(since)));
        }
        self.map_text.as_ref().map(|kept| kept.2.clone()).unwrap_or_default()
    }

    /// The difference between what a member holds and what it should hold: bucket to its new generation, `NONE`
    /// for a revoke. "Only the GRANT is withheld, never the revoke."
    fn changes_for(&self, member: usize) -> BTreeMap<Bucket, Generation> {
        let others_in_grace = self.others_in_grace(member);
        let (map, held) = (self.state.map(), &self.contacts[member].held);
        let mut changes = BTreeMap::new();
        for bucket in bucket_range(0, usize::from(self.options.buckets)) {
            if map.owner_index(bucket) != Some(member) {
                continue;
            }
            let generation = map.generation(bucket);
            let held = held.get(&bucket).copied();
            if held == Some(generation) {
                continue;
            }
            if self.is_grantable(bucket, member, others_in_grace) {
                changes.insert(bucket, generation);
            } else if held.is_some() {
                changes.insert(bucket, Generation::NONE);
            }
        }
        let foreign = held.keys().filter(|&&bucket| map.owner_index(bucket) != Some(member));
        changes.extend(foreign.map(|&bucket| (bucket, Generation::NONE)));
        changes
    }

    /// Changes as runs: revokes first.
    fn encode_changes(&self, changes: &BTreeMap<Bucket, Generation>) -> Vec<Change> {
        let mut revokes: Vec<Change> = Vec::new();
        let mut grants: Vec<Change> = Vec::new();
        for (&bucket, &generation) in changes {
            if generation == Generation::NONE {
                match revokes.last_mut() {
                    Some(Change::Revoke { first, count }) if ends_at(*first, *count, bucket) => *count += 1,
                    _ => revokes.push(Change::Revoke { first: bucket, count: 1 }),
                }
                continue;
            }
            let base = self.state.base(bucket);
            match grants.last_mut() {
                Some(Change::Grant { first, count, generation: g, base: b, .. })
                    if ends_at(*first, *count, bucket) && (*g, *b) == (generation, base) =>
                {
                    *count += 1;
                }
                _ => grants.push(Change::Grant {
                    first: bucket,
                    count: 1,
                    generation,
                    base,
                    role: Role::Primary,
                }),
            }
        }
        revokes.append(&mut grants);
        revokes
    }
}

fn ends_at(first: Bucket, count: u16, bucket: Bucket) -> bool {
    first.index() + usize::from(count) == bucket.index()
}
