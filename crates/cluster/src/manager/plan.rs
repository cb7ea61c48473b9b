//! "Manager/Change": everything that was decided since the last transaction becomes the next one; nothing is
//! granted before it is durable.

use proto::control::Owned;
use proto::{Bucket, Incarnation, NodeId};

use super::Manager;
use super::contact::Phase;
use super::newcomer::Newcomer;
use super::output::{Command, Proof, Refusal, Token};
use super::receive::{Burials, DirtyReports};
use crate::limits::NODES_MAX;
use crate::map::bucket_range;
use crate::placement::{Move, rebalance};
use crate::record::MemberRole;
use crate::rules::Rule;
use crate::state::Draft;

/// What the next transaction is for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The term is to be made durable.
    pub(super) term: bool,
    /// Who may own buckets has changed.
    pub(super) rebalance: bool,
    pub(super) commands: Vec<(Token, Command)>,
    /// Ends of lives that can't be settled yet: the life is in the transaction that is out.
    pub(super) ends: Vec<End>,
    pub(super) burials: Burials,
    pub(super) dirty: DirtyReports,
}

/// A life has ended, says somebody who knows.
#[derive(Debug)]
pub(super) struct End {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) proof: Proof,
    pub(super) token: Token,
}

impl Wanted {
    pub(super) fn at_lead() -> Self {
        Self { term: true, rebalance: true, ..Self::default() }
    }

    pub(super) fn take_tokens(&mut self) -> Vec<Token> {
        let wanted = std::mem::take(self);
        let commands = wanted.commands.into_iter().map(|(token, _)| token);
        let ends = wanted.ends.into_iter().map(|end| end.token);
        let burials = wanted.burials.into_values().flatten();
        commands.chain(ends).chain(burials).chain(wanted.dirty.into_values().flatten()).collect()
    }
}

/// A life that a transaction puts on record.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    /// What it holds: nothing, if it is new.
    pub(super) held: Vec<Owned>,
}

/// A transaction in the making.
pub(super) struct Plan {
    pub(super) draft: Draft,
    pub(super) admissions: Vec<Admission>,
    pub(super) removed: Vec<usize>,
    pub(super) tokens: Vec<Token>,
    pub(super) dirty: Vec<(Bucket, Token)>,
}

impl Manager {
    /// Sends the next transaction if none is out and something is wanted.
    pub(super) fn begin_commit(&mut self) {
        if self.in_flight.is_some() || self.is_halted() {
            return;
        }
        let shorten_lease = self.may_shorten_lease();
        let removable = self.removable_members();
        let admissible = self.admissible_newcomers();
        let wanted = &self.wanted;
        let nothing = wanted.commands.is_empty() && wanted.burials.is_empty() && wanted.dirty.is_empty();
        let nothing = nothing && !shorten_lease;
        if nothing && !wanted.term && !wanted.rebalance && removable.is_empty() && admissible.is_empty() {
            return;
        }
        let mut plan = Plan {
            draft: Draft::new(&self.state),
            admissions: Vec::new(),
            removed: Vec::new(),
            tokens: Vec::new(),
            dirty: Vec::new(),
        };
        if std::mem::take(&mut self.wanted.term) {
            plan.draft.begin_term(self.options.leader, self.options.lease);
        }
        if shorten_lease {
            plan.draft.shorten_lease(self.options.lease);
        }
        self.plan_commands(&mut plan);
        self.plan_burials(&mut plan);
        self.plan_admissions(&mut plan, admissible);
        self.plan_dirty(&mut plan);
        if std::mem::take(&mut self.wanted.rebalance) {
            self.plan_rebalance(&mut plan);
        }
        self.plan_removals(&mut plan, removable);
        self.send(plan);
    }

    fn plan_commands(&mut self, plan: &mut Plan) {
        for (token, command) in std::mem::take(&mut self.wanted.commands) {
            match Self::plan_command(&mut plan.draft, command) {
                Ok(()) => {
                    self.wanted.rebalance = true;
                    plan.tokens.push(token);
                }
                Err(refusal) => self.answer(token, Err(refusal)),
            }
        }
    }

    fn plan_command(draft: &mut Draft, command: Command) -> Result<(), Refusal> {
        let (node, role) = match command {
            Command::Add { node, address } => {
                if draft.state().member_index(&node).is_some() {
                    return Err(Refusal::Member(node));
                }
                if draft.state().members().len() >= NODES_MAX {
                    return Err(Refusal::Invalid(format!("a cluster has at most {NODES_MAX} nodes")));
                }
                draft.add_member(&node, address.as_deref().unwrap_or_default());
                return Ok(());
            }
            Command::Drain(node) => (node, MemberRole::Draining),
            Command::Undrain(node) => (node, MemberRole::Active),
            Command::Remove(node) => (node, MemberRole::Leaving),
        };
        let Some(member) = draft.state().member_index(&node) else {
            return Err(Refusal::NoMember(node));
        };
        draft.set_role(member, role);
        Ok(())
    }

    /// Only the life that has ended is buried: its successor may be on record since.
    fn plan_burials(&mut self, plan: &mut Plan) {
        for ((node, incarnation), tokens) in std::mem::take(&mut self.wanted.burials) {
            let member = self.state.member_index(&node);
            let is_on_record = |&member: &usize| self.state.members()[member].incarnation == incarnation;
            if let Some(member) = member.filter(is_on_record) {
                plan.draft.bury(member);
            }
            plan.tokens.extend(tokens);
        }
    }

