//! The store's named limits.

/// Longest key, as in memcached.
pub const KEY_LEN_MAX: usize = 250;

/// Bytes that memcached counts for an item besides key and value: a 48-byte header, 8 of CAS, the key's
/// terminator, 4 of client flags and the value's line end. `-I` limits the sum, so the same values fit here.
pub const MEMCACHED_ITEM_OVERHEAD: usize = 48 + 8 + 1 + 4 + 2;

/// Exptimes are kept in steps of this many milliseconds, rounded up: an item may live that much too long,
/// never too short. One that is past when it is set hides the item at once; one further away than 2^32 steps
/// (17 years) comes to lie there.
pub const EXPTIME_STEP_MS: u64 = 128;

/// The arena takes address space in chunks of this size, when the first segment of one is used.
pub(crate) const CHUNK_LEN: usize = 64 << 20;

/// Memory beyond so many chunks (256 GiB) is not used, whatever the limit says: a place has 36 bits.
pub(crate) const CHUNK_COUNT: usize = 4095;

/// Readers at one moment; more wait for a free slot. A power of two.
pub(crate) const READER_SLOT_COUNT: usize = 64;

/// Lanes at most: each has open segments of its own.
pub(crate) const LANE_COUNT_MAX: usize = 16;

/// One lane for so many segments; below twice that, all writers share one.
pub(crate) const SEGMENTS_PER_LANE: u64 = 512;

/// Below so many segments, items of all lifetimes share segments.
pub(crate) const SEGMENTS_FOR_CLASSES: u64 = 128;

/// Segments looked at for one whose items are expired or mostly dead, each time that room is wanted. The next
/// look goes on behind them.
pub(crate) const SCAN_WINDOW: usize = 1024;

/// Shares of dead bytes are given in so many parts of a segment.
pub(crate) const DEAD_PARTS: u32 = 24;

/// A segment is cleaned before anything is evicted when this much of it is dead.
pub(crate) const CLEAN_SHARE: u32 = 2;

/// The same where nothing may be evicted.
pub(crate) const CLEAN_SHARE_NO_EVICT: u32 = 1;

/// The same for the small queue while it is short: its order matters more than its holes.
pub(crate) const CLEAN_SHARE_SHORT: u32 = 12;

/// A segment is cleaned before new memory is touched when this much of it is dead: then a few items that are
/// overwritten all the time stay in little memory (some three times their size), and little has to be copied.
pub(crate) const CLEAN_SHARE_EARLY: u32 = 21;

/// Memory of large values that are gone is kept for the next ones up to this much, and a sixteenth of all.
pub(crate) const SPARE_BLOCKS_MAX: u64 = 8 << 20;

/// Tries for the lock of a bucket whose item is in the way; then the item stays for this time.
pub(crate) const LOCK_TRIES: usize = 200;

/// When so much waits for readers, a writer that needs room waits too instead of evicting more.
pub(crate) const RETIRED_ENOUGH: usize = 32;

/// Times that a writer waits for readers while everything free is theirs (about two seconds); then it answers
/// "out of memory".
pub(crate) const READER_WAITS_MAX: u32 = 20_000;

/// The first so many of these only let others run; the rest last [`READER_WAIT`] each.
pub(crate) const READER_YIELDS: u32 = 200;
pub(crate) const READER_WAIT: std::time::Duration = std::time::Duration::from_micros(50);

/// Milliseconds between two searches of all memory for expired items, where nothing may be evicted.
pub(crate) const SWEEP_PAUSE_MS: u64 = 1000;

/// A bucket's lines are not made more when fewer than one in so many slots would be used: its keys collide on
/// purpose then, and one of them goes.
pub(crate) const SPARSE_LINES: usize = 4;

/// Evicted items that are remembered until somebody takes their list; more are only counted.
pub const EVICTED_COUNT_MAX: usize = 4096;

const _: () = assert!((CHUNK_COUNT as u64 * CHUNK_LEN as u64) / 4 < 1 << 36, "a place fits into 36 bits");

/// Streams of one bucket at one moment; more are refused.
pub const EXPORTS_MAX: usize = 4;

/// Changed keys that wait for the reader of a stream; with one more the stream is given up.
pub const EXPORT_CHANGES_MAX: usize = 1024;

/// Items that a step of a stream asks for before it reads the first of them.
pub(crate) const EXPORT_ITEMS_AHEAD: usize = 256;

/// Write sequence numbers from elsewhere above this are not taken over: as many are left to a bucket's own writes.
pub(crate) const FOREIGN_SEQ_MAX: u64 = (1 << 47) - 1;

/// So many cache lines of an item are prefetched: key and value of the usual small one, which is 130 bytes long
/// and begins anywhere in a line.
pub(crate) const ITEM_LINES_AHEAD: u64 = 3;

/// Shares of the segments are counted in parts of this.
pub(crate) const SHARE_WHOLE: u64 = 1 << 32;

/// The small queue's share of the segments at first, and where it ends up between as the keys that come back
/// after their eviction say.
pub(crate) const SMALL_SHARE_START: u64 = SHARE_WHOLE / 10;
pub(crate) const SMALL_SHARE_MIN: u64 = SHARE_WHOLE / 32;
pub(crate) const SMALL_SHARE_MAX: u64 = SHARE_WHOLE / 2;

/// How far all items together would move that share, if all came back from the small queue's ghosts.
pub(crate) const SMALL_SHARE_STEP: u64 = 3 * SHARE_WHOLE;

/// Uses of an item count once one in so many of the segments came after its own in the same queue: a key that is
/// asked for again at once is one use, not two.
pub(crate) const YOUNG_SHARE: usize = 20;
