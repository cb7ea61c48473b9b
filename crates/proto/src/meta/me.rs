//! `me <key> [b]`: what is known of an item, for people.

use super::{Flags, MetaKey};
use crate::reply::text;
use crate::request::{Refusal, Request};
use crate::tokens::Tokens;

/// `me`. Answered by `ME` with details, or `EN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Me<'a> {
    /// The item's key.
    pub key: MetaKey<'a>,
    /// Unchecked: only b means anything here, and k and O in a refusal.
    pub flags: Flags<'a>,
}

pub(crate) fn decode(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let bad = Refusal::line(text::BAD_FORMAT);
    let word = tokens.next().ok_or(bad)?;
    let flags = Flags::new(tokens);
    let base64 = flags.token(b'b').is_some();
    let key = MetaKey::checked(word, base64).ok_or(bad)?;
    Ok(Request::Me(Me { key, flags }))
}
