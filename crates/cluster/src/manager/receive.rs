//! What comes in: polls, ends of lives, dirty reports, commands. Checked here, before anything changes.

use proto::control::{Dirty, Life, Owned, Poll};
use proto::{Bucket, ClusterId, Incarnation, NodeId};
use stdx::LeaseTime;

use super::Manager;
use super::contact::{Grace, Parked, Phase, buckets, check_list};
use super::newcomer::{Newcomer, same_lock};
use super::output::{Command, Event, Halt, Output, Proof, Refusal, Token};
use super::plan::End;
use crate::limits::{COMMANDS_WAITING_MAX, DIRTY_WAITING_MAX, NEWCOMERS_MAX};
use crate::map::is_address;
use crate::rules::Rule;

impl Manager {
    /// "Manager/OnPoll", first half. Nothing has changed if it is refused.
    pub(super) fn receive_poll(&mut self, token: Token, poll: Poll, now: LeaseTime) -> Result<(), Refusal> {
        self.check_cluster(poll.cluster)?;
        let list = poll.owned.as_deref().unwrap_or_default();
        check_list(list).map_err(Refusal::Invalid)?;
        if poll.incarnation.0 == 0 || poll.nonce.0 == 0 || !is_address(&poll.address) {
            let (incarnation, nonce, address) = (poll.incarnation, poll.nonce, &poll.address);
            let rule = format!("incarnation {incarnation}, nonce {nonce} or address \"{address}\" is none");
            return Err(Refusal::Invalid(rule));
        }
        let member = self.state.member_index(&poll.node);
        let known = member.filter(|&member| self.state.members()[member].incarnation == poll.incarnation);
        self.check_reported(&poll, list, known);
        if !self.polls.take(&poll.node, poll.incarnation, poll.nonce) && self.rules.hold(Rule::PollOrder) {
            return Err(Refusal::Overtaken);
        }
        match known {
            _ if self.is_halted() => Err(Refusal::NotLeading("it has stopped".to_owned())),
            Some(member) => self.receive_member_poll(token, &poll, member, now),
            None => self.receive_newcomer_poll(token, poll, now),
        }
    }

    /// "p reports a higher generation than the map knows -> the store went back in time: halt". So does the same
    /// generation with another owner, and a newer map: both were made by a transaction that is not there.
    fn check_reported(&mut self, poll: &Poll, list: &[Owned], known: Option<usize>) {
        let map = self.state.map();
        if poll.map_version > map.version() {
            let (node, reported, known) = (poll.node.clone(), poll.map_version, map.version());
            self.halt(Halt::MapWentBack { node, reported, known });
            return;
        }
        let strange =
            list.iter().flat_map(|run| buckets(run).map(|b| (b, run.generation))).find(|&(b, reported)| {
                let current = map.generation(b);
                let is_owner = known.is_some() && map.owner_index(b) == known;
                reported > current || (reported == current && !is_owner)
            });
        if let Some((bucket, reported)) = strange {
            let known = map.generation(bucket);
            self.halt(Halt::StoreWentBack { node: poll.node.clone(), bucket, reported, known });
        }
    }

    /// A poll of the life on record.
    fn receive_member_poll(
        &mut self,
        token: Token,
        poll: &Poll,
        member: usize,
        now: LeaseTime,
    ) -> Result<(), Refusal> {
        if self.is_over(member) {
            return Err(Refusal::Ended(poll.incarnation));
        }
        let contact = &mut self.contacts[member];
        let touched = contact.resolve(poll, now);
        for bucket in touched {
            self.update_obstacle(bucket, member);
        }
        self.expire_bounds(now);
        if let Some(list) = &poll.owned {
            self.receive_list(poll, list, member, now);
        }
        let parked = self.contacts[member].parked.replace(Parked::new(token, poll, now));
        self.overtake(parked);
        Ok(())
    }

    fn receive_list(&mut self, poll: &Poll, list: &[Owned], member: usize, now: LeaseTime) {
        let contact = &mut self.contacts[member];
        let was = contact.phase;
        if contact.is_confirmed_by(poll) || (!self.rules.hold(Rule::ConfirmList) && contact.is_in_grace()) {
            contact.take_list(list);
            contact.confirm(now);
            self.update_obstacles_of(member);
        } else if let Phase::Grace(Grace::Silent | Grace::Listed) = was {
            contact.take_list(list);
            contact.phase = Phase::Grace(Grace::Listed);
        }
        if was != self.contacts[member].phase && self.contacts[member].phase == Phase::Present {
            self.end_grace();
            self.wanted.rebalance = true;
        }
    }

    /// A poll of any other life of that name.
    fn receive_newcomer_poll(&mut self, token: Token, poll: Poll, now: LeaseTime) -> Result<(), Refusal> {
        if self.state.member_index(&poll.node).is_none() && !self.options.join {
            return Err(Refusal::NoMember(poll.node.clone()));
        }
        if self.newcomers.len() >= NEWCOMERS_MAX && !self.newcomers.contains_key(&poll.node) {
            return Err(Refusal::Busy("new nodes"));
        }
        let entry = self.newcomers.entry(poll.node.clone());
        let newcomer = entry.or_insert_with(|| Newcomer::new(&poll, now));
        if newcomer.incarnation != poll.incarnation {
            let parked = newcomer.parked.take();
            *newcomer = Newcomer::new(&poll, now);
            newcomer.parked = parked;
        }
        let parked = newcomer.park(token, poll, now);
        self.overtake(parked);
        Ok(())
    }

