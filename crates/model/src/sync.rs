//! loom's atomics, with two differences to std's that a model needs.
//!
//! Loom takes `SeqCst` operations for `AcqRel` ones; only its `SeqCst` fences are in one order. So a write that
//! asks for `SeqCst` here has such a fence behind it, which is how compilers do it too on processors that have no
//! such writes. And a [`Mutant`] makes orderings weaker.

use std::cell::Cell;

pub(crate) use loom::sync::atomic::Ordering;
use loom::sync::atomic::fence;
pub(crate) use loom::thread::yield_now;

/// An ordering that is not what the code asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutant {
    /// All are.
    #[default]
    None,
    /// Loads are relaxed.
    Loads,
    /// Stores are relaxed.
    Stores,
    /// What reads and writes in one is relaxed.
    Updates,
    /// `SeqCst` is only `AcqRel`.
    OneOrder,
}

thread_local! {
    /// Loom's threads all run on the thread that runs the model.
    static MUTANT: Cell<Mutant> = const { Cell::new(Mutant::None) };
}

/// For the models that this thread runs from now on.
pub(crate) fn set_mutant(mutant: Mutant) {
    MUTANT.set(mutant);
}

fn is(mutant: Mutant) -> bool {
    MUTANT.get() == mutant
}

/// The ordering to hand to loom.
fn weaker(weakened: Mutant, ordering: Ordering, within: Ordering) -> Ordering {
    match ordering {
        _ if is(weakened) => Ordering::Relaxed,
        Ordering::SeqCst => within,
        other => other,
    }
}

/// What a `SeqCst` write ends with.
fn end(weakened: Mutant, ordering: Ordering) {
    if ordering == Ordering::SeqCst && !is(weakened) && !is(Mutant::OneOrder) {
        fence(Ordering::SeqCst);
    }
}

/// A number of threads is enough to make them meet.
pub(crate) fn thread_number() -> usize {
    0
}

#[derive(Debug)]
pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> Self {
        Self(loom::sync::atomic::AtomicU64::new(value))
    }

    pub(crate) fn load(&self, ordering: Ordering) -> u64 {
        self.0.load(weaker(Mutant::Loads, ordering, Ordering::Acquire))
    }

    pub(crate) fn store(&self, value: u64, ordering: Ordering) {
        self.0.store(value, weaker(Mutant::Stores, ordering, Ordering::Release));
        end(Mutant::Stores, ordering);
    }

    pub(crate) fn fetch_add(&self, value: u64, ordering: Ordering) -> u64 {
        let old = self.0.fetch_add(value, weaker(Mutant::Updates, ordering, Ordering::AcqRel));
        end(Mutant::Updates, ordering);
        old
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        let within = weaker(Mutant::Updates, success, Ordering::AcqRel);
        let result = self.0.compare_exchange(current, new, within, failure);
        if result.is_ok() {
            end(Mutant::Updates, success);
        }
        result
    }
}
