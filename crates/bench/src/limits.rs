//! The load generator's named limits.

use std::time::Duration;

/// Requests in one write; larger batches would need more than the socket buffers hold.
pub const PIPELINE_MAX: u32 = 1024;

/// Connections of one run.
pub const CONNECTIONS_MAX: u32 = 50_000;

/// Highest latency that the histogram tells apart; longer ones count as this.
pub const LATENCY_MAX: Duration = Duration::from_secs(60);

/// A run whose server stays silent for this long ends with an error.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Bytes read from a connection at once.
pub const READ_SIZE: usize = 256 << 10;

/// Keys stored before a run in one pipeline of each thread.
pub const PRELOAD_BATCH: u32 = 64;

/// Keys that are stored before a run at most; a run with more must say that it starts with an empty cache.
pub const PRELOAD_KEYS_MAX: u64 = 100_000_000;

/// Different keys that lone gets ask for, past those of the run; a repetition does no harm, nobody stores them.
pub const LONE_KEYS: u64 = 1 << 40;

/// Values sent at most; longer ones of a histogram are shortened to it, since memcached's default `-I` refuses them.
pub const HISTOGRAM_VALUE_MAX: usize = (1 << 20) - 1024;

/// Bytes of sets that a replay writes before it awaits their replies.
pub const REPLAY_OUTPUT_MAX: usize = 1 << 20;

/// Keys of one get of a replay.
pub const REPLAY_BATCH_MAX: u32 = 100;

/// Bytes of a line of a text trace; a longer one ends the replay with an error.
pub const TRACE_LINE_MAX: u64 = 4096;
