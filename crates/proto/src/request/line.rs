//! The first line of a buffer: where it ends, and how long one may stay open.

use memchr::memchr;

use super::Refusal;
use crate::limits::{GET_LINE_LEN_MAX, LEADING_SPACES_MAX, OPEN_LINE_LEN_MAX};
use crate::reply::text;

/// What the start of a buffer is as a line.
pub(super) enum Line<'a> {
    /// Not ended yet, and still short enough.
    Open,
    /// Too long; the connection ends.
    TooLong(Refusal),
    /// A line without its end, and its length with it.
    Whole { line: &'a [u8], consumed: usize },
}

/// Finds the first line. It ends with `\n`; one `\r` before that belongs to the end.
#[inline]
pub(super) fn first(buf: &[u8]) -> Line<'_> {
    let Some((line, _)) = memchr(b'\n', buf).and_then(|end| buf.split_at_checked(end)) else {
        return open(buf);
    };
    let consumed = line.len() + 1;
    if consumed > GET_LINE_LEN_MAX {
        return open(line);
    }
    Line::Whole { line: line.strip_suffix(b"\r").unwrap_or(line), consumed }
}

/// Only a multi-key `get` has a reason to be long.
#[cold]
fn open(buf: &[u8]) -> Line<'_> {
    if buf.len() <= OPEN_LINE_LEN_MAX {
        return Line::Open;
    }
    let spaces = buf.iter().take(LEADING_SPACES_MAX + 1).take_while(|&&byte| byte == b' ').count();
    let word = buf.get(spaces..).unwrap_or_default();
    if spaces > LEADING_SPACES_MAX || !(word.starts_with(b"get ") || word.starts_with(b"gets ")) {
        return Line::TooLong(Refusal::close(b""));
    }
    if buf.len() >= GET_LINE_LEN_MAX {
        return Line::TooLong(Refusal::close(text::OUT_OF_MEMORY_READING));
    }
    Line::Open
}
