//! `STAT <name> <value>` lines and `END`; also `ITEM` and `PREFIX` lines of the rarer forms of `stats`.

use super::{Reply, Stop, Whole, line};
use crate::limits::STATS_REPLY_LEN_MAX;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    /// First word behind `STAT`, `ITEM` or `PREFIX`.
    pub name: &'a [u8],
    /// The rest of the line.
    pub value: &'a [u8],
}

/// The lines of one reply, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatLines<'a> {
    /// Lines that were decoded once already.
    rest: &'a [u8],
}

impl<'a> Iterator for StatLines<'a> {
    type Item = Stat<'a>;

    fn next(&mut self) -> Option<Stat<'a>> {
        let (line, len) = line::first(self.rest).ok()?;
        self.rest = self.rest.get(len..)?;
        stat(line)
    }
}

pub(super) fn decode(buf: &[u8]) -> Whole<'_> {
    let mut at = 0;
    while at < STATS_REPLY_LEN_MAX {
        let (line, len) = match line::first(buf.get(at..).unwrap_or_default()) {
            Ok(found) => found,
            Err(Stop::NeedMore { at_least }) => return Err(Stop::NeedMore { at_least: at + at_least }),
            Err(Stop::Bad) => return Err(Stop::Bad),
        };
        let end = at + len;
        match line {
            b"END" => return Ok((Reply::Stats(StatLines { rest: buf.get(..at).unwrap_or_default() }), end)),
            b"RESET" if at == 0 => return Ok((Reply::Reset, end)),
            b"OK" if at == 0 => return Ok((Reply::Ok, end)),
            _ if stat(line).is_some() => at = end,
            _ => return line::failure(line).map(|reply| (reply, end)).ok_or(Stop::Bad),
        }
    }
    Err(Stop::Bad)
}

fn stat(line: &[u8]) -> Option<Stat<'_>> {
    let named = line
        .strip_prefix(b"STAT ")
        .or_else(|| line.strip_prefix(b"ITEM "))
        .or_else(|| line.strip_prefix(b"PREFIX "))?;
    let end = memchr::memchr(b' ', named).unwrap_or(named.len());
    let (name, value) = named.split_at_checked(end)?;
    Some(Stat { name, value: value.strip_prefix(b" ").unwrap_or(value) })
}
