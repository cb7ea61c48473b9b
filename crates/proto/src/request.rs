//! Decode of the commands that a client sends: one line of a receive buffer to one [`Request`].
//!
//! Pure and without state: [`decode`] looks at the start of a buffer and borrows from it. A data block is not
//! part of the line: whoever holds the connection reads or swallows it. Behaviour is memcached 1.6.45's, to
//! the byte, where this file's comments do not say otherwise.
//!
//! **Invariant**: no allocation, no panic, and work linear in the line, for any bytes.

pub mod admin;
pub mod arith;
pub mod crawler;
pub mod delete;
pub mod encode;
pub mod get;
mod line;
pub mod managed;
pub mod storage;
pub mod touch;
mod tuning;

pub use admin::{CacheMemlimit, FlushAll, Shutdown, ShutdownMode, Stats, Verbosity, Watch};
pub use arith::{Arith, ArithVerb};
pub use crawler::{DumpFormat, LruCrawler};
pub use delete::Delete;
pub use get::{Gat, Get, Keys};
pub use managed::{Bg, Own};
pub use storage::{Storage, StorageVerb};
pub use touch::Touch;

use crate::bucket::Bucket;
use crate::ids::MapVersion;
use crate::limits::{KEY_LEN_MAX, LINE_LEN_MIN};
use crate::meta::{Ma, Md, Me, Mg, Ms, ma, md, me, mg, ms};
use crate::reply::text;
use crate::tokens::Tokens;
use line::Line;

/// What the start of a buffer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// The line has not ended yet; nothing is consumed.
    NeedMore,
    /// One command.
    Request {
        /// Bytes of the line with its end, without a data block.
        consumed: usize,
        /// The command, borrowed from the buffer.
        request: Request<'a>,
    },
    /// A line that is no command; answered from here.
    Refuse {
        /// Bytes of the line with its end.
        consumed: usize,
        /// What to send, with its line end; empty where the refusal is silent.
        reply: &'static [u8],
        /// What to do after the reply was sent.
        then: Then,
    },
}

/// How a connection goes on after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// With the next line.
    Continue,
    /// After that many bytes, a data block with its line end, have been thrown away.
    Swallow(usize),
    /// Not at all: close it when the reply was sent.
    Close,
}

