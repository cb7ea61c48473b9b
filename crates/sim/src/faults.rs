//! How much of each fault a run has: drawn from its seed, often zero, sometimes much.

use stdx::Prng;

use crate::clocks::{MS, Real};

/// The weights of one run.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// Messages lost, per thousand.
    pub(crate) loss: u64,
    /// Messages that are late, per thousand.
    pub(crate) late: u64,
    /// How late, at most.
    pub(crate) late_max: Real,
    /// Polls that are late, per thousand, besides.
    pub(crate) late_polls: u64,
    /// How long a node waits for a reply before it polls again.
    pub(crate) patience: Real,
    /// How long a dead manager is away, at most.
    pub(crate) manager_away: Real,
    /// Control messages that come twice, per thousand.
    pub(crate) double: u64,
    /// Requests on a node that stop between check and apply, per thousand.
    pub(crate) slow_request: u64,
    /// Transactions with an unknown outcome, per thousand.
    pub(crate) unknown_commit: u64,
    /// The kinds of big faults, each with its weight; none if all are zero.
    pub(crate) weights: [u64; Fault::ALL.len()],
    /// Mean real time between two big faults.
    pub(crate) every: Real,
    /// Machines hold exclusive locks.
    pub(crate) locks: bool,
}

/// A big fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node's process is killed; its guardian proves it.
    KillNode,
    /// A node's process and its guardian are killed.
    KillNodeAndGuardian,
    /// A node's machine restarts: another boot.
    RebootNode,
    /// A node is told to stop and releases everything.
    ReleaseNode,
    /// A node's process stands still for a while.
    PauseNode,
    /// A node's machine is suspended for a while.
    SuspendNode,
    /// The manager is killed and starts again.
    KillManager,
    /// The manager stands still for a while.
    PauseManager,
    /// Messages in one direction between two parties are lost for a while.
    Cut,
    /// An operator drains a node, or lets it take buckets again.
    Drain,
    /// An operator removes a node, which joins again as soon as it can.
    Remove,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::KillNode,
        Self::KillNodeAndGuardian,
        Self::RebootNode,
        Self::ReleaseNode,
        Self::PauseNode,
        Self::SuspendNode,
        Self::KillManager,
        Self::PauseManager,
        Self::Cut,
        Self::Drain,
        Self::Remove,
    ];
}

impl Faults {
    /// Draws the weights of a run.
    pub(crate) fn draw(prng: &mut Prng) -> Self {
        let mut pick = |choices: &[u64]| choices[prng.below(choices.len() as u64) as usize];
        Self {
            loss: pick(&[0, 0, 5, 50]),
            late: pick(&[0, 10, 100, 300]),
            late_max: pick(&[20, 200, 1500, 4000]) * MS,
            late_polls: pick(&[0, 0, 50, 300]),
            patience: pick(&[130, 200, 400]) * MS,
            manager_away: pick(&[10, 100, 1500]) * MS,
            double: pick(&[0, 20, 200]),
            slow_request: pick(&[0, 20, 200]),
            unknown_commit: pick(&[0, 50, 300]),
            weights: std::array::from_fn(|_| pick(&[0, 0, 1, 4, 16])),
            every: pick(&[200, 500, 1500]) * MS,
            locks: pick(&[0, 1]) == 1,
        }
    }

    /// Draws the next big fault.
    pub(crate) fn draw_fault(&self, prng: &mut Prng) -> Option<Fault> {
        let mut ticket = prng.below(self.weights.iter().sum());
        let drawn = self.weights.iter().position(|&weight| {
            let hit = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            hit
        });
        Some(Fault::ALL[drawn?])
    }
}
