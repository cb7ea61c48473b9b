//! The limits of what a peer may send, by name. Each says what happens to who exceeds it.

use crate::bucket::BUCKET_COUNT;

/// Longest key in bytes; a longer one refuses its command with `CLIENT_ERROR bad command line format`.
pub const KEY_LEN_MAX: usize = 250;

/// Longest line in bytes, without its end; a longer one closes the connection, unless it is a `get`, `gets`,
/// `gat` or `gats`. (memcached lets a longer line pass if it happens to come in one piece, and lets only `get`
/// and `gets` be longer if not. Here it does not matter how a line was cut on its way.)
pub const LINE_LEN_MAX: usize = 2048;

/// Longest line of the get family in bytes, about 4,000 keys of full length; a longer one is answered
/// `SERVER_ERROR out of memory reading request` and the connection closed. memcached has no limit here.
pub const GET_LINE_LEN_MAX: usize = 1 << 20;

/// Most leading spaces looked through to recognise a long `get` line; with more the connection is closed.
pub const LEADING_SPACES_MAX: usize = 100;

/// Fewest bytes of a line with its end; a shorter one is refused (`CLIENT_ERROR bad command line format`).
pub const LINE_LEN_MIN: usize = 4;

/// Largest length argument of a data block; beyond it the command is refused and the data not swallowed.
pub const VALUE_LEN_MAX: usize = i32::MAX as usize - 2;

/// Most words of a meta command, its name and key among them; with more it is refused
/// (`CLIENT_ERROR options flags are too long`).
pub const META_TOKENS_MAX: usize = 20;

/// Longest opaque of a meta command with its `O`, in bytes; a longer one refuses its command
/// (`CLIENT_ERROR opaque token too long`).
pub const META_OPAQUE_LEN_MAX: usize = 32;

/// Longest `lru_crawler sleep`, in microseconds; a longer one is refused
/// (`CLIENT_ERROR sleep must be one second or less`).
pub const CRAWLER_SLEEP_MAX_US: u64 = 1_000_000;

/// Highest slab class that `slabs reassign` may name.
pub const SLAB_CLASS_MAX: i64 = 63;

/// Highest slab class that `lru_crawler` may name; one above it is refused (`BADCLASS invalid class id`).
pub const CRAWLER_CLASS_MAX: u64 = 63;

/// Longest UDP datagram that is sent, with its head: what a packet of an ordinary network holds. Longer messages are
/// cut. Received ones may be as long as UDP allows.
pub const DATAGRAM_LEN_MAX: usize = 1400;

/// Most datagrams of one message over UDP, as many as its numbers count, about 90 MB; a longer one is not sent.
pub const MESSAGE_DATAGRAMS_MAX: usize = u16::MAX as usize;

/// Longest line of a reply in bytes; a backend that sends a longer one is disconnected.
pub const REPLY_LINE_LEN_MAX: usize = 4096;

/// Largest value that a backend may announce, memcached's largest `-I`; one that announces more is disconnected.
/// Who buffers replies has a tighter limit of its own.
pub const REPLY_VALUE_LEN_MAX: usize = 1 << 30;

/// Longest reply to `stats` in bytes, as long as memcached's longest (`cachedump`); a backend that sends more
/// is disconnected.
pub const STATS_REPLY_LEN_MAX: usize = 2 << 20;

/// Longest control frame behind its length field. A longer one ends the connection. Holds the map of a cluster
/// in which every bucket is a run of its own.
pub const CONTROL_FRAME_LEN_MAX: usize = 8 << 20;

/// Longest frame of a control message that carries no list and no map; as for [`CONTROL_FRAME_LEN_MAX`].
pub const CONTROL_SMALL_FRAME_LEN_MAX: usize = 2048;

/// Most runs in a poll's list of what the node owns; a longer list ends the connection.
pub const OWNED_RUNS_MAX: usize = BUCKET_COUNT;

/// Most changes in one reply, a revoke and a grant for every bucket; a longer list ends the connection.
pub const CHANGES_MAX: usize = 2 * BUCKET_COUNT;

/// Longest map text in a control message, in bytes; a longer one ends the connection.
pub const MAP_TEXT_LEN_MAX: usize = 6 << 20;

/// Longest `host:port`, in bytes; a longer one ends the connection. (A DNS name has at most 253.)
pub const ADDRESS_LEN_MAX: usize = 260;

/// Longest text of a refusal, in bytes; what is longer is cut when it is sent.
pub const REFUSED_TEXT_LEN_MAX: usize = 1024;

const _: () = assert!(REFUSED_TEXT_LEN_MAX + ADDRESS_LEN_MAX < CONTROL_SMALL_FRAME_LEN_MAX, "texts fit");
const _: () = assert!(
    MAP_TEXT_LEN_MAX + CHANGES_MAX * 24 < CONTROL_FRAME_LEN_MAX,
    "the largest map and the longest list of changes fit one reply"
);
const _: () = assert!(KEY_LEN_MAX < LINE_LEN_MAX, "a command with one key must fit a short line");
const _: () = assert!(LINE_LEN_MAX < GET_LINE_LEN_MAX, "get lines are the longer ones");
