//! `ms <key> <length> <flag>*`: store; a data block of `length` bytes and `\r\n` follows.
//!
//! With a legal length, a bad key or flag is answered and the data block swallowed. Without one nothing is known to
//! swallow, nor does memcached look for the length where a flag starts with what is no letter and no digit.

use super::{Flags, MetaKey, Wrong, checked};
use crate::reply::text;
use crate::request::storage::value_len;
use crate::request::{Refusal, Request, Then};
use crate::tokens::Tokens;

/// `ms`, without its data block. Answered by `HD`, `NS`, `EX` or `NF`; to return: b, c, k, O, s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ms<'a> {
    /// The item's key.
    pub key: MetaKey<'a>,
    /// Length of the data block without its line end.
    pub value_len: usize,
    /// M: how to store.
    pub mode: MsMode,
    /// F: the client's flags.
    pub client_flags: u32,
    /// T: exptime, 0 if it is not named.
    pub exptime: i64,
    /// C: store only over an item with this cas.
    pub cas: Option<u64>,
    /// E: the cas of the new item.
    pub new_cas: Option<u64>,
    /// I: with C, store also over an item with a lower cas, and mark it stale.
    pub invalidate: bool,
    /// N: with append and prepend, create a missing item with this exptime.
    pub vivify: Option<i64>,
    /// q: no `HD`.
    pub quiet: bool,
    /// In their order.
    pub flags: Flags<'a>,
}

/// How an `ms` stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsMode {
    /// S, and without M.
    Set,
    /// E: if there is no item.
    Add,
    /// A
    Append,
    /// P
    Prepend,
    /// R: if there is an item.
    Replace,
}

pub(crate) fn decode(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let bad = Refusal::line(text::BAD_FORMAT);
    let word = tokens.next().ok_or(bad)?;
    let value_len = tokens.next().and_then(value_len).ok_or(bad)?;
    ms(word, value_len, tokens).map(Request::Ms).map_err(|wrong| match wrong {
        Wrong::Line => bad,
        Wrong::Flag(reply) => Refusal { reply, then: Then::Swallow(value_len + b"\r\n".len()) },
    })
}

fn ms<'a>(word: &'a [u8], value_len: usize, tokens: Tokens<'a>) -> Result<Ms<'a>, Wrong> {
    let (key, flags, options) = checked(word, tokens, 3)?;
    let mode = options.ms_mode().map_err(Wrong::Flag)?;
    options.check_opaque().map_err(Wrong::Flag)?;
    Ok(Ms {
        key,
        value_len,
        mode,
        client_flags: options.client_flags.unwrap_or(0),
        exptime: options.exptime.unwrap_or(0),
        cas: options.cas,
        new_cas: options.new_cas,
        invalidate: options.invalidate,
        vivify: options.vivify,
        quiet: options.quiet,
        flags,
    })
}
