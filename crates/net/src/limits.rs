//! The loop's named limits.

use std::time::Duration;

/// The receive buffer shared by all connections of a loop, and so the most that one read takes.
pub const RECEIVE_BUFFER_LEN: usize = 64 << 10;

/// Unconsumed input longer than this is read behind where it is kept, instead of being moved to the shared
/// buffer for each read.
pub const SHORT_KEPT_LEN: usize = 16 << 10;

/// A connection whose app wants more although this much is unconsumed is closed
/// ([`crate::CloseReason::Overflow`]). An app has tighter limits of its own for all but its longest lines.
pub const INPUT_MAX: usize = (1 << 20) + RECEIVE_BUFFER_LEN;

/// A connection with this much unsent output is not read from, and its app should stop consuming input.
/// What a connection can hold is this twice plus one reply.
pub const OUTPUT_HIGH: usize = 64 << 10;

/// Below this much unsent output a connection is read from again.
pub const OUTPUT_LOW: usize = 16 << 10;

/// Events taken from the kernel in one turn; the rest comes with the next.
pub const EVENTS_PER_TURN: usize = 128;

/// Posts (messages and new connections) waiting for one loop; beyond, the poster is told so.
pub const MAILBOX_LEN: usize = 16 << 10;

/// Reads of one connection in a turn at most, as long as each fills the loop's buffer and nothing is answered: half a
/// megabyte of a long value, which takes less time than the turn of a busy loop.
pub const READS_PER_EVENT: usize = 8;

/// Spare buffers that a loop keeps for connections that have something to send or an unfinished line.
pub const POOL_COUNT: usize = 128;

/// Their capacity together; what would exceed it goes back to the allocator. Room for a reply with a value of the
/// usual largest size, whose pages would otherwise be cleared by the kernel for each such reply.
pub const POOL_LEN_MAX: usize = 5 << 18;

/// Size of a fresh buffer.
pub const FRESH_BUFFER_LEN: usize = 2 << 10;

/// How long accepting pauses when the process or the machine is out of descriptors or memory, or when there are
/// as many connections as may be and others wait for their end.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(10);

/// Connections accepted from one listener before the others are looked at.
pub const ACCEPTS_PER_EVENT: usize = 64;

/// Longest datagram that is received: the most that UDP carries.
pub const DATAGRAM_RECEIVE_LEN: usize = 64 << 10;

/// Datagrams received from one socket before the others are looked at.
pub const DATAGRAMS_PER_EVENT: usize = 64;

/// How long a datagram waits for room in the kernel; then it is dropped, as the network may do with any.
pub const DATAGRAM_SEND_MAX: Duration = Duration::from_millis(100);

/// How often a loop looks for idle connections, when there is an idle time-out.
pub const IDLE_SWEEP: Duration = Duration::from_secs(1);

/// How long a stopping loop waits for its connections to take what they were sent.
pub const DRAIN_MAX: Duration = Duration::from_secs(1);

/// A TLS connection whose handshake is not done after this long is closed, as soon as the next look at idle
/// connections ([`IDLE_SWEEP`]) finds it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Steps of TLS handshakes that a loop does in one turn; the rest waits, in order. One is up to about a millisecond of
/// computing, by which the other connections of the loop are late at most.
pub const HANDSHAKE_STEPS_PER_TURN: usize = 1;

/// Output encrypted at a time for a TLS connection. Whoever does not read makes this much ciphertext wait at most; the
/// rest waits as plain output does.
pub const TLS_SEAL_LEN: usize = 32 << 10;

/// How often that is done for one connection in one turn, while its socket takes it all.
pub const TLS_SEALS_PER_TURN: usize = 8;

/// The ciphertext buffer shared by all TLS connections of a loop, and so the most that is read of one at a time. A
/// handshake message that does not fit is refused ([`crate::TlsFault::TooLong`]).
pub const TLS_SCRATCH_LEN: usize = 64 << 10;

/// The longest TLS record with its header.
pub const TLS_RECORD_LEN_MAX: usize = 5 + (16 << 10) + 2048;

const _: () = assert!(TLS_SEAL_LEN * 2 <= TLS_SCRATCH_LEN);
const _: () = assert!(
    TLS_RECORD_LEN_MAX <= RECEIVE_BUFFER_LEN - SHORT_KEPT_LEN && TLS_RECORD_LEN_MAX <= TLS_SCRATCH_LEN
);
const _: () = assert!(SHORT_KEPT_LEN < RECEIVE_BUFFER_LEN);
const _: () = assert!(OUTPUT_LOW < OUTPUT_HIGH);
const _: () = assert!(FRESH_BUFFER_LEN <= POOL_LEN_MAX);
const _: () = assert!(MAILBOX_LEN >= ACCEPTS_PER_EVENT);
