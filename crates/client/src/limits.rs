//! The client's named limits.

use std::time::Duration;

/// Calls that wait to be taken by the routing task; more callers wait for room.
pub const CALLS_QUEUED_MAX: usize = 1024;

/// Calls on their way; beyond, no more are taken, and callers wait.
pub const CALLS_MAX: usize = 64 << 10;

/// Bytes waiting to be written to one server; with more, a request counts as not sent.
pub const LINK_OUTPUT_MAX: usize = 4 << 20;

/// News from sockets and managers that wait for the routing task; more tasks wait for room.
pub const EVENTS_QUEUED_MAX: usize = 256;

/// Events handled before their effects are sent on together.
pub const EVENTS_PER_TURN: usize = 256;

/// Bytes taken from a socket at once.
pub const READ_CHUNK: usize = 64 << 10;

/// How many dead timers may be kept per living call, and besides, before they are swept out.
pub const TIMERS_SLACK: usize = 4096;

/// How long [`crate::Client::managed`] waits for a first map.
pub const START_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a manager may take to accept a connection and send the map.
pub const MANAGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a manager may take to fence a bucket: longer than any lease in use (10 s and its margin).
pub const FENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a delete waits for the acknowledgement of its dirty report; after that its outcome is unknown to the
/// caller, and the report goes on.
pub const REPORT_WAIT: Duration = Duration::from_secs(2);

/// Dirty reports that are out at the same time; the others wait, those of one bucket together. Many, since each may
/// take as long as the lease of a lost node.
pub const REPORTS_AT_ONCE: usize = 64;

/// Calls that wait for the report of one bucket, beyond which those are looked for that have been answered.
pub const REPORT_CALLS_SLACK: usize = 64;

/// First and longest pause before a dirty report is made again.
pub const REPORT_PAUSE_MIN: Duration = Duration::from_millis(50);
/// See [`REPORT_PAUSE_MIN`].
pub const REPORT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a connection must have stood to be opened again at once when its server ends it; one that stood for less
/// is opened when it is needed.
pub const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// Text of a server's refusal that is passed on in an error, in bytes; what is longer is cut.
pub const REFUSAL_TEXT_MAX: usize = 256;

const _: () = assert!(REPORT_PAUSE_MIN.as_nanos() < REPORT_PAUSE_MAX.as_nanos());
const _: () =
    assert!(MANAGER_TIMEOUT.as_nanos() < START_TIMEOUT.as_nanos(), "a second manager must get its turn");
