//! The first line of a buffer: where it ends, and how long one may stay open.

use memchr::memchr;

use super::Refusal;
use crate::limits::{GET_LINE_LEN_MAX, LEADING_SPACES_MAX, LINE_LEN_MAX};
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
        return too_long(buf).map_or(Line::Open, Line::TooLong);
    };
    if let Some(refusal) = too_long(line) {
        return Line::TooLong(refusal);
    }
    Line::Whole { line: line.strip_suffix(b"\r").unwrap_or(line), consumed: line.len() + 1 }
}

/// Only a command with many keys has a reason to be long.
#[inline]
fn too_long(line: &[u8]) -> Option<Refusal> {
    if line.len() <= LINE_LEN_MAX { None } else { too_long_for_its_word(line) }
}

#[cold]
fn too_long_for_its_word(line: &[u8]) -> Option<Refusal> {
    let spaces = line.iter().take(LEADING_SPACES_MAX + 1).take_while(|&&byte| byte == b' ').count();
    let words = line.get(spaces..).unwrap_or_default();
    let has_many_keys =
        [&b"get "[..], b"gets ", b"gat ", b"gats "].iter().any(|word| words.starts_with(word));
    if spaces > LEADING_SPACES_MAX || !has_many_keys {
        return Some(Refusal::close(b""));
    }
    (line.len() >= GET_LINE_LEN_MAX).then_some(Refusal::close(text::OUT_OF_MEMORY_READING))
}
