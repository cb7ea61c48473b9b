//! The limits of what a peer may send, by name. Each says what happens to who exceeds it.

/// Longest key in bytes; a longer one refuses its command with `CLIENT_ERROR bad command line format`.
pub const KEY_LEN_MAX: usize = 250;

/// Most bytes a connection may buffer without a line end; beyond it the connection is closed, unless the line
/// is a `get` or `gets`.
pub const OPEN_LINE_LEN_MAX: usize = 2048;

/// Longest `get` or `gets` line in bytes, about 4,000 keys of full length; a longer one is answered
/// `SERVER_ERROR out of memory reading request` and the connection closed. memcached has no limit here.
pub const GET_LINE_LEN_MAX: usize = 1 << 20;

/// Most leading spaces looked through to recognise an unfinished `get` line; with more the connection is closed.
pub const LEADING_SPACES_MAX: usize = 100;

/// Fewest bytes of a line with its end; a shorter one is refused (`CLIENT_ERROR bad command line format`).
pub const LINE_LEN_MIN: usize = 4;

/// Largest length argument of a data block; beyond it the command is refused and the data not swallowed.
pub const VALUE_LEN_MAX: usize = i32::MAX as usize - 2;

const _: () = assert!(KEY_LEN_MAX < OPEN_LINE_LEN_MAX, "a command with one key must fit a short line");
const _: () = assert!(OPEN_LINE_LEN_MAX < GET_LINE_LEN_MAX, "get lines are the longer ones");
