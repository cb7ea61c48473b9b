//! The meta commands: `mg`, `ms`, `md`, `ma`, `me` (and `mn`, which is nothing but its name).
//!
//! `<command> <key> [<length>] <flag>*`: a flag is one letter with its token glued on. They come in any order,
//! each at most once, and what they ask to be returned comes back in that order; so each command keeps its
//! flags as they stand on the wire ([`Flags`]) beside what they mean.
//!
//! A letter that means nothing to a command is accepted and ignored, as memcached does.

mod base64;
mod flags;
mod key;
pub mod ma;
pub mod md;
pub mod me;
pub mod mg;
pub mod ms;
mod reply;

pub use flags::{Flag, Flags};
pub use key::{KeyScratch, MetaKey, put_key};
pub use ma::Ma;
pub use md::Md;
pub use me::Me;
pub use mg::Mg;
pub use ms::{Ms, MsMode};
pub use reply::{MeDetails, MetaCode, MetaLine, MetaReply, put_me};

pub(crate) use reply::decode as decode_reply;

use crate::reply::text;
use crate::request::Refusal;
use crate::tokens::Tokens;
use flags::{Options, Wrong};

/// The words of a meta command that has no length: key and flags.
#[inline]
fn key_and_flags<'a>(mut tokens: Tokens<'a>) -> Result<(MetaKey<'a>, Flags<'a>, Options), Wrong> {
    let word = tokens.next().ok_or(Wrong::Line)?;
    checked(word, tokens, 2)
}

/// Key and flags, of which `words` words were before the flags.
#[inline]
fn checked<'a>(
    word: &'a [u8],
    tokens: Tokens<'a>,
    words: usize,
) -> Result<(MetaKey<'a>, Flags<'a>, Options), Wrong> {
    let flags = Flags::new(tokens);
    let Some((key, options)) = flags.counted(words).and_then(|()| {
        let options = flags.parse().ok()?;
        Some((MetaKey::checked(word, options.base64)?, options))
    }) else {
        return Err(flags.wrong(word, words));
    };
    Ok((key, flags, options))
}

/// What is wrong, after which the connection goes on.
fn refuse(wrong: Wrong) -> Refusal {
    match wrong {
        Wrong::Line => Refusal::line(text::BAD_FORMAT),
        Wrong::Flag(reply) => Refusal::line(reply),
    }
}
