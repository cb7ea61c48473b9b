//! `set|add|replace|append|prepend <key> <flags> <exptime> <length> [noreply]` and
//! `cas <key> <flags> <exptime> <length> <cas> [noreply]`; a data block of `length` bytes and `\r\n` follows.
//!
//! With a legal length, anything else that is wrong with a line is answered and its data block swallowed. Without
//! one nothing is known to swallow, and what follows is read as commands.

use super::{Refusal, Request, Then, checked_key, is_noreply, needed};
use crate::limits::VALUE_LEN_MAX;
use crate::reply::text;
use crate::tokens::{Tokens, signed, unsigned_plus};

/// A storage command, without its data block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage<'a> {
    /// What is asked for.
    pub verb: StorageVerb,
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// The client's flags; larger numbers are truncated to 32 bits, as memcached does.
    pub flags: u32,
    /// As on the wire, truncated to 32 bits, as memcached does.
    pub exptime: i64,
    /// Length of the data block without its line end.
    pub value_len: usize,
    /// No reply is wanted, errors included.
    pub noreply: bool,
}

/// The storage commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageVerb {
    /// Store.
    Set,
    /// Store if there is no item.
    Add,
    /// Store if there is an item.
    Replace,
    /// Put behind the value that is there, whose flags and exptime stay.
    Append,
    /// Put before the value that is there, whose flags and exptime stay.
    Prepend,
    /// Store if the item there has this cas.
    Cas(u64),
}

impl StorageVerb {
    /// The command's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Append => "append",
            Self::Prepend => "prepend",
            Self::Cas(_) => "cas",
        }
    }
}

#[inline]
pub(super) fn decode(mut tokens: Tokens<'_>, verb: StorageVerb) -> Result<Request<'_>, Refusal> {
    let words = Words::split(&mut tokens)?;
    let noreply = is_noreply(tokens);
    words.storage(Some(verb), noreply)
}

pub(super) fn decode_cas(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let words = Words::split(&mut tokens)?;
    let noreply = is_noreply(tokens);
    let cas = tokens.next().and_then(unsigned_plus);
    words.storage(cas.map(StorageVerb::Cas), noreply)
}

/// The words that all storage commands have.
struct Words<'a> {
    key: &'a [u8],
    flags: &'a [u8],
    exptime: &'a [u8],
    value_len: usize,
}

impl<'a> Words<'a> {
    #[inline]
    fn split(tokens: &mut Tokens<'a>) -> Result<Self, Refusal> {
        Ok(Self {
            key: needed(tokens)?,
            flags: needed(tokens)?,
            exptime: needed(tokens)?,
            // Without it the words are not even looked at for a noreply.
            value_len: value_len(needed(tokens)?).ok_or(Refusal::line(text::BAD_FORMAT))?,
        })
    }

    /// `verb`: `None` where the line has not said it.
    #[inline]
    fn storage(self, verb: Option<StorageVerb>, noreply: bool) -> Result<Request<'a>, Refusal> {
        let value_len = self.value_len;
        self.checked(verb, noreply)
            .map(Request::Storage)
            .map_err(|refusal| Refusal { then: Then::Swallow(value_len + b"\r\n".len()), ..refusal })
    }

    #[inline]
    fn checked(self, verb: Option<StorageVerb>, noreply: bool) -> Result<Storage<'a>, Refusal> {
        let bad = Refusal::unless(noreply, text::BAD_FORMAT);
        let key = checked_key(self.key, noreply)?;
        let flags = unsigned_plus(self.flags).ok_or(bad)? as u32;
        let exptime = i64::from(signed(self.exptime).ok_or(bad)? as i32);
        let verb = verb.ok_or(bad)?;
        Ok(Storage { verb, key, flags, exptime, value_len: self.value_len, noreply })
    }
}

/// The length of a data block, if it is a legal one.
#[inline]
pub(crate) fn value_len(token: &[u8]) -> Option<usize> {
    usize::try_from(unsigned_plus(token)?).ok().filter(|&len| len <= VALUE_LEN_MAX)
}
