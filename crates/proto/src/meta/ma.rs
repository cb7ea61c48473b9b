//! `ma <key> <flag>*`: increment and decrement.

use super::{Flags, MetaKey, Wrong, key_and_flags, refuse};
use crate::reply::text;
use crate::request::{ArithVerb, Refusal, Request};
use crate::tokens::Tokens;

/// `ma`. Answered by `VA` (with [`Self::value`]) or `HD`, `NF`, `NS` or `EX`; to return: b, c, k, O, t; and T
/// stands where the new exptime takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ma<'a> {
    /// The item's key.
    pub key: MetaKey<'a>,
    /// M: up or down.
    pub mode: ArithVerb,
    /// D: by how much; 1 if it is not named.
    pub delta: u64,
    /// J: the number of an item created by N; 0 if it is not named.
    pub initial: u64,
    /// N: create a missing item with this exptime.
    pub vivify: Option<i64>,
    /// T: new exptime.
    pub exptime: Option<i64>,
    /// C: only an item with this cas.
    pub cas: Option<u64>,
    /// E: the cas of the new item.
    pub new_cas: Option<u64>,
    /// v: return the number.
    pub value: bool,
    /// q: no reply but `NF`, `NS` and `EX`.
    pub quiet: bool,
    /// In their order.
    pub flags: Flags<'a>,
}

pub(crate) fn decode(tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let (key, flags, options) = key_and_flags(tokens).map_err(one_text)?;
    let mode = options.ma_mode().map_err(Refusal::line)?;
    options.check_opaque().map_err(Refusal::line)?;
    Ok(Request::Ma(Ma {
        key,
        mode,
        delta: options.delta.unwrap_or(1),
        initial: options.initial.unwrap_or(0),
        vivify: options.vivify,
        exptime: options.exptime,
        cas: options.cas,
        new_cas: options.new_cas,
        value: options.value,
        quiet: options.quiet,
        flags,
    }))
}

/// This command has one text for everything that its key or a flag can be wrong in.
fn one_text(wrong: Wrong) -> Refusal {
    match wrong {
        Wrong::Line => refuse(wrong),
        Wrong::Flag(_) => Refusal::line(text::INVALID_OR_DUPLICATE_FLAG),
    }
}
