//! The proxy's named limits.

use std::time::Duration;

/// Requests of one client that may be unanswered, each key of a get being one; with more, none is begun until some are
/// answered.
pub const CLIENT_REQUESTS_MAX: usize = 1024;

/// With fewer unanswered requests than this, a client that was held back is read again.
pub const CLIENT_REQUESTS_LOW: usize = 256;

/// Bytes that one client's requests and answers may be expected to take here; with more, no request is begun for it
/// until some are answered.
pub const CLIENT_BYTES_HIGH: usize = 4 << 20;

/// Bytes of answers that one client may have waiting; a value that comes beyond is a miss for it. Reached only when
/// values are much longer than those before them.
pub const CLIENT_BYTES_MAX: usize = 64 << 20;

/// How long answers are taken to be before the first has come.
pub const ANSWER_LEN_GUESS: usize = 64 << 10;

/// Largest value that is passed on. A longer data block is swallowed and answered as too large, and a `set` deletes
/// the key, as memcached does.
pub const VALUE_LEN_MAX: usize = 1 << 20;

/// Bytes waiting to be sent to one backend by one worker; with more, a request counts as not sent: a read misses, a
/// write is tried again.
pub const LINK_OUTPUT_MAX: usize = 64 << 20;

/// Buffers of requests that a worker keeps for reuse.
pub const SPARE_BUFFERS: usize = 1024;

/// Larger buffers are given back to the allocator.
pub const SPARE_BUFFER_LEN: usize = 16 << 10;

/// Dirty reports waiting to be sent; beyond, a delete is answered as unknown at once.
pub const REPORTS_MAX: usize = 4096;

/// Dirty reports that are out at the same time, each with a thread; the others wait, those of one bucket together.
pub const REPORTS_AT_ONCE: usize = 64;

/// Waiting for the report of one bucket, more than these are looked through for those that have given up.
pub const WAITERS_SLACK: usize = 64;

/// How long a client waits for a dirty report of its delete; after that the outcome is unknown to it, and the report
/// goes on.
pub const REPORT_WAIT: Duration = Duration::from_secs(2);

/// How long a manager may take to accept a connection, or to send the map.
pub const MANAGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a manager may take to fence a bucket: longer than any lease that is in use (10 s and its margin).
pub const FENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the address of a backend's name is believed; a connection that is opened later asks again.
pub const NAME_TTL: Duration = Duration::from_secs(5);

/// Pause after no manager could be reached.
pub const MANAGER_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a reply from the manager: one map and what surrounds it.
pub const MANAGER_REPLY_MAX: usize = proto::limits::CONTROL_FRAME_LEN_MAX + 64;

const _: () = assert!(CLIENT_REQUESTS_LOW < CLIENT_REQUESTS_MAX);
const _: () = assert!(CLIENT_BYTES_HIGH + VALUE_LEN_MAX < CLIENT_BYTES_MAX);
