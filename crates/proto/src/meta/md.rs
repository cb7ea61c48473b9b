//! `md <key> <flag>*`: delete, mark stale, or empty.

use super::{Flags, MetaKey, key_and_flags, refuse};
use crate::request::{Refusal, Request};
use crate::tokens::Tokens;

/// `md`. Answered by `HD`, `NF` or `EX`; to return: b, k, O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Md<'a> {
    /// The item's key.
    pub key: MetaKey<'a>,
    /// C: only an item with this cas.
    pub cas: Option<u64>,
    /// E: the cas of an item that stays.
    pub new_cas: Option<u64>,
    /// I: mark stale instead of deleting.
    pub invalidate: bool,
    /// T: with I, new exptime.
    pub exptime: Option<i64>,
    /// x: drop value and client flags, keep the item.
    pub drop_value: bool,
    /// q: no `HD`.
    pub quiet: bool,
    /// In their order.
    pub flags: Flags<'a>,
}

pub(crate) fn decode(tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let (key, flags, options) = key_and_flags(tokens).map_err(refuse)?;
    options.check_opaque().map_err(Refusal::line)?;
    Ok(Request::Md(Md {
        key,
        cas: options.cas,
        new_cas: options.new_cas,
        invalidate: options.invalidate,
        exptime: options.exptime,
        drop_value: options.drop_value,
        quiet: options.quiet,
        flags,
    }))
}
