//! `VALUE <key> <flags> <length>[ <cas>]`, the data, again and again, and `END`.

use super::{Reply, Stop, Whole, line};
use crate::limits::{KEY_LEN_MAX, REPLY_VALUE_LEN_MAX};
use crate::tokens::{Tokens, unsigned};

/// One item found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// As the server names it.
    pub key: &'a [u8],
    /// The client's flags.
    pub flags: u32,
    /// The data.
    pub value: &'a [u8],
    /// The item's cas, in answers to `gets` and `gats`.
    pub cas: Option<u64>,
}

/// The items of one reply, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Values<'a> {
    /// `VALUE` blocks that were decoded once already.
    rest: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let (line, header_len) = line::first(self.rest).ok()?;
        let (value, consumed) = block(line, header_len, self.rest).ok()?;
        self.rest = self.rest.get(consumed..)?;
        Some(value)
    }
}

/// Walks to `END`. A failure line in between is the whole reply then: the read failed, what came before it
/// does not count.
#[inline]
pub(super) fn decode(buf: &[u8]) -> Whole<'_> {
    let mut at = 0;
    loop {
        let here = buf.get(at..).unwrap_or_default();
        let (line, header_len) = line::first(here).map_err(|stop| behind(at, stop))?;
        if line == b"END" {
            let rest = buf.get(..at).unwrap_or_default();
            return Ok((Reply::Values(Values { rest }), at + header_len));
        }
        if let Some(failure) = (!line.starts_with(b"VALUE ")).then(|| line::failure(line)) {
            return failure.map(|reply| (reply, at + header_len)).ok_or(Stop::Bad);
        }
        let (_, consumed) = block(line, header_len, here).map_err(|stop| behind(at, stop))?;
        at += consumed;
    }
}

/// A stop at `at` in the buffer, as one of the whole buffer.
fn behind(at: usize, stop: Stop) -> Stop {
    match stop {
        Stop::NeedMore { at_least } => Stop::NeedMore { at_least: at + at_least },
        Stop::Bad => Stop::Bad,
    }
}

/// The `VALUE` line and data at the start of `buf`, and their length.
#[inline]
fn block<'a>(line: &'a [u8], header_len: usize, buf: &'a [u8]) -> Result<(Value<'a>, usize), Stop> {
    let (key, flags, len, cas) = header(line).ok_or(Stop::Bad)?;
    let consumed = header_len + len + b"\r\n".len();
    let Some(data) = buf.get(header_len..consumed) else {
        return Err(Stop::NeedMore { at_least: consumed });
    };
    let value = data.strip_suffix(b"\r\n").ok_or(Stop::Bad)?;
    Ok((Value { key, flags, value, cas }, consumed))
}

#[inline]
fn header(line: &[u8]) -> Option<(&[u8], u32, usize, Option<u64>)> {
    let mut words = Tokens::new(line.strip_prefix(b"VALUE ")?);
    let key = words.next().filter(|key| key.len() <= KEY_LEN_MAX)?;
    let flags = u32::try_from(unsigned(words.next()?)?).ok()?;
    let len = usize::try_from(unsigned(words.next()?)?).ok().filter(|&len| len <= REPLY_VALUE_LEN_MAX)?;
    let cas = match words.next() {
        Some(word) => Some(unsigned(word)?),
        None => None,
    };
    words.next().is_none().then_some((key, flags, len, cas))
}
