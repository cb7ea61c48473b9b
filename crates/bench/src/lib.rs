//! The load generator behind `doled bench`: works against any memcached server.
//!
//! Threads with connections of their own send batches (`pipeline` requests in one write) and time each batch from
//! its due moment to its last reply. In a closed loop a batch is due when the one before it is answered; in an open
//! loop batches are due at a fixed rate, whether or not the server keeps up, so that a stalled server cannot hide
//! its latency by slowing the load down (coordinated omission).
//!
//! **Invariant**: what a run does is decided by its options and seed alone; nothing is retried.

mod connection;
mod keys;
pub mod limits;
mod options;
mod picture;
mod report;
mod run;
mod server_cpu;
mod thread;

pub use keys::Popularity;
pub use options::{BenchOptions, Ending, ValueSize};
pub use picture::latency_picture;
pub use report::{Latency, Report};
pub use run::{BenchError, Progress, run};
