//! How a model is run, with and without mutants.

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use crate::sync::Mutant;
use crate::sync::{AtomicU64, Ordering, set_mutant};

/// A model is run in all orders in which threads are interrupted at most so many times.
const PREEMPTIONS_MAX: usize = 3;

/// Whether any run of the model fails.
pub fn fails(mutant: Mutant, model: impl Fn() + Sync + Send + 'static) -> bool {
    set_mutant(mutant);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    catch_unwind(AssertUnwindSafe(|| builder.check(model))).is_err()
}

/// Two threads that each store and then look at the other's: one of them sees it. The order of all `SeqCst`
/// operations says so, which loom alone does not keep.
pub fn dekker() {
    use loom::sync::Arc;
    let pair = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let other = Arc::clone(&pair);
    let thread = loom::thread::spawn(move || {
        other[0].store(1, Ordering::SeqCst);
        other[1].load(Ordering::SeqCst)
    });
    pair[1].store(1, Ordering::SeqCst);
    let seen = pair[0].load(Ordering::SeqCst);
    assert!(seen + thread.join().expect("it returns") > 0);
}
