//! The proxy: memcached in, `route` in the middle, backends out, on `net` loops.
//!
//! Each worker is a loop with a router of its own and one pipelined connection to every backend. A client's requests
//! are answered in their order, whichever backends they went to. One more thread speaks with the managers: the first
//! map, and dirty reports.
//!
//! **Invariants**: a read never errs because of a backend, it misses. A write is answered as done only when a backend
//! said so. Whatever goes wrong on a backend's connection closes it, so no reply can reach another asker.

mod client;
mod control;
mod counters;
pub mod limits;
mod link;
pub mod options;
mod prepare;
mod proxy;
mod reports;
mod requests;
mod worker;

pub use options::{ProxyOptions, Target};
pub use proxy::{Proxy, StartError};
