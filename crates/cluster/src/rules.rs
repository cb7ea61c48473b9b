//! The rules of the promise that a simulator can switch off in these machines, one at a time.
//!
//! A rule that no simulated run misses when it is gone is a rule that nothing tests. Without the feature
//! `mutants` every rule always holds and the checks cost nothing.

/// A rule that lives inside a machine. (Rules of a shell are broken in the simulated shell.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// "Manager/Fenced": a bucket is granted to another node only when the old one can't act on it any more.
    WaitForFence,
    /// "Manager/Lead": a new leader believes that every node may hold anything until W has passed.
    GraceAtLead,
    /// "Manager/Lead": what a node lists counts only in a poll that names a reply of this term as applied.
    ConfirmList,
    /// "Node/Poll": polls of one life are ordered; an older one that arrives later changes nothing.
    PollOrder,
    /// "Manager/OnPoll": a new incarnation gets new generations for all its buckets.
    NewLifeNewGenerations,
    /// "Manager/Proof": a poll proves a death by its lock only after it answered this manager's challenge.
    ChallengeNewLife,
    /// "Manager/OnPoll": a life that is put on record may hold what it held before it was superseded or removed.
    AdmittedMayHold,
    /// "Manager/Dirty": acknowledged only when durable and fenced.
    DirtyWaitsForFence,
    /// "Node/OnReply": only the outstanding nonce is accepted.
    OnlyOutstandingNonce,
    /// "Node/OnReply": a lower term is refused.
    NoLowerTerm,
    /// "Node/OnReply": items tagged below the base are dead: a bucket not held since then is wiped.
    WipeOnGrant,
}

/// Which rule is off, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    #[cfg(feature = "mutants")]
    off: Option<Rule>,
}

impl Rules {
    /// All rules hold.
    pub const ALL: Self = Self {
        #[cfg(feature = "mutants")]
        off: None,
    };

    /// All rules but one.
    #[cfg(feature = "mutants")]
    pub const fn without(rule: Rule) -> Self {
        Self { off: Some(rule) }
    }

    /// True when the rule holds: always, but in a mutant.
    #[cfg_attr(not(feature = "mutants"), expect(clippy::unused_self, reason = "the mutants use it"))]
    pub(crate) fn hold(self, rule: Rule) -> bool {
        #[cfg(feature = "mutants")]
        {
            self.off != Some(rule)
        }
        #[cfg(not(feature = "mutants"))]
        {
            let _ = rule;
            true
        }
    }
}
