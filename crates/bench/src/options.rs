//! What a run does.

use std::time::Duration;

use crate::keys::Popularity;
use crate::sizes::{Sizes, Ttl};
use crate::target::Target;

/// A run. All fields count; there are no hidden defaults.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// The server.
    pub target: Target,
    /// How gets, sets and deletes are written.
    pub protocol: Protocol,
    /// Load threads.
    pub threads: u32,
    /// Connections over all threads, at least one a thread.
    pub connections: u32,
    /// Requests sent in one write, and awaited together.
    pub pipeline: u32,
    /// When the run ends.
    pub ending: Ending,
    /// Requests a second over all connections (open loop); `None`: as fast as answers come (closed loop).
    pub rate: Option<f64>,
    /// How many different keys.
    pub keys: u64,
    /// Length of keys. Fixed: `key-` and the number, padded; else the number to the base of 36, padded, and never
    /// shorter than it needs to be.
    pub key_size: Sizes,
    /// How often which key is asked for.
    pub popularity: Popularity,
    /// Length of the values.
    pub value_size: Sizes,
    /// What is asked for how often.
    pub mix: Mix,
    /// Keys of one multi-key get; 1: single gets.
    pub multiget: u32,
    /// exptime of sets.
    pub ttl: Ttl,
    /// Store every key once before the run.
    pub preload: bool,
    /// Seed of all choices.
    pub seed: u64,
    /// Processes whose CPU time is read before and after: the server's, on this machine.
    pub server_pids: Vec<u32>,
    /// Pin the load threads to this processor.
    pub cpu: Option<usize>,
}

/// Shares of the requests, 0 to 1; the rest are gets of the keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// Sets.
    pub sets: f64,
    /// Deletes.
    pub deletes: f64,
    /// Gets of keys that nobody stores.
    pub lone_gets: f64,
    /// A get that misses is followed by a set of its key, in the connection's next batch.
    pub set_on_miss: bool,
}

/// The protocol of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `get`, `set`, `delete`.
    Text,
    /// `mg`, `ms`, `md`.
    Meta,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// After this time.
    After(Duration),
    /// After this many requests.
    Requests(u64),
}
