//! What a run does.

use std::net::SocketAddr;
use std::time::Duration;

use crate::keys::Popularity;

/// A run. All fields count; there are no hidden defaults.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// The server.
    pub address: SocketAddr,
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
    /// Length of a key in bytes; keys are padded to it.
    pub key_len: usize,
    /// How often which key is asked for.
    pub popularity: Popularity,
    /// Length of the values.
    pub value_size: ValueSize,
    /// Share of sets among the requests, 0 to 1; the rest are gets.
    pub set_share: f64,
    /// Keys of one multi-key get; 1: single gets.
    pub multiget: u32,
    /// exptime of sets, seconds; 0: never.
    pub exptime_s: u32,
    /// Store every key once before the run.
    pub preload: bool,
    /// Seed of all choices.
    pub seed: u64,
    /// Processes whose CPU time is read before and after: the server's, on this machine.
    pub server_pids: Vec<u32>,
    /// Pin the load threads to this processor.
    pub cpu: Option<usize>,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// After this time.
    After(Duration),
    /// After this many requests.
    Requests(u64),
}

/// The length of values.
#[derive(Clone, Copy, Debug)]
pub enum ValueSize {
    /// All the same.
    Fixed(usize),
    /// Evenly from the first to the last, chosen by the key, so that a key keeps its size.
    Range(usize, usize),
}

impl ValueSize {
    /// The length of the value of a key.
    pub(crate) fn of(self, key: u64) -> usize {
        match self {
            Self::Fixed(len) => len,
            Self::Range(from, to) => {
                let span = to.saturating_sub(from) as u64 + 1;
                from + (stdx::Prng::new(key).below(span)) as usize
            }
        }
    }

    /// The longest one.
    pub(crate) fn max(self) -> usize {
        match self {
            Self::Fixed(len) => len,
            Self::Range(_, to) => to,
        }
    }
}
