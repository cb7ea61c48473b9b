//! The store's named limits.

/// Longest key, as in memcached.
pub const KEY_LEN_MAX: usize = 250;

/// Bytes that memcached counts for an item besides key and value: a 48-byte header, 8 of CAS, the key's
/// terminator, 4 of client flags and the value's line end. `-I` limits the sum, so the same values fit here.
pub const MEMCACHED_ITEM_OVERHEAD: usize = 48 + 8 + 1 + 4 + 2;

/// Exptimes are kept in steps of this many milliseconds, rounded up: an item may live that much too long,
/// never too short. One that is past when it is set hides the item at once.
pub const EXPTIME_STEP_MS: u64 = 128;