    /// A poll that is parked no more, since a newer one came.
    fn overtake(&mut self, parked: Option<Parked>) {
        if let Some(parked) = parked {
            self.outputs.push_back(Output::Reply { token: parked.token, reply: Err(Refusal::Overtaken) });
        }
    }

    /// "Proof of death": by the guardian, or by the node itself.
    pub(super) fn receive_end(&mut self, token: Token, life: &Life, proof: Proof) {
        if let Err(refusal) = self.check_cluster(life.cluster) {
            self.answer(token, Err(refusal));
        } else if self.wanted.ends.len() >= COMMANDS_WAITING_MAX {
            self.answer(token, Err(Refusal::Busy("deaths")));
        } else {
            self.wanted.ends.push(End {
                node: life.node.clone(),
                incarnation: life.incarnation,
                proof,
                token,
            });
            self.settle_ends();
        }
    }

    /// Takes over the ends of lives. A life on record is fenced at once and buried with the next transaction; one
    /// that is just being admitted, after that; any other holds nothing and never will.
    pub(super) fn settle_ends(&mut self) {
        for end in std::mem::take(&mut self.wanted.ends) {
            if self.in_flight.as_ref().is_some_and(|flight| flight.admits(&end.node, end.incarnation)) {
                self.wanted.ends.push(end);
                continue;
            }
            let newcomer = self.newcomers.get(&end.node);
            if newcomer.is_some_and(|newcomer| newcomer.incarnation == end.incarnation) {
                self.refuse_newcomer(&end.node, Refusal::Ended(end.incarnation));
                self.newcomers.remove(&end.node);
            }
            let member = self.state.member_index(&end.node);
            match member.filter(|&member| self.state.members()[member].incarnation == end.incarnation) {
                Some(member) if !self.state.members()[member].dead => {
                    self.end_life(member, end.proof);
                    let life = (end.node, end.incarnation);
                    self.wanted.burials.entry(life).or_default().push(end.token);
                }
                _ => self.answer(end.token, Ok(())),
            }
        }
    }

    /// A member's life is proven to have ended: it is fenced at once.
    pub(super) fn end_life(&mut self, member: usize, proof: Proof) {
        if self.is_over(member) {
            return;
        }
        let incarnation = self.state.members()[member].incarnation;
        self.event(Event::Dead(self.state.node_id(member).clone(), incarnation, proof));
        self.contacts[member].ended = true;
        self.refuse_member_poll(member, Refusal::Ended(incarnation));
        self.fence_member(member);
        self.wanted.rebalance = true;
    }

    /// "Manager/Dirty": join a change of that bucket that has not been granted yet and is a wipe, as every change
    /// is without copies; else Change(wipe).
    pub(super) fn receive_dirty(&mut self, token: Token, dirty: &Dirty) -> Result<(), Refusal> {
        self.check_cluster(dirty.cluster)?;
        if self.dirty_waiting >= DIRTY_WAITING_MAX {
            return Err(Refusal::Busy("dirty reports"));
        }
        self.dirty_waiting += 1;
        let bucket = dirty.bucket;
        match &mut self.in_flight {
            Some(flight) if flight.changes.contains(&bucket) => flight.dirty.push((bucket, token)),
            _ if !self.granted[bucket.index()] => {
                self.fences.wait(bucket, self.state.map().generation(bucket), token);
            }
            _ => self.wanted.dirty.entry(bucket).or_default().push(token),
        }
        Ok(())
    }

    pub(super) fn receive_command(&mut self, token: Token, command: Command) -> Result<(), Refusal> {
        if self.wanted.commands.len() >= COMMANDS_WAITING_MAX {
            return Err(Refusal::Busy("commands"));
        }
        if let Command::Add { address: Some(address), .. } = &command
            && !is_address(address)
        {
            return Err(Refusal::Invalid(format!("\"{address}\" is not a host:port")));
        }
        self.wanted.commands.push((token, command));
        Ok(())
    }

    /// True when the life on record can act no more and will never poll again.
    pub(super) fn is_over(&self, member: usize) -> bool {
        self.state.members()[member].dead || self.contacts[member].ended
    }

    /// True when a newcomer may take a member's name: "the old incarnation counts as dead only by proof", or its
    /// lease is over.
    pub(super) fn is_free_for(&self, member: usize, newcomer: &Newcomer) -> bool {
        self.is_over(member)
            || self.contacts[member].is_fenced()
            || same_lock(&self.state.members()[member].lock, &newcomer.lock)
    }

    /// True when a newcomer is known to have lived in this term.
    pub(super) fn is_proven(&self, newcomer: &Newcomer) -> bool {
        newcomer.proven || !self.rules.hold(Rule::ChallengeNewLife)
    }

    fn check_cluster(&self, theirs: ClusterId) -> Result<(), Refusal> {
        let ours = self.state.cluster();
        if theirs.0 != 0 && theirs != ours {
            return Err(Refusal::Cluster { ours: ours.0, theirs: theirs.0 });
        }
        Ok(())
    }
}

/// Buckets whose wipe is wanted, and for whom.
pub(super) type DirtyReports = std::collections::BTreeMap<Bucket, Vec<Token>>;
/// Lives to be recorded as dead, and whom to tell.
pub(super) type Burials = std::collections::BTreeMap<(NodeId, Incarnation), Vec<Token>>;
