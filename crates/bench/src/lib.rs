//! The load generator behind `doled bench`: works against any memcached server.
//!
//! Threads with connections of their own send batches (`pipeline` requests in one write) and time each batch from
//! its due moment to its last reply. In a closed loop a batch is due when the one before it is answered; in an open
//! loop batches are due at a fixed rate, whether or not the server keeps up, so that a stalled server cannot hide
//! its latency by slowing the load down (coordinated omission). A replay sends the requests of a trace instead, in
//! their order, over one connection.
//!
//! **Invariant**: what a run does is decided by its options and seed alone; nothing is retried.

mod cachebench;
mod connection;
mod keys;
pub mod limits;
mod options;
mod picture;
mod replay;
mod report;
mod request;
mod run;
mod server_cpu;
mod sizes;
mod target;
mod thread;
mod trace;
mod weighted;

pub use cachebench::{Cachebench, CachebenchError};
pub use keys::{KeyChooser, Popularity, PopularityBuckets};
pub use options::{BenchOptions, Ending, Mix, Protocol};
pub use picture::{latency_picture, latency_svg};
pub use replay::{ReplayOptions, ReplayReport, replay};
pub use report::{Latency, Report, Step};
pub use run::{BenchError, Progress, pin, run};
pub use server_cpu::read as server_cpu;
pub use sizes::{Histogram, Sizes, Ttl};
pub use target::{Stream, Target};
pub use trace::{TraceError, TraceFile, TraceFormat, TraceKey, TraceOp, TraceReader, TraceRequest};
pub use weighted::Weighted;
