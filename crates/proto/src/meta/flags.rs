//! The flags of a meta command: in their order, and what they mean.

use super::MetaKey;
use super::ms::MsMode;
use crate::limits::{KEY_LEN_MAX, META_OPAQUE_LEN_MAX, META_TOKENS_MAX};
use crate::reply::text;
use crate::request::ArithVerb;
use crate::tokens::{self, Tokens, unsigned};

/// One flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag<'a> {
    /// Its letter.
    pub letter: u8,
    /// What is glued to the letter, mostly nothing.
    pub token: &'a [u8],
}

/// Flags in the order of the wire, each letter once.
#[derive(Clone, Copy, Debug)]
pub struct Flags<'a>(Tokens<'a>);

impl<'a> Flags<'a> {
    /// The token of that flag, `None` where the flag is not there.
    pub fn token(mut self, letter: u8) -> Option<&'a [u8]> {
        self.find(|flag| flag.letter == letter).map(|flag| flag.token)
    }

    pub(super) const fn new(tokens: Tokens<'a>) -> Self {
        Self(tokens)
    }

    /// `None` if there are too many, in a command that has `words` words before them.
    pub(super) fn counted(self, words: usize) -> Option<()> {
        (words + self.0.count() <= META_TOKENS_MAX).then_some(())
    }

    /// What the flags mean, or the error line of the first that is illegal.
    pub(super) fn parse(self) -> Result<Options, &'static [u8]> {
        let mut options = Options::default();
        for flag in self {
            options.see(flag.letter)?;
            options.set(flag)?;
        }
        Ok(options)
    }

    /// What is wrong with a command that is not legal, as memcached tells it: the last of its bad tokens, unless
    /// there is a letter that ends the search for more.
    #[cold]
    pub(super) fn wrong(self, word: &[u8], words: usize) -> Wrong {
        if self.into_iter().any(|flag| !matches!(flag.letter, b'A'..=b'z' | b'0'..=b'9')) {
            return Wrong::Line;
        }
        if word.len() > KEY_LEN_MAX {
            return Wrong::Flag(text::BAD_FORMAT);
        }
        if self.counted(words).is_none() {
            return Wrong::Flag(text::FLAGS_TOO_LONG);
        }
        let mut options = Options::default();
        let mut reply = text::BAD_FORMAT;
        for flag in self {
            if let Err(end) = options.see(flag.letter) {
                return Wrong::Flag(end);
            }
            match options.set(flag) {
                // It has no text of its own.
                Err(text::BAD_FORMAT) | Ok(()) => {}
                Err(bad) => reply = bad,
            }
            if flag.letter == b'b' && MetaKey::checked(word, true).is_none() {
                reply = text::ERROR_DECODING_KEY;
            }
        }
        Wrong::Flag(reply)
    }
}

/// What is wrong with a meta command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not even taken apart: a word is missing, or a flag starts with no letter and no digit.
    Line,
    /// Its key or one of its flags, and what to say.
    Flag(&'static [u8]),
}

impl<'a> Iterator for Flags<'a> {
    type Item = Flag<'a>;

    #[inline]
    fn next(&mut self) -> Option<Flag<'a>> {
        let (&letter, token) = self.0.next()?.split_first()?;
        Some(Flag { letter, token })
    }
}

impl PartialEq for Flags<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl Eq for Flags<'_> {}

/// What the flags of one command mean, whatever the command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// Bit n: the letter `A` + n was there.
    seen: u64,
    /// b
    pub(super) base64: bool,
    /// q
    pub(super) quiet: bool,
    /// v
    pub(super) value: bool,
    /// u
    pub(super) no_bump: bool,
    /// I in `ms` and `md`
    pub(super) invalidate: bool,
    /// x
    pub(super) drop_value: bool,
    /// C
    pub(super) cas: Option<u64>,
    /// E
    pub(super) new_cas: Option<u64>,
    /// N
    pub(super) vivify: Option<i64>,
    /// R
    pub(super) recache: Option<i64>,
    /// T
    pub(super) exptime: Option<i64>,
    /// F
    pub(super) client_flags: Option<u32>,
    /// D
    pub(super) delta: Option<u64>,
    /// J
    pub(super) initial: Option<u64>,
    /// First byte of M; `Some(None)` for a bare M.
    mode: Option<Option<u8>>,
    /// O is longer than may be.
    is_opaque_too_long: bool,
}

impl Options {
    /// Notes a letter; only letters that some command knows, and each once.
    fn see(&mut self, letter: u8) -> Result<(), &'static [u8]> {
        if !b"bcCDEfFhIJklLMNOPqRstTuvx".contains(&letter) {
            return Err(text::INVALID_FLAG);
        }
        let bit = 1 << (letter - b'A');
        if self.seen & bit != 0 {
            return Err(text::DUPLICATE_FLAG);
        }
        self.seen |= bit;
        Ok(())
    }

    fn set(&mut self, Flag { letter, token }: Flag<'_>) -> Result<(), &'static [u8]> {
        let number = || unsigned(token).ok_or(text::BAD_TOKEN);
        let exptime = || tokens::exptime(token).ok_or(text::BAD_TOKEN);
        match letter {
            b'b' => self.base64 = true,
            b'q' => self.quiet = true,
            b'v' => self.value = true,
            b'u' => self.no_bump = true,
            b'I' => self.invalidate = true,
            b'x' => self.drop_value = true,
            b'C' => self.cas = Some(number()?),
            b'E' => self.new_cas = Some(number()?),
            b'D' => self.delta = Some(unsigned(token).ok_or(text::INVALID_DELTA_VALUE)?),
            b'J' => self.initial = Some(unsigned(token).ok_or(text::INVALID_INITIAL_VALUE)?),
            b'N' => self.vivify = Some(exptime()?),
            b'R' => self.recache = Some(exptime()?),
            b'T' => self.exptime = Some(exptime()?),
            b'F' => self.client_flags = Some(client_flags(token).ok_or(text::BAD_FORMAT)?),
            b'M' => self.mode = Some(token.first().copied()),
            b'O' => self.is_opaque_too_long = token.len() >= META_OPAQUE_LEN_MAX,
            _ => {}
        }
        Ok(())
    }

    /// Refuses an opaque that is too long; asked last.
    #[inline]
    pub(super) fn check_opaque(&self) -> Result<(), &'static [u8]> {
        if self.is_opaque_too_long { Err(text::OPAQUE_TOO_LONG) } else { Ok(()) }
    }

    /// The mode of an `ms`.
    pub(super) fn ms_mode(&self) -> Result<MsMode, &'static [u8]> {
        match self.mode {
            None | Some(Some(b'S')) => Ok(MsMode::Set),
            Some(Some(b'E')) => Ok(MsMode::Add),
            Some(Some(b'A')) => Ok(MsMode::Append),
            Some(Some(b'P')) => Ok(MsMode::Prepend),
            Some(Some(b'R')) => Ok(MsMode::Replace),
            Some(_) => Err(text::INVALID_MS_MODE),
        }
    }

    /// The mode of an `ma`.
    pub(super) fn ma_mode(&self) -> Result<ArithVerb, &'static [u8]> {
        match self.mode {
            None | Some(Some(b'I' | b'+')) => Ok(ArithVerb::Incr),
            Some(Some(b'D' | b'-')) => Ok(ArithVerb::Decr),
            Some(_) => Err(text::INVALID_MA_MODE),
        }
    }
}

fn client_flags(token: &[u8]) -> Option<u32> {
    u32::try_from(unsigned(token)?).ok()
}
