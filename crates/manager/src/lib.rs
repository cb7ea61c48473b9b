//! The manager's shell: drives the machine of `cluster` over a store and sockets, and speaks HTTP.
//!
//! ```text
//! control connections ─┐ requests                        ┌─ store thread: commits, loads
//! HTTP connections ────┴──────────► driver (one task) ───┤
//!                      ◄── answers  owns the machine     └─ log thread: lines to stderr
//! ```
//!
//! **Invariants**: one task owns the machine, and what it does between two waits is synchronous; nobody is
//! answered before the term is durable; every queue, wait and connection is bounded. There is no decision
//! about ownership here: those are all `cluster::Manager`'s.

mod control;
mod counters;
mod driver;
mod handle;
mod http;
mod limits;
mod listener;
mod log;
mod manager;
mod options;
mod state;
mod store_thread;

pub use log::Verbosity;
pub use manager::{Manager, ManagerError, StartError, StopHandle};
pub use options::{ManagerOptions, Storage};
pub use state::StateError;
