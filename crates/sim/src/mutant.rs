//! Rules of the promise that can be taken away, one at a time. A run without the rule must show a violation for
//! some seed, or the simulator would not notice if the code lost it.

use cluster::rules::{Rule, Rules};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A rule inside the machines.
    Machine(Rule),
    /// The node counts its lease from the arrival of the reply (hazard g).
    LeaseFromArrival,
    /// The node executes whatever it owns, under any generation.
    NoGenerationCheck,
    /// The node reads its clock once per wake-up, not for each request (hazard a).
    CachedClock,
    /// The node ignores the deadline of creating commands (hazard b).
    NoDeadline,
    /// The node checks the deadline before it applies and not again after (hazard b).
    DeadlineOnlyBefore,
    /// A switch of generation doesn't wait for a mutation that has checked and not yet applied (hazard j).
    SwitchBesideMutation,
    /// The manager doesn't wait W but only L.
    WaitOnlyLease,
    /// Somebody takes a refused or lost connection for a proof of death.
    SilenceIsProof,
    /// A client takes a delete for done when its budget is spent, without a dirty report.
    NoDirtyReport,
    /// The store acknowledges what it then loses in a crash.
    StoreLies,
}

impl Mutant {
    /// All mutants that a run of one manager can tell apart from the real thing.
    pub const ALL: [Self; 20] = [
        Self::Machine(Rule::WaitForFence),
        Self::Machine(Rule::GraceAtLead),
        Self::Machine(Rule::ConfirmList),
        Self::Machine(Rule::PollOrder),
        Self::Machine(Rule::NewLifeNewGenerations),
        Self::Machine(Rule::ChallengeNewLife),
        Self::Machine(Rule::AdmittedMayHold),
        Self::Machine(Rule::DirtyWaitsForFence),
        Self::Machine(Rule::OnlyOutstandingNonce),
        Self::Machine(Rule::WipeOnGrant),
        Self::LeaseFromArrival,
        Self::NoGenerationCheck,
        Self::CachedClock,
        Self::NoDeadline,
        Self::DeadlineOnlyBefore,
        Self::SwitchBesideMutation,
        Self::WaitOnlyLease,
        Self::SilenceIsProof,
        Self::NoDirtyReport,
        Self::StoreLies,
    ];

    /// The rules that the machines keep.
    pub fn rules(mutant: Option<Self>) -> Rules {
        match mutant {
            Some(Self::Machine(rule)) => Rules::without(rule),
            _ => Rules::ALL,
        }
    }
}
