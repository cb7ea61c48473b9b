//! What must hold at every instant, seen from outside, where all clocks and all nodes are known.
//!
//! I1 at most one life can pass the guard of a bucket; I2 what is visible carries a generation not below the
//! base; I3 nothing executes at g after a newer generation was taken up elsewhere; I4 an acknowledged dirty report
//! leaves no one with an older generation; I5 generations never decrease and never serve two lives; I6 a write
//! takes effect inside its window.

use std::collections::BTreeMap;

use proto::{Generation, Incarnation};

/// What has been granted so far, and the first thing that was wrong.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// Who took up a bucket under a generation.
    taken: BTreeMap<(usize, Generation), Incarnation>,
    /// The newest generation of a bucket that was taken up, and by whom.
    newest: BTreeMap<usize, (Generation, Incarnation)>,
    violation: Option<String>,
}

impl Ghosts {
    /// Something forbidden has happened. The first one counts.
    pub(crate) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// The first violation.
    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// A life takes up a bucket under a generation (I5).
    pub(crate) fn take_up(&mut self, bucket: usize, generation: Generation, life: Incarnation) {
        let holder = *self.taken.entry((bucket, generation)).or_insert(life);
        if holder != life {
            self.violate(format!(
                "I5: generation {generation} of bucket {bucket} serves life {holder} and life {life}"
            ));
        }
        let newest = self.newest.entry(bucket).or_insert((generation, life));
        if generation >= newest.0 {
            *newest = (generation, life);
        }
    }

    /// The newest generation of a bucket that anybody has taken up.
    pub(crate) fn newest(&self, bucket: usize) -> Generation {
        self.newest.get(&bucket).map_or(Generation::NONE, |newest| newest.0)
    }

    /// A life executes a command in a bucket that it holds under `held`, for a client that named `asked` (I3).
    pub(crate) fn execute(&mut self, bucket: usize, held: Generation, asked: Generation, life: Incarnation) {
        let newest = self.newest.get(&bucket).copied();
        if let Some((newest, other)) = newest.filter(|&(newest, other)| newest > held && other != life) {
            self.violate(format!(
                "I3: life {life} executes in bucket {bucket} at {held} after {other} took up {newest}"
            ));
        }
        if held != asked {
            self.violate(format!(
                "I3: life {life} executes in bucket {bucket} at {held} what was asked at {asked}"
            ));
        }
    }
}
