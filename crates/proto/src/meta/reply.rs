//! Replies of meta commands: two letters, the returned flags, and after `VA` a data block. A refusal has its
//! word in place of the two letters, and echoes k and O.

use super::{Flag, Flags, MetaKey};
use crate::limits::REPLY_VALUE_LEN_MAX;
use crate::reply::line::{failure, first};
use crate::reply::{Digits, Reply, Stop, Whole};
use crate::tokens::{Tokens, unsigned};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// How a meta reply starts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum MetaCode {
            $($(#[$doc])* $name,)*
        }

        impl MetaCode {
            /// The code as it stands on the wire.
            #[inline]
            pub const fn word(self) -> &'static [u8] {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            #[inline]
            fn from_word(word: &[u8]) -> Option<Self> {
                $(if word == $word { return Some(Self::$name); })*
                None
            }
        }
    };
}

codes! {
    /// Done; flags, no value.
    Hd = b"HD",
    /// A value, its length the first word.
    Va = b"VA",
    /// A miss of `mg` and `me`.
    En = b"EN",
    /// A miss of the others.
    Nf = b"NF",
    /// Not stored.
    Ns = b"NS",
    /// The cas differs.
    Ex = b"EX",
    /// Answers `mn`.
    Mn = b"MN",
    /// Details of an item.
    Me = b"ME",
    /// Definitely no effect: not this node's bucket.
    NotOwner = b"ERROR_NOT_OWNER",
    /// Definitely no effect: too late.
    Expired = b"ERROR_EXPIRED",
}

/// One whole reply to a meta command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaReply<'a> {
    /// What happened.
    pub code: MetaCode,
    /// The data block, with [`MetaCode::Va`] only.
    pub value: Option<&'a [u8]>,
    /// What was returned, in its order: the flags asked for, then Z, X, W. The words of a `ME` are no flags.
    pub flags: Flags<'a>,
}

/// Decodes the reply at the start of `buf`.
#[inline]
pub(crate) fn decode(buf: &[u8]) -> Whole<'_> {
    let (line, header_len) = first(buf)?;
    let mut words = Tokens::new(line);
    let Some(code) = words.next().and_then(MetaCode::from_word).filter(|_| !line.starts_with(b" ")) else {
        return failure(line).map(|reply| (reply, header_len)).ok_or(Stop::Bad);
    };
    if code != MetaCode::Va {
        return Ok((Reply::Meta(MetaReply { code, value: None, flags: Flags::new(words) }), header_len));
    }
    let len = words.next().and_then(value_len).ok_or(Stop::Bad)?;
    let consumed = header_len + len + b"\r\n".len();
    let Some(data) = buf.get(header_len..consumed) else {
        return Err(Stop::NeedMore { at_least: consumed });
    };
    let value = Some(data.strip_suffix(b"\r\n").ok_or(Stop::Bad)?);
    Ok((Reply::Meta(MetaReply { code, value, flags: Flags::new(words) }), consumed))
}

fn value_len(word: &[u8]) -> Option<usize> {
    usize::try_from(unsigned(word)?).ok().filter(|&len| len <= REPLY_VALUE_LEN_MAX)
}

/// Writes the first line of a meta reply, flag by flag.
#[derive(Debug)]
pub struct MetaLine<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> MetaLine<'o> {
    /// Starts a line. For [`MetaCode::Va`] there is [`Self::value`].
    #[inline]
    pub fn start(out: &'o mut Vec<u8>, code: MetaCode) -> Self {
        out.extend_from_slice(code.word());
        Self { out }
    }

    /// Starts the line of a value; after [`Self::end`] the data and a line end must follow.
    #[inline]
    pub fn value(out: &'o mut Vec<u8>, len: usize) -> Self {
        out.extend_from_slice(b"VA ");
        out.extend_from_slice(&Digits::new(len as u64));
        Self { out }
    }

    /// A flag alone, as W, X and Z come.
    #[inline]
    pub fn flag(&mut self, letter: u8) {
        self.out.extend_from_slice(&[b' ', letter]);
    }

    /// A flag with a number.
    #[inline]
    pub fn number(&mut self, letter: u8, number: u64) {
        self.flag(letter);
        self.out.extend_from_slice(&Digits::new(number));
    }

    /// `t`: the time to live in seconds, `-1` for an item that never expires.
    #[inline]
    pub fn ttl(&mut self, ttl_s: Option<u64>) {
        match ttl_s {
            Some(seconds) => self.number(b't', seconds),
            None => self.token(b't', b"-1"),
        }
    }

    /// A flag with a token, as O comes.
    #[inline]
    pub fn token(&mut self, letter: u8, token: &[u8]) {
        self.flag(letter);
        self.out.extend_from_slice(token);
    }

    /// `k`, and `b` behind it where the key came as base64.
    #[inline]
    pub fn key(&mut self, key: &MetaKey<'_>) {
        self.token(b'k', key.wire());
        if key.is_base64() {
            self.flag(b'b');
        }
    }

    /// If `flag` is k or O, returns it: what every reply echoes. Says whether it was.
    #[inline]
    pub fn echo(&mut self, flag: Flag<'_>, key: &MetaKey<'_>) -> bool {
        match flag.letter {
            b'k' => self.key(key),
            b'O' => self.token(b'O', flag.token),
            _ => return false,
        }
        true
    }

    /// Ends the line.
    #[inline]
    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// A whole line that returns nothing but k and O: misses and refusals.
    #[inline]
    pub fn put_echo(out: &'o mut Vec<u8>, code: MetaCode, key: &MetaKey<'_>, flags: Flags<'_>) {
        let mut line = Self::start(out, code);
        for flag in flags {
            line.echo(flag, key);
        }
        line.end();
    }
}

/// What `me` says of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeDetails {
    /// Time to live in seconds, `None` for ever.
    pub ttl_s: Option<u64>,
    /// Seconds since the last access.
    pub idle_s: u64,
    /// The item's cas.
    pub cas: u64,
    /// Whether it was fetched since it was stored.
    pub fetched: bool,
    /// A number for the sort of memory that it is in.
    pub class: u64,
    /// Bytes that the item takes.
    pub size: u64,
}

/// `ME <key> exp= la= cas= fetch= cls= size=`
pub fn put_me(out: &mut Vec<u8>, key: &MetaKey<'_>, details: &MeDetails) {
    let mut part = |name: &[u8], value: &[u8]| {
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    };
    part(b"ME ", key.wire());
    match details.ttl_s {
        Some(seconds) => part(b" exp=", &Digits::new(seconds)),
        None => part(b" exp=", b"-1"),
    }
    part(b" la=", &Digits::new(details.idle_s));
    part(b" cas=", &Digits::new(details.cas));
    part(b" fetch=", if details.fetched { b"yes" } else { b"no" });
    part(b" cls=", &Digits::new(details.class));
    part(b" size=", &Digits::new(details.size));
    part(b"\r\n", b"");
}
