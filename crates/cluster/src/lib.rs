//! The map, the ownership state machines of node and manager, placement: the promise as code.
//!
//! Everything here is pure: input goes in by `handle_*`, output comes out as data, time and randomness are
//! arguments. Names and order follow the promise ("Node", "Manager"); each rule cites its line there.
//!
//! **Invariants**: no I/O, no clock, no threads, no global, no randomly seeded map; what a peer sent is never
//! asserted on; nothing is granted before the change that grants it is durable.

pub mod lease;
pub mod limits;
pub mod manager;
pub mod map;
pub mod node;
pub mod placement;
pub mod record;
pub mod rules;
pub mod state;

pub use lease::Lease;
pub use manager::Manager;
pub use map::Map;
pub use node::Node;
pub use state::State;
