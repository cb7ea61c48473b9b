//! The decoders of replies, as a proxy or client uses them on what a node sends: each kind of reply takes a
//! buffer of any bytes, never asks for what it has, and says of a shorter buffer that it is not enough, as long
//! as it is not yet the whole or is bad already.

use proto::reply::{DecodedReply, ReplyKind, decode_reply};

const KINDS: &[ReplyKind] = &[
    ReplyKind::Values,
    ReplyKind::Storage,
    ReplyKind::Arith,
    ReplyKind::Delete,
    ReplyKind::Touch,
    ReplyKind::Ok,
    ReplyKind::Version,
    ReplyKind::Stats,
    ReplyKind::Own,
    ReplyKind::Disown,
    ReplyKind::Clock,
    ReplyKind::Node,
    ReplyKind::Map,
    ReplyKind::Meta,
];

/// The first byte names the kind.
pub(crate) fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let whole = decode_reply(kind, bytes);
    let end = match &whole {
        DecodedReply::Reply { consumed, .. } => {
            assert!(*consumed > 0 && *consumed <= bytes.len());
            *consumed
        }
        DecodedReply::NeedMore { at_least } => {
            assert!(*at_least > bytes.len(), "{at_least} are wanted, {} are there", bytes.len());
            bytes.len() + 1
        }
        DecodedReply::Bad => bytes.len() + 1,
    };
    for len in (0..end.min(bytes.len())).filter(|len| *len < 150 || len % 61 == 0) {
        match decode_reply(kind, &bytes[..len]) {
            DecodedReply::NeedMore { at_least } => {
                assert!(at_least > len);
                let whole_len =
                    if let DecodedReply::Reply { consumed, .. } = &whole { *consumed } else { usize::MAX };
                assert!(at_least <= whole_len, "{at_least} are wanted for a reply of {whole_len}");
            }
            DecodedReply::Bad => {
                assert_eq!(whole, DecodedReply::Bad, "bad after {len} bytes, and not with more");
            }
            other => panic!("{len} bytes are {other:?}, more are {whole:?}"),
        }
    }
    if end <= bytes.len() {
        assert_eq!(decode_reply(kind, &bytes[..end]), whole, "what follows a reply is none of its business");
    }
}
