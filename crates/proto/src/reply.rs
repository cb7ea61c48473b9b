//! What servers answer: the texts, the encoders of the parts that vary, and the decode of whole replies.
//!
//! A reply does not say what it answers, so decode is told: a [`ReplyKind`] takes the replies that its command
//! can have and nothing else. What does not fit is [`DecodedReply::Bad`]: that connection has lost its place,
//! and what follows on it belongs to nobody.

mod encode;
pub(crate) mod line;
mod managed;
mod stats;
pub mod text;
mod values;

pub use encode::{
    Digits, put_clock, put_config, put_map, put_node, put_number_line, put_stat, put_value, put_value_header,
    put_version,
};
pub use managed::{Clock, Map, Node};
pub use stats::{Stat, StatLines};
pub use values::{Value, Values};

use crate::meta::{self, MetaReply};

/// Which command was sent, as far as its replies differ. Failure lines can answer all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// `get`, `gets`, `gat`, `gats`: [`Reply::Values`].
    Values,
    /// `set` and the like: [`Reply::Stored`], [`Reply::NotStored`], [`Reply::Exists`], [`Reply::NotFound`].
    Storage,
    /// `incr`, `decr`: [`Reply::Number`], [`Reply::NotFound`].
    Arith,
    /// `delete`: [`Reply::Deleted`], [`Reply::NotFound`].
    Delete,
    /// `touch`: [`Reply::Touched`], [`Reply::NotFound`].
    Touch,
    /// `flush_all`, `verbosity`, `cache_memlimit`: [`Reply::Ok`].
    Ok,
    /// `version`: [`Reply::Version`].
    Version,
    /// `stats`: [`Reply::Stats`], [`Reply::Reset`], [`Reply::Ok`].
    Stats,
    /// `own`: [`Reply::Owned`].
    Own,
    /// `disown`: [`Reply::Disowned`].
    Disown,
    /// `clock`: [`Reply::Clock`].
    Clock,
    /// `node`: [`Reply::Node`].
    Node,
    /// `map`: [`Reply::Map`].
    Map,
    /// A meta command: [`Reply::Meta`], which carries `ERROR_NOT_OWNER` and `ERROR_EXPIRED` too.
    Meta,
}

/// What the start of a buffer of replies holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodedReply<'a> {
    /// The reply is not complete.
    NeedMore {
        /// The buffer must hold at least that many bytes; more than `buf.len()`. Who will not buffer so much
        /// can give up now.
        at_least: usize,
    },
    /// One whole reply.
    Reply {
        /// Its bytes.
        consumed: usize,
        /// What it says, borrowed from the buffer.
        reply: Reply<'a>,
    },
    /// No reply that such a command has: the connection is of no use any more.
    Bad,
}

/// One whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The items found; none is a miss.
    Values(Values<'a>),
    /// `STORED`
    Stored,
    /// `NOT_STORED`
    NotStored,
    /// `EXISTS`
    Exists,
    /// `NOT_FOUND`
    NotFound,
    /// `DELETED`
    Deleted,
    /// `TOUCHED`
    Touched,
    /// The number after an incr or decr.
    Number(u64),
    /// `OK`
    Ok,
    /// The server's version.
    Version(&'a [u8]),
    /// The lines of `stats`.
    Stats(StatLines<'a>),
    /// `RESET`
    Reset,
    /// `OWNED`
    Owned,
    /// `DISOWNED`
    Disowned,
    /// The node's clock.
    Clock(Clock),
    /// Who the node is.
    Node(Node),
    /// The node's map.
    Map(Map<'a>),
    /// A meta command's reply.
    Meta(MetaReply<'a>),
    /// `ERROR_NOT_OWNER`: definitely no effect.
    NotOwner,
    /// `ERROR_EXPIRED`: definitely no effect.
    Expired,
    /// `ERROR`, with what stands behind it, mostly nothing.
    Error(&'a [u8]),
    /// `CLIENT_ERROR`, with its text.
    ClientError(&'a [u8]),
    /// `SERVER_ERROR`, with its text.
    ServerError(&'a [u8]),
}

impl Reply<'_> {
    /// Whether this is one of the failures that any command can have.
    pub const fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::NotOwner | Self::Expired | Self::Error(_) | Self::ClientError(_) | Self::ServerError(_)
        )
    }
}

/// Decodes the reply at the start of `buf` to a command of that kind.
///
/// Values and keys are not compared with what was asked: the caller knows, and must.
#[inline]
pub fn decode_reply(kind: ReplyKind, buf: &[u8]) -> DecodedReply<'_> {
    let decoded = match kind {
        ReplyKind::Values => values::decode(buf),
        ReplyKind::Stats => stats::decode(buf),
        ReplyKind::Map => managed::decode_map(buf),
        ReplyKind::Meta => meta::decode_reply(buf),
        _ => line::decode(kind, buf),
    };
    match decoded {
        Ok((reply, consumed)) => DecodedReply::Reply { consumed, reply },
        Err(Stop::NeedMore { at_least }) => DecodedReply::NeedMore { at_least },
        Err(Stop::Bad) => DecodedReply::Bad,
    }
}

/// A reply and its length, or why there is none.
pub(crate) type Whole<'a> = Result<(Reply<'a>, usize), Stop>;

/// Why decode stops before the end of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    NeedMore { at_least: usize },
    Bad,
}
