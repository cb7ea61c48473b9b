//! What all fake nodes of one test hold, and the two rules that no manager may break: a generation of a bucket
//! belongs to one life for ever, and no two lives may serve a bucket at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use cluster::Lease;
use proto::{Bucket, Generation, Incarnation};
use stdx::clock;

/// Shared by all fake nodes of a test.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// To whom each generation of each bucket was ever granted.
    granted: BTreeMap<(Bucket, Generation), Incarnation>,
    lives: BTreeMap<Incarnation, Life>,
}

#[derive(Debug, Default)]
struct Life {
    held: BTreeSet<Bucket>,
    lease: Lease,
}

impl Ledger {
    /// A life owns a bucket from now on, or no more (generation zero). Panics where a rule is broken.
    pub(crate) fn set(&self, life: Incarnation, bucket: Bucket, generation: Generation) {
        let mut state = self.0.lock().unwrap();
        if generation == Generation::NONE {
            state.lives.entry(life).or_default().held.remove(&bucket);
            return;
        }
        let first = *state.granted.entry((bucket, generation)).or_insert(life);
        assert_eq!(first, life, "generation {generation} of bucket {bucket} was granted to two lives");
        let now = clock::lease_now();
        for (other, theirs) in &state.lives {
            let serving = theirs.held.contains(&bucket) && theirs.lease.is_valid(now);
            assert!(
                *other == life || !serving,
                "bucket {bucket} was granted to {life} while {other} may serve it"
            );
        }
        state.lives.entry(life).or_default().held.insert(bucket);
    }

    /// A life may serve until then.
    pub(crate) fn set_lease(&self, life: Incarnation, lease: Lease) {
        self.0.lock().unwrap().lives.entry(life).or_default().lease = lease;
    }

    /// A process has ended: it serves nothing any more.
    pub(crate) fn end(&self, life: Incarnation) {
        self.0.lock().unwrap().lives.remove(&life);
    }

    /// How many generations were handed out.
    pub(crate) fn granted_count(&self) -> usize {
        self.0.lock().unwrap().granted.len()
    }
}
