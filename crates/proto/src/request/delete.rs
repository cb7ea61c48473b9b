//! `delete <key> [noreply]`. Old clients send a time behind the key; whatever stands there is ignored.

use super::{Refusal, Request, checked_key, is_noreply, needed};
use crate::tokens::Tokens;

/// `delete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// No reply is wanted, errors included.
    pub noreply: bool,
}

#[inline]
pub(super) fn decode(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let key = needed(&mut tokens)?;
    let noreply = is_noreply(tokens);
    Ok(Request::Delete(Delete { key: checked_key(key, noreply)?, noreply }))
}
