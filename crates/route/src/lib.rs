//! From a key to the backend that answers for it, and what happens when that fails.
//!
//! A [`Router`] holds what its owner (a proxy's loop, or the client) knows: the map of a managed cluster or a static
//! pool, and the health of every backend. Each request is an [`Op`] that the owner keeps; the router says the next
//! [`Step`] for it: send it somewhere, park it, report its bucket dirty, or answer without the backend's word.
//! Replies that are not failures never come here: the owner passes them on.
//!
//! **Invariants**: no I/O, no clock, no spawned work: `now` and the seed are arguments. Health never changes where a
//! key lives. A write that may have happened is never sent again, unless it is a delete.

pub mod clock_sample;
pub mod health;
pub mod ketama;
pub mod limits;
pub mod op;
pub mod options;
pub mod pipeline;
pub mod refresh;
pub mod router;

pub use clock_sample::ClockSample;
pub use health::{Health, HealthState};
pub use ketama::Ketama;
pub use op::{Class, Failure, Op, Outcome, Step};
pub use options::RouteOptions;
pub use pipeline::{Pipeline, PipelineFull, Replied};
pub use refresh::Refresh;
pub use router::{BackendId, BackendView, MapChange, PoolError, Router};
