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
