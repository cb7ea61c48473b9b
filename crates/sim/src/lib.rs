//! A simulated cluster: the real machines of `cluster`, several nodes, one manager and its store, clients that
//! write versions, and everything that can go wrong between them, from one seed.
//!
//! A run is a list of events in the order of their time; nothing else moves. What the promise forbids is checked
//! while it runs (`ghosts`) and on the clients' history after it (`history`). Each seed draws its own weights for
//! every kind of fault, many of them zero: uniform weights find far less.
//!
//! **Invariants**: a run depends on its seed and its mutant only. Rules that live in a shell are broken in the
//! simulated shells; rules inside the machines by `cluster::rules`.

mod client;
mod clocks;
mod exec;
mod faults;
mod ghosts;
pub mod history;
mod manager;
mod mutant;
mod node;
mod world;

pub use mutant::Mutant;
pub use world::{Report, run};
