//! Every limit of the manager's shell, and what happens there.

use std::time::Duration;

/// Connections of all kinds at a time. Further ones wait in the listener's backlog until one ends.
pub(crate) const CONNECTIONS_MAX: usize = 8192;

/// How long a new connection may take to say its first byte; then it is closed.
pub(crate) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a control connection may take between an answer and the end of its next frame; then it is closed.
/// A node polls at least once a second, others connect again.
pub(crate) const FRAME_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a peer may take to read an answer; then its connection is closed.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes asked of a control connection's socket in one read.
pub(crate) const READ_CHUNK: usize = 16 << 10;

/// Bytes that a control connection may send ahead of the answer it waits for. It is read no further until
/// the answer is out.
pub(crate) const READ_AHEAD_MAX: usize = 64 << 10;

/// Pause after a failed accept (no file descriptors left, say), so that it is not tried in a busy loop.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Events waiting for the driver. Whoever has one more waits.
pub(crate) const EVENTS_WAITING_MAX: usize = 1024;

/// Events applied before their outputs are acted on.
pub(crate) const EVENTS_BATCH_MAX: usize = 256;

/// Jobs and results waiting between driver and store thread: the machine has one transaction and one reload out
/// at most.
pub(crate) const STORE_JOBS_MAX: usize = 2;

/// Log lines waiting for stderr. Further ones are dropped and counted: a stuck terminal must not stop leases.
pub(crate) const LOG_LINES_MAX: usize = 4096;

/// How long HTTP headers may take; then the connection is closed. Idle connections end by it, too.
pub(crate) const HTTP_HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an HTTP connection may last; then it is closed after the request that is being served. Ends those,
/// too, that never read their answers.
pub(crate) const HTTP_CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

/// Longest HTTP headers; longer ones are answered 431.
pub(crate) const HTTP_HEADER_BYTES_MAX: usize = 16 << 10;

/// Longest HTTP body; a longer one is answered 413.
pub(crate) const HTTP_BODY_BYTES_MAX: usize = 16 << 10;

/// How long a command over HTTP waits until it is durable; then it is answered 504 (and may still happen).
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a start waits until its term is durable; then it fails.
pub(crate) const LEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Shortest lease that is accepted: below it a busy machine loses leases by being busy.
pub(crate) const LEASE_MIN: Duration = Duration::from_millis(200);

/// How many held polls fit into a lease at least: with a short lease polls are held for less.
pub(crate) const HOLDS_IN_LEASE_MIN: u32 = 5;

/// Threads that serve connections.
pub(crate) const WORKER_THREADS: usize = 2;

const _: () = assert!(EVENTS_BATCH_MAX <= EVENTS_WAITING_MAX);
const _: () = assert!(COMMAND_TIMEOUT.as_secs() < HTTP_CONNECTION_TIMEOUT.as_secs());
const _: () = assert!(HTTP_HEADER_BYTES_MAX >= 8192, "hyper's least buffer");
