//! The decoders of requests, text and binary, as streams: whatever the bytes, decode ends and goes forward; a
//! buffer that was cut anywhere is either not enough or decoded to the same; and what the encoders write for a
//! request decodes to that request.

use proto::binary;
use proto::request::{Decoded, Request, Then, decode, encode};

/// Requests of one input.
const REQUESTS_MAX: usize = 64;

pub(crate) fn run(bytes: &[u8]) {
    match bytes.first() {
        Some(&binary::REQUEST_MAGIC) => binary_stream(bytes),
        _ => text_stream(bytes),
    }
}

fn text_stream(bytes: &[u8]) {
    let mut rest = bytes;
    for _ in 0..REQUESTS_MAX {
        let whole = decode(rest);
        check_prefixes(rest, &whole);
        let skip = match whole {
            Decoded::NeedMore => return,
            Decoded::Request { consumed, request } => {
                round_trip(&request);
                consumed + block_len(&request)
            }
            Decoded::Refuse { consumed, reply, then } => {
                assert!(reply.is_empty() || reply.ends_with(b"\r\n"), "{reply:?}");
                match then {
                    Then::Continue => consumed,
                    Then::Swallow(len) => consumed + len,
                    Then::Close => return,
                }
            }
        };
        assert!(skip > 0, "nothing was consumed");
        rest = rest.get(skip..).unwrap_or_default();
    }
}

/// Every shorter buffer asks for more, or says the same and consumes as much.
fn check_prefixes(bytes: &[u8], whole: &Decoded<'_>) {
    let end = match whole {
        Decoded::NeedMore => bytes.len(),
        Decoded::Request { consumed, .. } | Decoded::Refuse { consumed, .. } => *consumed,
    };
    assert!(end <= bytes.len());
    let longer = [end, end + 1, end + 2, bytes.len().saturating_sub(1)];
    for len in lengths(end.saturating_sub(1)).chain(longer).filter(|len| *len <= bytes.len()) {
        match (decode(&bytes[..len]), whole) {
            (Decoded::NeedMore, _) => assert!(len < end || *whole == Decoded::NeedMore),
            // Too long already: how much of it has come does not matter, since nothing follows.
            (Decoded::Refuse { reply, then: Then::Close, .. }, Decoded::Refuse { reply: other, .. }) => {
                assert_eq!(reply, *other);
            }
            (cut, whole) => assert_eq!(cut, *whole, "{len} of {} bytes", bytes.len()),
        }
    }
}

/// All lengths up to `max` where these are few, else the ends and some between.
fn lengths(max: usize) -> impl Iterator<Item = usize> {
    (0..=max).filter(move |len| *len < 100 || max - len < 10 || len % 97 == 0)
}

fn block_len(request: &Request<'_>) -> usize {
    match request {
        Request::Storage(storage) => storage.value_len + 2,
        Request::Ms(ms) => ms.value_len + 2,
        _ => 0,
    }
}

fn round_trip(request: &Request<'_>) {
    let mut line = Vec::new();
    match request {
        // What is sent never asks for silence.
        Request::Storage(storage) if !storage.noreply => {
            assert!(storage.key.len() <= proto::limits::KEY_LEN_MAX);
            encode::put_storage(&mut line, storage);
        }
        Request::Arith(arith) if !arith.noreply => encode::put_arith(&mut line, arith),
        Request::Delete(delete) if !delete.noreply => encode::put_delete(&mut line, delete.key),
        Request::Touch(touch) if !touch.noreply => encode::put_touch(&mut line, touch.key, touch.exptime),
        Request::Bg(bg) => encode::put_bg(&mut line, bg.bucket, bg.generation, bg.deadline_ms),
        _ => return,
    }
    let consumed = line.len();
    match decode(&line) {
        Decoded::Request { consumed: len, request: again } => {
            assert_eq!((len, &again), (consumed, request), "{}", String::from_utf8_lossy(&line));
        }
        other => panic!("{request:?} was written as {} and is {other:?}", String::from_utf8_lossy(&line)),
    }
}

fn binary_stream(bytes: &[u8]) {
    let mut rest = bytes;
    for _ in 0..REQUESTS_MAX {
        let whole = binary::decode(rest);
        let (end, skip) = match &whole {
            binary::Decoded::NeedMore | binary::Decoded::NotBinary => (rest.len(), None),
            binary::Decoded::Request { consumed, request } => {
                assert!(request.value_len <= proto::limits::VALUE_LEN_MAX);
                assert!(request.key.len() <= proto::limits::KEY_LEN_MAX);
                (*consumed, Some(consumed + request.value_len))
            }
            binary::Decoded::Refuse { consumed, then, .. } => match then {
                Then::Continue => (*consumed, Some(*consumed)),
                Then::Swallow(len) => (*consumed, Some(consumed + len)),
                Then::Close => (*consumed, None),
            },
        };
        for len in lengths(end.saturating_sub(1)).chain([end]) {
            let cut = binary::decode(&rest[..len]);
            assert!(cut == binary::Decoded::NeedMore || cut == whole, "{len} of {end} bytes: {cut:?}");
            assert!(len < end || cut == whole, "{cut:?}");
        }
        let Some(skip) = skip else { return };
        rest = rest.get(skip..).unwrap_or_default();
    }
}
