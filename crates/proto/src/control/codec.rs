//! The frame around a control message, and the errors of decoding one.
//!
//! ```text
//! 0xD0 | version = 1 | length u32 | kind u8 | body
//!                                  `----- length bytes -----'
//! ```
//!
//! All numbers are big-endian. The first byte starts no HTTP method, so that frames and HTTP share a port. A
//! message has exactly one encoding: decode takes no other. Kinds from 64 on are left for bucket streams.

use super::Message;
use super::reader::Reader;
use crate::ids::ParseNodeIdError;
use crate::limits::{CONTROL_FRAME_LEN_MAX, CONTROL_SMALL_FRAME_LEN_MAX};

/// The first byte of every control frame.
pub const FRAME_START: u8 = 0xD0;

/// The version of the codec, the second byte of every frame. Raised when any encoding changes.
pub const VERSION: u8 = 1;

/// Bytes before the kind.
const HEADER_LEN: usize = 6;

/// Why bytes are no control message. The connection that sent them is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not our protocol.
    #[error("a control frame starts with byte 0xd0, not {0:#04x}")]
    NotControl(u8),
    /// Another release of the codec.
    #[error("control codec version {0} is not spoken here, only {VERSION}")]
    Version(u8),
    /// A kind that this version does not have.
    #[error("unknown kind {0} of control message")]
    Kind(u8),
    /// The frame is longer than its kind may be.
    #[error("a control frame of {length} bytes is longer than the {max} allowed")]
    FrameTooLong {
        /// As the frame says.
        length: usize,
        /// The limit for that kind.
        max: usize,
    },
    /// The frame ends inside a field.
    #[error("the frame ends early: {wanted} bytes wanted, {left} left")]
    Truncated {
        /// Bytes of the field.
        wanted: usize,
        /// Bytes that there are.
        left: usize,
    },
    /// The frame goes on behind the message.
    #[error("{count} bytes too many behind the message")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A text or list is longer than it may be.
    #[error("{what} of length {length} is longer than the {max} allowed")]
    TooLong {
        /// Which field.
        what: &'static str,
        /// As the frame says.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A byte that must be one of a few values is another.
    #[error("{value} is not a legal {what}")]
    BadTag {
        /// Which field.
        what: &'static str,
        /// What was there.
        value: u8,
    },
    /// There are 32,768 buckets, from 0.
    #[error("bucket {0} is above 32767")]
    BadBucket(u16),
    /// An empty run, or one that passes the last bucket.
    #[error("{count} buckets from {first} on are no run of buckets")]
    BadRun {
        /// First bucket of the run.
        first: u16,
        /// Number of buckets.
        count: u16,
    },
    /// Not UTF-8.
    #[error("{what} is not UTF-8 text")]
    NotText {
        /// Which field.
        what: &'static str,
    },
    /// Not a node's name.
    #[error(transparent)]
    NodeName(#[from] ParseNodeIdError),
}

/// Appends the frame of `message` to `out`.
///
/// # Panics
/// When the message is longer than decode would take. That is a bug of who built it: the types and decode keep
/// all parts short that come from elsewhere.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    out.extend_from_slice(&[FRAME_START, VERSION]);
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let start = out.len();
    out.push(message.kind());
    message.encode_body(out);
    let length = out.len() - start;
    assert!(length <= frame_len_max(message.kind()), "control message of {length} bytes exceeds its limit");
    let field = out.get_mut(length_at..start).expect("the length field was pushed above");
    field.copy_from_slice(&(length as u32).to_be_bytes());
}

/// The message at the start of `buf` and the length of its frame; `None` when the frame is not complete yet.
///
/// What cannot become a message is an error as soon as it shows, so that no more of it gets buffered.
pub fn decode(buf: &[u8]) -> Result<Option<(Message, usize)>, DecodeError> {
    match *buf {
        [start, ..] if start != FRAME_START => return Err(DecodeError::NotControl(start)),
        [_, version, ..] if version != VERSION => return Err(DecodeError::Version(version)),
        _ => {}
    }
    let Some((header, behind)) = buf.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let [_, _, length @ ..] = *header;
    let length = u32::from_be_bytes(length) as usize;
    if length > CONTROL_FRAME_LEN_MAX {
        return Err(DecodeError::FrameTooLong { length, max: CONTROL_FRAME_LEN_MAX });
    }
    if length == 0 {
        return Err(DecodeError::Truncated { wanted: 1, left: 0 });
    }
    let Some(&kind) = behind.first() else { return Ok(None) };
    let max = frame_len_max(kind);
    if !Message::is_kind(kind) {
        return Err(DecodeError::Kind(kind));
    } else if length > max {
        return Err(DecodeError::FrameTooLong { length, max });
    }
    let Some(body) = behind.get(1..length) else { return Ok(None) };
    let message = Reader::all(body, |reader| Message::decode_body(kind, reader))?;
    Ok(Some((message, HEADER_LEN + length)))
}

/// How long a frame of that kind may be.
const fn frame_len_max(kind: u8) -> usize {
    if Message::kind_is_large(kind) { CONTROL_FRAME_LEN_MAX } else { CONTROL_SMALL_FRAME_LEN_MAX }
}

#[cfg(test)]
mod tests;
