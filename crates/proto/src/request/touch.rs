//! `touch <key> <exptime> [noreply]`.

use super::{Refusal, Request, checked_key, is_noreply, needed};
use crate::reply::text;
use crate::tokens::{self, Tokens};

/// `touch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch<'a> {
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// As on the wire, within 32 bits.
    pub exptime: i64,
    /// No reply is wanted, errors included.
    pub noreply: bool,
}

pub(super) fn decode(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let key = needed(&mut tokens)?;
    let behind_key = tokens;
    let exptime = needed(&mut tokens)?;
    let noreply = is_noreply(behind_key);
    let key = checked_key(key, noreply)?;
    let exptime = tokens::exptime(exptime).ok_or(Refusal::unless(noreply, text::INVALID_EXPTIME))?;
    Ok(Request::Touch(Touch { key, exptime, noreply }))
}
