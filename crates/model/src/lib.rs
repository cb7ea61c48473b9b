//! The lock-free parts of the product under loom: the same files, compiled with loom's atomics.
//!
//! Loom runs a model's threads in every order that matters, and gives a load every value that the memory model
//! allows. The tests of this crate are the models; each is also run with mutants (an ordering weakened, a step
//! dropped or swapped), which it must find, so that a green model means something.

#[path = "../../server/src/managed/lease_cell.rs"]
pub mod lease_cell;
#[path = "../../store/src/readers.rs"]
mod readers;
#[path = "../../store/src/rights.rs"]
mod rights;
mod sync;

pub mod lease;
pub mod memory;
pub mod run;
pub mod wipe;

/// The store's limits, as small as a model needs them.
mod limits {
    /// Slots for readers.
    pub(crate) const READER_SLOT_COUNT: usize = 2;
}
