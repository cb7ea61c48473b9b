//! The flags of a meta command: in their order, and what they mean.

use super::ms::MsMode;
use crate::limits::{META_OPAQUE_LEN_MAX, META_TOKENS_MAX};
use crate::reply::text;
use crate::request::{ArithVerb, Refusal};
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

    /// The rest of a command that has had `words` words already; refused when there are too many of them.
    pub(super) fn counted(tokens: Tokens<'a>, words: usize) -> Result<Self, Refusal> {
        if words + tokens.count() > META_TOKENS_MAX {
            return Err(Refusal::line(text::FLAGS_TOO_LONG));
        }
        Ok(Self(tokens))
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
            b'D' => self.delta = Some(number()?),
            b'J' => self.initial = Some(number()?),
            b'N' => self.vivify = Some(exptime()?),
            b'R' => self.recache = Some(exptime()?),
            b'T' => self.exptime = Some(exptime()?),
            b'F' => self.client_flags = Some(client_flags(token).ok_or(text::BAD_FORMAT)?),
            b'M' => self.mode = Some(token.first().copied()),
            b'O' if token.len() >= META_OPAQUE_LEN_MAX => return Err(text::OPAQUE_TOO_LONG),
            _ => {}
        }
        Ok(())
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
