//! `mg <key> <flag>*`: get.

use super::{Flags, MetaKey, key_and_flags, refuse};
use crate::request::{Refusal, Request};
use crate::tokens::Tokens;

/// `mg`. Answered by `VA` (with [`Self::value`]) or `HD`; by `EN` for a miss. What to return besides, and in
/// which order, is in [`Self::flags`]: c, f, h, k, l, O, s, t; and T stands where the new exptime takes effect
/// (`t T60` returns the old time to live, `T60 t` the new).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mg<'a> {
    /// The item's key.
    pub key: MetaKey<'a>,
    /// v: return the value.
    pub value: bool,
    /// C: an item with this cas is answered without its value.
    pub cas: Option<u64>,
    /// E: the cas of what is created or changed.
    pub new_cas: Option<u64>,
    /// N: on a miss create an empty item with this exptime, and win.
    pub vivify: Option<i64>,
    /// R: win if the time to live is below this.
    pub recache: Option<i64>,
    /// T: new exptime.
    pub exptime: Option<i64>,
    /// u: leave no trace of the access.
    pub no_bump: bool,
    /// q: no `EN`.
    pub quiet: bool,
    /// In their order.
    pub flags: Flags<'a>,
}

pub(crate) fn decode(tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let (key, flags, options) = key_and_flags(tokens).map_err(refuse)?;
    options.check_opaque().map_err(Refusal::line)?;
    Ok(Request::Mg(Mg {
        key,
        value: options.value,
        cas: options.cas,
        new_cas: options.new_cas,
        vivify: options.vivify,
        recache: options.recache,
        exptime: options.exptime,
        no_bump: options.no_bump,
        quiet: options.quiet,
        flags,
    }))
}
