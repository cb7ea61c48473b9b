//! `incr|decr <key> <delta> [noreply]`.

use super::{Refusal, Request, checked_key, is_noreply, needed};
use crate::reply::text;
use crate::tokens::{Tokens, unsigned};

/// `incr` or `decr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arith<'a> {
    /// Which of the two.
    pub verb: ArithVerb,
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// By how much.
    pub delta: u64,
    /// No reply is wanted, errors included.
    pub noreply: bool,
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArithVerb {
    /// Up, wrapping at 2^64.
    Incr,
    /// Down, stopping at 0.
    Decr,
}

pub(super) fn decode(mut tokens: Tokens<'_>, verb: ArithVerb) -> Result<Request<'_>, Refusal> {
    let key = needed(&mut tokens)?;
    let behind_key = tokens;
    let delta = needed(&mut tokens)?;
    let noreply = is_noreply(behind_key);
    let key = checked_key(key, noreply)?;
    let delta = unsigned(delta).ok_or(Refusal::unless(noreply, text::INVALID_DELTA))?;
    Ok(Request::Arith(Arith { verb, key, delta, noreply }))
}
