//! The node's named limits.

use std::time::Duration;

/// Requests of one connection handled in one turn of its loop, unless `-R` says otherwise; the rest waits for
/// the next turn.
pub const REQUESTS_PER_TURN: usize = 256;

/// Keys of received commands that are looked ahead at before the first of them is executed; those behind them
/// come in the next batch. Their cache lines, at most six each, have to stay in the fastest cache until then.
pub const KEYS_AHEAD_MAX: usize = 32;

/// Buckets of a dump looked at in one turn of its connection's loop; the rest waits for the next turn.
pub const DUMP_BUCKETS_PER_TURN: usize = 1024;

/// `stats cachedump` ends behind the line that reaches so many bytes, as in memcached.
pub const CACHEDUMP_LEN_MAX: usize = 2 << 20;

/// `stats cachedump` takes classes below this, memcached's number of them.
pub const SLAB_CLASSES: u32 = 64;

/// Key prefixes that `stats detail` counts; what more there are is not counted, until `stats reset`.
pub const PREFIXES_MAX: usize = 4096;

/// Watching connections at the same time, as in memcached; one more is refused (`WATCHER_TOO_MANY`).
pub const WATCHERS_MAX: usize = 20;

/// Room that a watcher's queue keeps for the line which says how many lines were skipped.
pub const WATCH_SKIPPED_LEN_MAX: usize = 32;

/// Of a longer command or reply, `-vv` writes only the beginning to standard error.
pub const VERBOSE_LINE_LEN_MAX: usize = 2048;

/// `verbosity` takes everything above as this.
pub const VERBOSITY_MAX: u64 = 2;

/// `cache_memlimit` below this many MiB is refused.
pub const MEMORY_MIN_MIB: u64 = 8;

/// `cache_memlimit` above this many MiB is taken for a number of bytes and refused.
pub const MEMORY_MAX_MIB: u64 = 1 << 30;

/// Requests of one UDP datagram that are carried out, memcached's turn (`-R`); what is behind them is dropped.
pub const DATAGRAM_REQUESTS_MAX: usize = 20;

/// Bytes of requests that are read for one UDP datagram, in which a request with many keys counts again after each of
/// its values; then the rest is dropped. All keys that fit a packet of an ordinary network are answered.
pub const DATAGRAM_READ_LEN: usize = 1 << 20;

/// Once the messages that answer one UDP datagram have this many bytes together, its requests are dropped. A single
/// message may be longer.
pub const DATAGRAM_REPLY_LEN: usize = 1 << 20;

/// Longest SASL message in bytes; a longer one is refused (`Invalid arguments`) and swallowed. Holds the longest
/// user twice and the longest password.
pub const SASL_MESSAGE_LEN_MAX: usize = 1024;

/// Longest user or password in bytes; a node with a longer one does not start, and who shows one is refused.
pub const CREDENTIAL_LEN_MAX: usize = 255;

/// Most users of a node, since each attempt is compared with all; with more it does not start.
pub const CREDENTIALS_MAX: usize = 64;

/// How far `debugtime` moves the time, in seconds, all its uses together; one that leads further is refused.
pub const DEBUG_TIME_MAX_S: u64 = 10 * 365 * 24 * 60 * 60;

/// Most users of an auth file (`-Y`), as in memcached; a file with more is refused.
pub const AUTH_USERS_MAX: usize = 8;

/// Longest line `user:pass` of an auth file, in bytes; a file with a longer one is refused.
pub const AUTH_LINE_LEN_MAX: usize = 255;

/// Longest auth file in bytes, with room for empty lines; a longer one is refused.
pub const AUTH_FILE_LEN_MAX: u64 = 4096;

/// Longest `user pass` that a connection may announce, in bytes; who announces a longer one is refused
/// (`CLIENT_ERROR auth token too long`) and disconnected.
pub const AUTH_TOKEN_LEN_MAX: usize = 512;

/// Longest file of certificates or keys in bytes; a longer one is refused.
pub const TLS_FILE_LEN_MAX: u64 = 1 << 20;