/// One command, without its data block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `get`, `gets`.
    Get(Get<'a>),
    /// `gat`, `gats`.
    Gat(Gat<'a>),
    /// `set`, `add`, `replace`, `append`, `prepend`, `cas`; a data block follows.
    Storage(Storage<'a>),
    /// `incr`, `decr`.
    Arith(Arith<'a>),
    /// `delete`.
    Delete(Delete<'a>),
    /// `touch`.
    Touch(Touch<'a>),
    /// `mg`.
    Mg(Mg<'a>),
    /// `ms`; a data block follows.
    Ms(Ms<'a>),
    /// `md`.
    Md(Md<'a>),
    /// `ma`.
    Ma(Ma<'a>),
    /// `me`.
    Me(Me<'a>),
    /// `mn`: answered `MN`, after everything before it.
    Mn,
    /// `flush_all`.
    FlushAll(FlushAll),
    /// `stats`.
    Stats(Stats<'a>),
    /// `version`.
    Version,
    /// `verbosity`.
    Verbosity(Verbosity),
    /// `quit`: close after what is pending was sent.
    Quit,
    /// `cache_memlimit`.
    CacheMemlimit(CacheMemlimit),
    /// `refresh_certs`.
    RefreshCerts {
        /// No reply is wanted, errors included.
        noreply: bool,
    },
    /// `watch`: the connection is told what others do.
    Watch(Watch<'a>),
    /// `shutdown`.
    Shutdown(Shutdown),
    /// `lru_crawler`.
    LruCrawler(LruCrawler),
    /// `slabs` and `lru`, which have nothing to do here: what to answer; empty where no reply is wanted.
    Tune(&'static [u8]),
    /// `config get`: what is asked for. Not of memcached's, but of hosted ones.
    ConfigGet(&'a [u8]),
    /// `debugtime`: seconds to move the node's time forward; `None` where they are no number. Whether there is such
    /// a word at all, the node decides.
    DebugTime(Option<u64>),
    /// `bg`: covers exactly the next command, has no reply.
    Bg(Bg),
    /// A malformed `bg`: no reply, but the next command is answered [`text::BAD_BG`].
    BadBg,
    /// `own`.
    Own(Own),
    /// `disown`.
    Disown(Bucket),
    /// `clock`.
    Clock,
    /// `map`, with the version that the asker holds, [`MapVersion::NONE`] where none was named.
    Map(MapVersion),
    /// `node`: the handshake.
    Node,
}

/// Why a line is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reply: &'static [u8],
    pub(crate) then: Then,
}

impl Refusal {
    /// An error line, after which the connection goes on.
    pub(crate) const fn line(reply: &'static [u8]) -> Self {
        Self { reply, then: Then::Continue }
    }

    /// The error line, or silence for a command that asked for none.
    pub(crate) const fn unless(noreply: bool, reply: &'static [u8]) -> Self {
        Self::line(if noreply { b"" } else { reply })
    }

    /// The end of the connection.
    pub(crate) const fn close(reply: &'static [u8]) -> Self {
        Self { reply, then: Then::Close }
    }
}

/// Decodes the command at the start of `buf`, which may hold less than one or many.
#[inline]
pub fn decode(buf: &[u8]) -> Decoded<'_> {
    match line::first(buf) {
        Line::Open => Decoded::NeedMore,
        Line::TooLong(refusal) => {
            Decoded::Refuse { consumed: buf.len(), reply: refusal.reply, then: refusal.then }
        }
        Line::Whole { line, consumed } => match decode_line(line, consumed) {
            Ok(request) => Decoded::Request { consumed, request },
            Err(Refusal { reply, then }) => Decoded::Refuse { consumed, reply, then },
        },
    }
}

/// The key of a `get` of one key at the start of `buf`, and the length of its line with its end: what [`decode`]
/// says of most lines that a cache receives, in one pass over it. `None` for anything else: `decode` knows.
#[inline]
pub fn single_get(buf: &[u8]) -> Option<(&[u8], usize)> {
    const WORD: &[u8] = b"get ";
    let rest = buf.strip_prefix(WORD)?;
    let window = rest.get(..=KEY_LEN_MAX + 1).unwrap_or(rest);
    let end = memchr::memchr2(b' ', b'\n', window)?;
    let (key, end_on) = rest.split_at_checked(end)?;
    let key = key.strip_suffix(b"\r").unwrap_or(key);
    let is_single = end_on.first() == Some(&b'\n') && (1..=KEY_LEN_MAX).contains(&key.len());
    is_single.then_some((key, WORD.len() + end + 1))
}

#[inline]
fn decode_line(line: &[u8], consumed: usize) -> Result<Request<'_>, Refusal> {
    if consumed < LINE_LEN_MIN {
        return Err(Refusal::line(text::BAD_FORMAT));
    }
    if line.first() == Some(&b' ') {
        return Err(unknown(line));
    }
    let mut tokens = Tokens::new(line);
    let word = tokens.next().unwrap_or_default();
    match word {
        b"get" => get::decode(tokens, false),
        b"set" => storage::decode(tokens, StorageVerb::Set),
        b"gets" => get::decode(tokens, true),
        b"bg" => Ok(managed::decode_bg(tokens)),
        b"delete" => delete::decode(tokens),
        b"incr" => arith::decode(tokens, ArithVerb::Incr),
        b"decr" => arith::decode(tokens, ArithVerb::Decr),
        b"touch" => touch::decode(tokens),
        b"gat" => get::decode_gat(tokens, false),
        b"gats" => get::decode_gat(tokens, true),
        b"add" => storage::decode(tokens, StorageVerb::Add),
        b"replace" => storage::decode(tokens, StorageVerb::Replace),
        b"append" => storage::decode(tokens, StorageVerb::Append),
        b"prepend" => storage::decode(tokens, StorageVerb::Prepend),
        b"cas" => storage::decode_cas(tokens),
        b"mg" => mg::decode(tokens),
        b"ms" => ms::decode(tokens),
        b"md" => md::decode(tokens),
        b"ma" => ma::decode(tokens),
        b"mn" => Ok(Request::Mn),
        _ => decode_rare(word, tokens, line),
    }
}

/// What is not on the data path.
#[cold]
fn decode_rare<'a>(word: &[u8], tokens: Tokens<'a>, line: &[u8]) -> Result<Request<'a>, Refusal> {
    match word {
        b"version" => Ok(Request::Version),
        b"quit" => Ok(Request::Quit),
        b"stats" => Ok(Request::Stats(Stats::new(tokens))),
        b"flush_all" => admin::decode_flush_all(tokens),
        b"verbosity" => admin::decode_verbosity(tokens),
        b"watch" => Ok(Request::Watch(Watch { kinds: tokens })),
        b"cache_memlimit" => admin::decode_cache_memlimit(tokens),
        b"shutdown" => Ok(admin::decode_shutdown(tokens)),
        b"refresh_certs" => Ok(Request::RefreshCerts { noreply: is_noreply(tokens) }),
        b"me" => me::decode(tokens),
        b"lru_crawler" => crawler::decode(tokens),
        b"slabs" => tuning::decode_slabs(tokens),
        b"lru" => tuning::decode_lru(tokens),
        b"config" => admin::decode_config(tokens),
        b"debugtime" => Ok(admin::decode_debug_time(tokens)),
        b"clock" => Ok(Request::Clock),
        b"node" => Ok(Request::Node),
        b"map" => managed::decode_map(tokens),
        b"own" => managed::decode_own(tokens),
        b"disown" => managed::decode_disown(tokens),
        _ => Err(unknown(line)),
    }
}

/// A browser that was led here must not get a page that it would believe: its connection ends without a word.
/// (memcached also keeps silent on `bogus noreply`; here it is answered, a client can only be confused by less.)
#[cold]
fn unknown(line: &[u8]) -> Refusal {
    match Tokens::new(line).last() {
        Some(last) if last.starts_with(b"HTTP/") => Refusal::close(b""),
        _ => Refusal::line(text::ERROR),
    }
}

/// Whether the last of the words after the needed ones says that no reply is wanted.
#[inline]
fn is_noreply(extra: Tokens<'_>) -> bool {
    !extra.rest().is_empty() && extra.last() == Some(b"noreply")
}

/// A key of legal length, or the refusal.
#[inline]
fn checked_key(key: &[u8], noreply: bool) -> Result<&[u8], Refusal> {
    if key.len() > KEY_LEN_MAX {
        return Err(Refusal::unless(noreply, text::BAD_FORMAT));
    }
    Ok(key)
}

/// The next word, which the command cannot do without. Its lack is always said, `noreply` or not.
#[inline]
fn needed<'a>(tokens: &mut Tokens<'a>) -> Result<&'a [u8], Refusal> {
    tokens.next().ok_or(Refusal::line(text::BAD_FORMAT))
}
