//! The routing core's named limits.

use std::time::Duration;

/// How often one request is sent at most; beyond, it is answered as if its time were over.
pub const ATTEMPTS_MAX: u8 = 16;

/// How long a request that was refused waits at first before it is tried again without a newer map.
pub const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// That pause doubles after so many attempts, so that all of them last longer than the usual budget of a write: a
/// delete that gives up early is a dirty report too many.
pub const ATTEMPTS_PER_PAUSE: u8 = 3;

/// Replies awaited on one connection; a request beyond is treated as not sent.
pub const PIPELINE_MAX: usize = 64 << 10;

/// Servers of a static pool.
pub const POOL_SERVERS_MAX: usize = 4096;

/// Least time between two questions for a newer map, whoever needs it.
pub const REFRESH_PAUSE_MIN: Duration = Duration::from_millis(10);

/// That time doubles up to this while a newer map is needed and there is none, or nobody answers: a bucket may be
/// without an owner for longer than a lease.
pub const REFRESH_PAUSE_MAX: Duration = Duration::from_millis(80);

/// Longest time without a question for the map: it must be confirmed well within a lease.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Without an answer about the map for so long, everything is a miss: the length of a lease (T2 of the promise).
pub const MAP_UNCONFIRMED_MAX: Duration = Duration::from_secs(10);

const _: () = assert!(REFRESH_INTERVAL.as_millis() * 5 < MAP_UNCONFIRMED_MAX.as_millis(), "a few may fail");
