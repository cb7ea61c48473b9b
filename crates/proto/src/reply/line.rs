//! Replies of one line, the failures among them.

use memchr::memchr;

use super::{Reply, ReplyKind, Stop, Whole, managed};
use crate::limits::REPLY_LINE_LEN_MAX;
use crate::tokens::unsigned;

/// The first line of `buf` without its end, and its length with it. Servers end lines with `\r\n` only.
#[inline]
pub(crate) fn first(buf: &[u8]) -> Result<(&[u8], usize), Stop> {
    let within = buf.get(..REPLY_LINE_LEN_MAX).unwrap_or(buf);
    match memchr(b'\n', within).and_then(|end| within.split_at_checked(end)) {
        Some((line, _)) => {
            let text = line.strip_suffix(b"\r").ok_or(Stop::Bad)?;
            Ok((text, line.len() + 1))
        }
        None if within.len() < REPLY_LINE_LEN_MAX => Err(Stop::NeedMore { at_least: buf.len() + 1 }),
        None => Err(Stop::Bad),
    }
}

pub(super) fn decode(kind: ReplyKind, buf: &[u8]) -> Whole<'_> {
    let (line, consumed) = first(buf)?;
    let reply = expected(kind, line).or_else(|| failure(line)).ok_or(Stop::Bad)?;
    Ok((reply, consumed))
}

/// The line as one of those that answer such a command.
fn expected(kind: ReplyKind, line: &[u8]) -> Option<Reply<'_>> {
    match (kind, line) {
        (ReplyKind::Storage, b"STORED") => Some(Reply::Stored),
        (ReplyKind::Storage, b"NOT_STORED") => Some(Reply::NotStored),
        (ReplyKind::Storage, b"EXISTS") => Some(Reply::Exists),
        (ReplyKind::Delete, b"DELETED") => Some(Reply::Deleted),
        (ReplyKind::Touch, b"TOUCHED") => Some(Reply::Touched),
        (ReplyKind::Storage | ReplyKind::Delete | ReplyKind::Touch | ReplyKind::Arith, b"NOT_FOUND") => {
            Some(Reply::NotFound)
        }
        (ReplyKind::Arith, number) => unsigned(number).map(Reply::Number),
        (ReplyKind::Ok, b"OK") => Some(Reply::Ok),
        (ReplyKind::Version, line) => line.strip_prefix(b"VERSION ").map(Reply::Version),
        (ReplyKind::Own, b"OWNED") => Some(Reply::Owned),
        (ReplyKind::Disown, b"DISOWNED") => Some(Reply::Disowned),
        (ReplyKind::Clock, line) => managed::clock(line).map(Reply::Clock),
        (ReplyKind::Node, line) => managed::node(line).map(Reply::Node),
        _ => None,
    }
}

/// The line as a failure that any command can have.
#[cold]
pub(crate) fn failure(line: &[u8]) -> Option<Reply<'_>> {
    let (word, text) = match memchr(b' ', line).and_then(|end| line.split_at_checked(end)) {
        Some((word, text)) => (word, text.strip_prefix(b" ").unwrap_or(text)),
        None => (line, &b""[..]),
    };
    match (word, text) {
        (b"ERROR_NOT_OWNER", b"") => Some(Reply::NotOwner),
        (b"ERROR_EXPIRED", b"") => Some(Reply::Expired),
        (b"ERROR", text) => Some(Reply::Error(text)),
        (b"CLIENT_ERROR", text) => Some(Reply::ClientError(text)),
        (b"SERVER_ERROR" | b"SERVER_ERROR:", text) => Some(Reply::ServerError(text)),
        _ => None,
    }
}
