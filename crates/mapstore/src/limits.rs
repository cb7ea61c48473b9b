//! Every limit of the stores, and what happens there.

/// Longest key of a record, in bytes; a longer one is refused, nothing is changed.
pub const KEY_LEN_MAX: usize = 512;

/// Most records that one change may write; more are refused, nothing is changed.
pub const TXN_WRITES_MAX: usize = 65_536;

/// Most bytes (keys and values together) of one change; more are refused, nothing is changed. The whole map of
/// 32,768 buckets is below 2 MiB.
pub const TXN_BYTES_MAX: usize = 64 << 20;

/// Largest state file that is opened; a larger one is refused. It is read into memory once, to be checked
/// before anything writes to it.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;

/// Memory that the embedded engine may use as its cache. It slows down beyond; the state is far smaller.
pub(crate) const CACHE_BYTES: usize = 16 << 20;

const _: () = assert!(TXN_BYTES_MAX as u64 <= FILE_BYTES_MAX / 4);
const _: () = assert!(KEY_LEN_MAX < TXN_BYTES_MAX);