/// TLS sessions that clients can go on with (`-o ssl_session_cache`), for each rule of client certificates; the oldest
/// make room.
pub const TLS_SESSIONS_MAX: usize = 4096;

/// Items are written to a memory file (`-e`) when their bytes sum up to this; the last one may exceed it.
pub const MEMORY_FILE_FRAME_LEN: usize = 1 << 20;

/// How long a stopping node writes items to its memory file; the rest is lost. What was used most comes first.
pub const MEMORY_FILE_WRITE_BUDGET: Duration = Duration::from_secs(60);

/// Longest list of nodes for auto-discovery, in bytes, in a file or not; a longer one is refused.
pub const DISCOVERY_LEN_MAX: u64 = 64 << 10;

/// A creating command whose deadline is further ahead is refused as expired: its number belongs to another
/// life of the node, since no client waits so long.
pub const DEADLINE_AHEAD_MAX: Duration = Duration::from_secs(600);

/// A command may collect this much memory for its data block before a byte of it has come; a longer block's
/// memory grows with what comes.
pub const BLOCK_RESERVE_MAX: usize = 1 << 20;

/// Buffers of data blocks from this length on are kept for the next ones.
pub const LONG_BLOCK_LEN: usize = 64 << 10;

/// Their capacity together; what would exceed it is freed.
pub const SPARE_BLOCKS_LEN_MAX: usize = 5 << 19;

/// How long a manager may take to accept a connection.
pub const CONTROL_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a manager may take for a reply: it holds a poll for at most a second. Then another is tried.
pub const CONTROL_REPLY_TIMEOUT: Duration = Duration::from_secs(3);

/// The same with the shortest leases: two fifths of the lease, but not less than this.
pub const CONTROL_REPLY_TIMEOUT_MIN: Duration = Duration::from_millis(300);

/// First and longest pause between attempts to reach a manager; doubled after each failure in a row.
pub const CONTROL_BACKOFF_MIN: Duration = Duration::from_millis(20);
/// See [`CONTROL_BACKOFF_MIN`].
pub const CONTROL_BACKOFF_MAX: Duration = Duration::from_millis(500);

/// A reply without news that comes sooner than this is followed by a pause of the same length: a manager that
/// does not hold polls must not make a node spin.
pub const POLL_INTERVAL_MIN: Duration = Duration::from_millis(5);

/// How long a stopping node tries to give its buckets back before it just ends; its lease then runs out, or
/// its guardian's word is taken.
pub const RELEASE_BUDGET: Duration = Duration::from_secs(2);

/// How long a guardian reports a death: after the waiting time W the managers need no word any more.
pub const DEATH_REPORT_BUDGET: Duration = Duration::from_secs(15);

/// As [`DEATH_REPORT_BUDGET`], after an orderly end, which the node has reported itself.
pub const RELEASED_REPORT_BUDGET: Duration = Duration::from_secs(1);

/// Pause between a guardian's attempts.
pub const DEATH_REPORT_PAUSE: Duration = Duration::from_millis(50);

const _: () = assert!(AUTH_LINE_LEN_MAX <= CREDENTIAL_LEN_MAX && AUTH_LINE_LEN_MAX <= AUTH_TOKEN_LEN_MAX);
const _: () = assert!(AUTH_USERS_MAX <= CREDENTIALS_MAX);
const _: () = assert!(3 * CREDENTIAL_LEN_MAX + 2 <= SASL_MESSAGE_LEN_MAX);
const _: () = assert!(
    PREFIXES_MAX * 384 < proto::limits::STATS_REPLY_LEN_MAX,
    "a line has a prefix of less than 250 bytes and four numbers of at most 20"
);
const _: () = assert!(CONTROL_BACKOFF_MIN.as_nanos() < CONTROL_BACKOFF_MAX.as_nanos());
const _: () = assert!(CONTROL_REPLY_TIMEOUT.as_nanos() > cluster::limits::POLL_HOLD.as_nanos());
