//! Decode of requests: the head (header, extras, key) at the start of a buffer to one [`Request`].

use super::header::{Echo, HEADER_LEN, Header, REQUEST_MAGIC};
use super::opcode as op;
use super::status::Status;
use crate::limits::{KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::request::{ArithVerb, Then};

/// What the start of a buffer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// The head has not come whole; nothing is consumed.
    NeedMore,
    /// One request.
    Request {
        /// Bytes of the head, without the value.
        consumed: usize,
        /// The request, borrowed from the buffer.
        request: Request<'a>,
    },
    /// A header that no request has; answered with the status, quiet or not.
    Refuse {
        /// Bytes of the header.
        consumed: usize,
        /// Whose reply it is.
        echo: Echo,
        /// What to answer.
        status: Status,
        /// How to go on.
        then: Then,
    },
    /// The first byte is none of a request: nobody knows where the next one starts, so the connection ends
    /// without a word.
    NotBinary,
}

/// One request, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What the reply repeats.
    pub echo: Echo,
    /// Zero, or the cas that the item must have.
    pub cas: u64,
    /// Answer errors only (and for the get family hits only).
    pub quiet: bool,
    /// 1 to 250 bytes; empty for commands without one.
    pub key: &'a [u8],
    /// Length of the value that follows; zero for commands without one. At most [`VALUE_LEN_MAX`].
    pub value_len: usize,
    /// What to do.
    pub command: Command,
}

/// The command of a request. Exptimes are as in the text protocol, but without negative ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// get, getk: fetch.
    Get {
        /// The reply has the key.
        with_key: bool,
    },
    /// gat, gatk: fetch and set the exptime.
    Gat {
        /// The reply has the key.
        with_key: bool,
        /// The new exptime.
        exptime: u32,
    },
    /// touch: the same without the value.
    Touch {
        /// The new exptime.
        exptime: u32,
    },
    /// set, add, replace; a value follows.
    Store {
        /// Which.
        verb: StoreVerb,
        /// Client flags.
        flags: u32,
        /// When it expires.
        exptime: u32,
    },
    /// append, prepend; a value follows.
    Join {
        /// append.
        at_end: bool,
    },
    /// delete.
    Delete,
    /// incr, decr.
    Arith(Arith),
    /// flush.
    Flush {
        /// When; zero: now.
        exptime: u32,
    },
    /// stat; the key says which.
    Stat,
    /// noop: answered after everything before it.
    Noop,
    /// version.
    Version,
    /// quit: answered, then the connection ends.
    Quit,
    /// Which SASL mechanisms there are.
    SaslList,
    /// Start to authenticate; the key is the mechanism, the value its first message.
    SaslAuth,
    /// Go on to authenticate.
    SaslStep,
}

/// On what condition a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreVerb {
    /// None.
    Set,
    /// There is no item.
    Add,
    /// There is one.
    Replace,
}

/// incr and decr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arith {
    /// Which.
    pub verb: ArithVerb,
    /// By how much.
    pub delta: u64,
    /// What to store where there is nothing.
    pub initial: u64,
    /// When what is so stored expires; `None`: store nothing.
    pub create_exptime: Option<u32>,
}

/// The exptime of incr and decr with which nothing is created.
const NO_CREATE: u32 = u32::MAX;

/// Decodes the head at the start of `input`.
#[inline]
pub fn decode(input: &[u8]) -> Decoded<'_> {
    match input.first() {
        None => return Decoded::NeedMore,
        Some(&first) if first != REQUEST_MAGIC => return Decoded::NotBinary,
        Some(_) => {}
    }
    let Some((header, rest)) = Header::split_from(input) else { return Decoded::NeedMore };
    let value_len = match check(&header) {
        Ok(value_len) => value_len,
        Err((status, then)) => {
            return Decoded::Refuse { consumed: HEADER_LEN, echo: header.echo, status, then };
        }
    };
    let Some((extras, rest)) = rest.split_at_checked(usize::from(header.extras_len)) else {
        return Decoded::NeedMore;
    };
    let Some(key) = rest.get(..usize::from(header.key_len)) else { return Decoded::NeedMore };
    let Some(command) = command(header.echo.opcode, extras) else { return Decoded::NotBinary };
    let quiet = is_quiet(header.echo.opcode);
    Decoded::Request {
        consumed: HEADER_LEN + extras.len() + key.len(),
        request: Request { echo: header.echo, cas: header.cas, quiet, key, value_len, command },
    }
}

