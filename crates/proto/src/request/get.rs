//! `get <key>+`, `gets <key>+`, `gat <exptime> <key>+`, `gats <exptime> <key>+`.
//!
//! All keys are checked before the first is handed out, so that a bad one is answered by one clean line.
//! (memcached 1.6.45 sends an extra line end there, and throws away the values that it had found before.)

use super::{Refusal, Request, checked_key, needed};
use crate::limits::KEY_LEN_MAX;
use crate::reply::text;
use crate::tokens::{self, Tokens};

/// `get` or `gets`. Answered by a `VALUE` for each key found, in the order asked, and `END`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get<'a> {
    /// At least one key, duplicates kept.
    pub keys: Keys<'a>,
    /// Whether each `VALUE` carries the item's cas (`gets`).
    pub with_cas: bool,
}

/// `gat` or `gats`: as get, and each item found gets a new exptime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gat<'a> {
    /// As on the wire, within 32 bits.
    pub exptime: i64,
    /// At least one key, duplicates kept.
    pub keys: Keys<'a>,
    /// Whether each `VALUE` carries the item's cas (`gats`).
    pub with_cas: bool,
}

/// The keys of one command, each 1 to 250 bytes without space and newline.
#[derive(Clone)]
pub struct Keys<'a>(Tokens<'a>);

impl<'a> Keys<'a> {
    /// The only key, `None` when there are several: the form in which nearly every get comes.
    #[inline]
    pub fn single(&self) -> Option<&'a [u8]> {
        let mut keys = self.clone();
        let first = keys.next()?;
        keys.next().is_none().then_some(first)
    }

    #[inline]
    fn checked(keys: Tokens<'a>) -> Result<Self, Refusal> {
        let mut rest = keys;
        checked_key(needed(&mut rest)?, false)?;
        if rest.into_iter().any(|key| key.len() > KEY_LEN_MAX) {
            return Err(Refusal::line(text::BAD_FORMAT));
        }
        Ok(Self(keys))
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next()
    }
}

impl PartialEq for Keys<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.clone().eq(other.clone())
    }
}

impl Eq for Keys<'_> {}

impl std::fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone().map(<[u8]>::escape_ascii).map(|key| key.to_string())).finish()
    }
}

#[inline]
pub(super) fn decode(tokens: Tokens<'_>, with_cas: bool) -> Result<Request<'_>, Refusal> {
    Ok(Request::Get(Get { keys: Keys::checked(tokens)?, with_cas }))
}

pub(super) fn decode_gat(mut tokens: Tokens<'_>, with_cas: bool) -> Result<Request<'_>, Refusal> {
    let exptime = needed(&mut tokens)?;
    let keys = Keys::checked(tokens)?;
    let exptime = tokens::exptime(exptime).ok_or(Refusal::line(text::INVALID_EXPTIME))?;
    Ok(Request::Gat(Gat { exptime, keys, with_cas }))
}
