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

use crate::request::Refusal;
use crate::tokens::Tokens;
use flags::Options;

/// The words of a meta command that has no length: key and flags.
fn key_and_flags<'a>(mut tokens: Tokens<'a>) -> Result<(MetaKey<'a>, Flags<'a>, Options), Refusal> {
    let word = key::word(&mut tokens)?;
    let flags = Flags::counted(tokens, 2)?;
    let options = flags.parse().map_err(Refusal::line)?;
    Ok((MetaKey::checked(word, options.base64).map_err(Refusal::line)?, flags, options))
}