/// The length of the value, or why this is no request. All lengths are looked at here.
fn check(header: &Header) -> Result<usize, (Status, Then)> {
    let value_len = header.value_len().ok_or((Status::UnknownCommand, Then::Close))?;
    if usize::from(header.key_len) > KEY_LEN_MAX {
        return Err((Status::InvalidArguments, Then::Close));
    }
    let body_len = header.body_len as usize;
    match has_lengths(header, value_len) {
        Some(false) => Err((Status::InvalidArguments, Then::Close)),
        // memcached counts in 31 bits here, and never answers more than that.
        Some(true) if body_len > VALUE_LEN_MAX => Err((Status::TooLarge, Then::Close)),
        Some(true) => Ok(value_len as usize),
        // memcached throws extras and key away twice, and takes that much of the next request with them.
        None if body_len > VALUE_LEN_MAX => Err((Status::UnknownCommand, Then::Close)),
        None => Err((Status::UnknownCommand, Then::Swallow(body_len))),
    }
}

/// Whether extras, key and value have the lengths that the opcode wants; `None`: it is unknown.
fn has_lengths(header: &Header, value_len: u32) -> Option<bool> {
    let (extras_len, has_key, has_value) = (header.extras_len, header.key_len > 0, value_len > 0);
    Some(match header.echo.opcode {
        op::GET | op::GETQ | op::GETK | op::GETKQ | op::DELETE | op::DELETEQ => {
            extras_len == 0 && has_key && !has_value
        }
        op::SET | op::SETQ | op::ADD | op::ADDQ | op::REPLACE | op::REPLACEQ => extras_len == 8 && has_key,
        op::APPEND | op::APPENDQ | op::PREPEND | op::PREPENDQ | op::SASL_AUTH | op::SASL_STEP => {
            extras_len == 0 && has_key
        }
        op::INCR | op::INCRQ | op::DECR | op::DECRQ => extras_len == 20 && has_key && !has_value,
        op::TOUCH | op::GAT | op::GATQ | op::GATK | op::GATKQ => extras_len == 4 && has_key && !has_value,
        op::FLUSH | op::FLUSHQ => matches!(extras_len, 0 | 4) && !has_key && !has_value,
        op::STAT => extras_len == 0 && !has_value,
        op::NOOP | op::VERSION | op::QUIT | op::QUITQ | op::SASL_LIST => header.body_len == 0,
        _ => return None,
    })
}

/// The command of an opcode whose extras have the right length.
#[inline]
fn command(opcode: u8, extras: &[u8]) -> Option<Command> {
    Some(match opcode {
        op::GET | op::GETQ => Command::Get { with_key: false },
        op::GETK | op::GETKQ => Command::Get { with_key: true },
        op::SET | op::SETQ => store(StoreVerb::Set, extras)?,
        op::ADD | op::ADDQ => store(StoreVerb::Add, extras)?,
        op::REPLACE | op::REPLACEQ => store(StoreVerb::Replace, extras)?,
        op::APPEND | op::APPENDQ => Command::Join { at_end: true },
        op::PREPEND | op::PREPENDQ => Command::Join { at_end: false },
        op::DELETE | op::DELETEQ => Command::Delete,
        op::INCR | op::INCRQ => arith(ArithVerb::Incr, extras)?,
        op::DECR | op::DECRQ => arith(ArithVerb::Decr, extras)?,
        op::TOUCH => Command::Touch { exptime: number(extras)? },
        op::GAT | op::GATQ => Command::Gat { with_key: false, exptime: number(extras)? },
        op::GATK | op::GATKQ => Command::Gat { with_key: true, exptime: number(extras)? },
        op::FLUSH | op::FLUSHQ => Command::Flush { exptime: number(extras).unwrap_or(0) },
        op::STAT => Command::Stat,
        op::NOOP => Command::Noop,
        op::VERSION => Command::Version,
        op::QUIT | op::QUITQ => Command::Quit,
        op::SASL_LIST => Command::SaslList,
        op::SASL_AUTH => Command::SaslAuth,
        op::SASL_STEP => Command::SaslStep,
        _ => return None,
    })
}

const fn is_quiet(opcode: u8) -> bool {
    matches!(opcode, op::GETQ | op::GETKQ | op::SETQ..=op::PREPENDQ | op::GATQ | op::GATKQ)
}

fn store(verb: StoreVerb, extras: &[u8]) -> Option<Command> {
    let (flags, exptime) = extras.split_first_chunk::<4>()?;
    Some(Command::Store { verb, flags: u32::from_be_bytes(*flags), exptime: number(exptime)? })
}

fn arith(verb: ArithVerb, extras: &[u8]) -> Option<Command> {
    let (delta, rest) = extras.split_first_chunk::<8>()?;
    let (initial, exptime) = rest.split_first_chunk::<8>()?;
    Some(Command::Arith(Arith {
        verb,
        delta: u64::from_be_bytes(*delta),
        initial: u64::from_be_bytes(*initial),
        create_exptime: number(exptime).filter(|&exptime| exptime != NO_CREATE),
    }))
}

fn number(extras: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*extras.first_chunk()?))
}
