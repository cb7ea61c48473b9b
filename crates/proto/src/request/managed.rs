//! The words of managed nodes: `bg <bucket>:<generation>[:<deadline ms>]`, `own <bucket>:<generation>`,
//! `disown <bucket>`, `map [version]`. (`clock` and `node` have no arguments.)
//!
//! Bucket and generation are decimal. Generation 0 is nobody's, so no word may name it: it must never match a
//! bucket that is not owned.

use super::{Refusal, Request, needed};
use crate::bucket::Bucket;
use crate::ids::{Generation, MapVersion};
use crate::reply::text;
use crate::tokens::{Tokens, unsigned};

/// `bg`: under which right the next command acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bg {
    /// The bucket that all keys of the next command are in, as the client hashed them.
    pub bucket: Bucket,
    /// The generation that the client's map shows for it; never 0.
    pub generation: Generation,
    /// Until when a creating command may apply, in ms of this node's clock; `None`: no deadline.
    pub deadline_ms: Option<u64>,
}

/// `own`: 2006's word, a tracker's hand in place of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// What to own.
    pub bucket: Bucket,
    /// Under which generation; never 0.
    pub generation: Generation,
}

#[inline]
pub(super) fn decode_bg(tokens: Tokens<'_>) -> Request<'_> {
    bg(tokens).map_or(Request::BadBg, Request::Bg)
}

fn bg(mut tokens: Tokens<'_>) -> Option<Bg> {
    let (bucket, rest) = split_colon(tokens.next()?)?;
    if tokens.next().is_some() {
        return None;
    }
    let (generation, deadline_ms) = match split_colon(rest) {
        Some((generation, deadline)) => (generation, Some(unsigned(deadline)?)),
        None => (rest, None),
    };
    Some(Bg { bucket: to_bucket(bucket)?, generation: to_generation(generation)?, deadline_ms })
}

pub(super) fn decode_own(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let own = split_colon(needed(&mut tokens)?).and_then(|(bucket, generation)| {
        Some(Own { bucket: to_bucket(bucket)?, generation: to_generation(generation)? })
    });
    own.map(Request::Own).ok_or(Refusal::line(text::BAD_FORMAT))
}

pub(super) fn decode_disown(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    to_bucket(needed(&mut tokens)?).map(Request::Disown).ok_or(Refusal::line(text::BAD_FORMAT))
}

pub(super) fn decode_map(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let version = match tokens.next() {
        None => MapVersion::NONE,
        Some(word) => MapVersion(unsigned(word).ok_or(Refusal::line(text::BAD_FORMAT))?),
    };
    Ok(Request::Map(version))
}

fn split_colon(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, tail) = word.split_at_checked(memchr::memchr(b':', word)?)?;
    Some((head, tail.strip_prefix(b":")?))
}

fn to_bucket(digits: &[u8]) -> Option<Bucket> {
    Bucket::new(u16::try_from(unsigned(digits)?).ok()?)
}

fn to_generation(digits: &[u8]) -> Option<Generation> {
    unsigned(digits).map(Generation).filter(|&generation| generation != Generation::NONE)
}