    /// Newcomers that have proven to live, still poll, and whose name is free.
    fn admissible_newcomers(&self) -> Vec<NodeId> {
        if !self.leading {
            return Vec::new();
        }
        let admissible = |(name, newcomer): (&NodeId, &Newcomer)| {
            let member = self.state.member_index(name);
            let free = match member {
                Some(member) => self.is_free_for(member, newcomer),
                None => self.options.join && self.state.members().len() + self.newcomers.len() <= NODES_MAX,
            };
            (self.is_proven(newcomer) && newcomer.parked.is_some() && free).then(|| name.clone())
        };
        self.newcomers.iter().filter_map(admissible).collect()
    }

    /// "OnPoll: a new incarnation -> new generation for all its buckets before any grant".
    fn plan_admissions(&mut self, plan: &mut Plan, names: Vec<NodeId>) {
        for node in names {
            let Some(newcomer) = self.newcomers.get(&node) else {
                continue;
            };
            let incarnation = newcomer.incarnation;
            let held =
                if self.rules.hold(Rule::AdmittedMayHold) { newcomer.held.clone() } else { Vec::new() };
            let member = match plan.draft.state().member_index(&node) {
                Some(member) => member,
                None => plan.draft.add_member(&node, &newcomer.address),
            };
            plan.draft.admit(member, incarnation, newcomer.lock.clone(), &newcomer.address);
            if member < self.contacts.len() && !self.contacts[member].is_fenced() {
                self.end_life(member, Proof::Lock);
            }
            if self.rules.hold(Rule::NewLifeNewGenerations) {
                let map = self.state.map();
                let all = bucket_range(0, usize::from(self.options.buckets));
                let owned = all.filter(|&bucket| map.owner_index(bucket) == Some(member));
                for bucket in owned {
                    plan.draft.assign(bucket, Some(member));
                }
            }
            plan.admissions.push(Admission { node, incarnation, held });
            self.wanted.rebalance = true;
        }
    }

    /// "Change(wipe)": the same owner under a new generation and base.
    fn plan_dirty(&mut self, plan: &mut Plan) {
        let reports = std::mem::take(&mut self.wanted.dirty);
        for (bucket, tokens) in reports {
            let owner = plan.draft.state().map().owner_index(bucket);
            plan.draft.assign(bucket, owner);
            plan.dirty.extend(tokens.into_iter().map(|token| (bucket, token)));
        }
    }

    /// Even shares for all who are surely there. A member in grace keeps what it has and gets nothing: it may be
    /// away for long.
    fn plan_rebalance(&self, plan: &mut Plan) {
        let state = plan.draft.state();
        let admitted =
            |member: usize| plan.admissions.iter().any(|admission| admission.node == *state.node_id(member));
        let phase = |member: usize| self.contacts.get(member).map_or(Phase::Absent, |contact| contact.phase);
        let role = |member: usize| state.members()[member].role;
        let is_candidate = |&member: &usize| {
            role(member) == MemberRole::Active && (admitted(member) || phase(member) == Phase::Present)
        };
        let keeps = |member: usize| {
            role(member) == MemberRole::Active
                && !admitted(member)
                && matches!(phase(member), Phase::Grace(_))
        };
        let candidates: Vec<usize> = (0..state.members().len()).filter(is_candidate).collect();
        let owner = |bucket: Bucket| state.map().owner_index(bucket);
        let buckets: Vec<Bucket> = bucket_range(0, usize::from(self.options.buckets))
            .filter(|&bucket| !owner(bucket).is_some_and(keeps))
            .collect();
        let owners: Vec<Option<usize>> = buckets.iter().map(|&bucket| owner(bucket)).collect();
        let moves: Vec<(Bucket, Option<usize>)> = if candidates.is_empty() {
            let leaves = |&bucket: &Bucket| owner(bucket).is_some_and(|o| role(o) == MemberRole::Leaving);
            buckets.into_iter().filter(leaves).map(|bucket| (bucket, None)).collect()
        } else {
            let steps = rebalance(&owners, &candidates).into_iter();
            let of_step = |step: Move| (step.first..step.first + step.count).map(move |i| (i, step.to));
            steps.flat_map(of_step).map(|(index, to)| (buckets[index], Some(to))).collect()
        };
        for (bucket, owner) in moves {
            plan.draft.assign(bucket, owner);
        }
    }

    /// Leaving members of whom nothing is left: they own nothing, and hold nothing or are fenced.
    fn removable_members(&self) -> Vec<usize> {
        let leaving: Vec<usize> = (0..self.contacts.len())
            .filter(|&member| self.state.members()[member].role == MemberRole::Leaving)
            .filter(|&member| {
                let contact = &self.contacts[member];
                let promised = contact.sent.as_ref().is_some_and(|sent| !sent.changes.is_empty());
                contact.is_fenced() || (!contact.is_in_grace() && contact.held.is_empty() && !promised)
            })
            .collect();
        if leaving.is_empty() {
            return leaving;
        }
        let counts = self.state.map().bucket_counts();
        leaving.into_iter().filter(|&member| counts.get(member) == Some(&0)).collect()
    }

    /// Removals move indexes, so they come last, from the highest down.
    fn plan_removals(&self, plan: &mut Plan, members: Vec<usize>) {
        for member in members.into_iter().rev() {
            let state = plan.draft.state();
            let name = state.node_id(member);
            let still = state.members()[member].role == MemberRole::Leaving
                && !plan.admissions.iter().any(|admission| admission.node == *name);
            let mut all = bucket_range(0, usize::from(self.options.buckets));
            if still && !all.any(|bucket| state.map().owner_index(bucket) == Some(member)) {
                plan.draft.remove(member);
                plan.removed.push(member);
            }
        }
    }
}
