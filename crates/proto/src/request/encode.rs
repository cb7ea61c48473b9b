//! Encode of the commands that a proxy or client sends, always one key each and never `noreply`: whoever keeps the
//! promise needs the answer.

use super::{Arith, ArithVerb, Storage, StorageVerb};
use crate::bucket::Bucket;
use crate::ids::{Generation, MapVersion};
use crate::reply::Digits;

/// `bg <bucket>:<generation>[:<deadline>]`, for the command that follows; the deadline in the node's clock.
pub fn put_bg(out: &mut Vec<u8>, bucket: Bucket, generation: Generation, deadline_ms: Option<u64>) {
    out.extend_from_slice(b"bg ");
    out.extend_from_slice(&Digits::new(u64::from(bucket.number())));
    out.push(b':');
    out.extend_from_slice(&Digits::new(generation.0));
    if let Some(deadline) = deadline_ms {
        out.push(b':');
        out.extend_from_slice(&Digits::new(deadline));
    }
    out.extend_from_slice(b"\r\n");
}

/// `get` or `gets` of one key.
pub fn put_get(out: &mut Vec<u8>, key: &[u8], with_cas: bool) {
    out.extend_from_slice(if with_cas { b"gets " } else { b"get " });
    out.extend_from_slice(key);
    out.extend_from_slice(b"\r\n");
}

/// `gat` or `gats` of one key.
pub fn put_gat(out: &mut Vec<u8>, key: &[u8], exptime: i64, with_cas: bool) {
    out.extend_from_slice(if with_cas { b"gats " } else { b"gat " });
    put_signed(out, exptime);
    out.push(b' ');
    out.extend_from_slice(key);
    out.extend_from_slice(b"\r\n");
}

/// The line of a storage command; `storage.value_len` bytes and a line end must follow.
pub fn put_storage(out: &mut Vec<u8>, storage: &Storage<'_>) {
    out.extend_from_slice(storage.verb.word().as_bytes());
    out.push(b' ');
    out.extend_from_slice(storage.key);
    put_word(out, u64::from(storage.flags));
    out.push(b' ');
    put_signed(out, storage.exptime);
    put_word(out, storage.value_len as u64);
    if let StorageVerb::Cas(cas) = storage.verb {
        put_word(out, cas);
    }
    out.extend_from_slice(b"\r\n");
}

/// `incr` or `decr`.
pub fn put_arith(out: &mut Vec<u8>, arith: &Arith<'_>) {
    out.extend_from_slice(match arith.verb {
        ArithVerb::Incr => b"incr ",
        ArithVerb::Decr => b"decr ",
    });
    out.extend_from_slice(arith.key);
    put_word(out, arith.delta);
    out.extend_from_slice(b"\r\n");
}

/// `delete`.
pub fn put_delete(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(b"delete ");
    out.extend_from_slice(key);
    out.extend_from_slice(b"\r\n");
}

/// `touch`.
pub fn put_touch(out: &mut Vec<u8>, key: &[u8], exptime: i64) {
    out.extend_from_slice(b"touch ");
    out.extend_from_slice(key);
    out.push(b' ');
    put_signed(out, exptime);
    out.extend_from_slice(b"\r\n");
}

/// `map`, for what is newer than `version`.
pub fn put_map_request(out: &mut Vec<u8>, version: MapVersion) {
    out.extend_from_slice(b"map");
    put_word(out, version.0);
    out.extend_from_slice(b"\r\n");
}

/// The handshake with a managed node: who it is, and its clock.
pub const HANDSHAKE: &[u8] = b"node\r\nclock\r\n";

/// A renewed sample of a node's clock.
pub const CLOCK: &[u8] = b"clock\r\n";

fn put_word(out: &mut Vec<u8>, number: u64) {
    out.push(b' ');
    out.extend_from_slice(&Digits::new(number));
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&Digits::new(number.unsigned_abs()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Decoded, Request, decode};

    /// What is encoded is what the other side decodes.
    #[track_caller]
    fn check(put: impl Fn(&mut Vec<u8>), expect: &str, same: impl Fn(Request<'_>) -> bool) {
        let mut out = Vec::new();
        put(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expect);
        let Decoded::Request { consumed, request } = decode(&out) else { panic!("{expect:?} is refused") };
        assert_eq!(consumed, out.len());
        assert!(same(request), "{expect:?}");
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let storage = |verb| Storage { verb, key: b"k", flags: 7, exptime: -1, value_len: 3, noreply: false };
        for verb in [StorageVerb::Set, StorageVerb::Append, StorageVerb::Cas(99)] {
            let tail = if verb == StorageVerb::Cas(99) { " 99" } else { "" };
            let expect = format!("{} k 7 -1 3{tail}\r\n", verb.word());
            check(|out| put_storage(out, &storage(verb)), &expect, |r| r == Request::Storage(storage(verb)));
        }
        let arith = Arith { verb: ArithVerb::Decr, key: b"n", delta: u64::MAX, noreply: false };
        check(
            |out| put_arith(out, &arith),
            "decr n 18446744073709551615\r\n",
            |r| r == Request::Arith(arith),
        );
        check(
            |out| put_get(out, b"k", true),
            "gets k\r\n",
            |r| matches!(r, Request::Get(get) if get.with_cas),
        );
        check(
            |out| put_gat(out, b"k", 60, false),
            "gat 60 k\r\n",
            |r| matches!(r, Request::Gat(gat) if gat.exptime == 60),
        );
        check(
            |out| put_delete(out, b"k"),
            "delete k\r\n",
            |r| matches!(r, Request::Delete(delete) if delete.key == b"k"),
        );
        check(
            |out| put_touch(out, b"k", 5),
            "touch k 5\r\n",
            |r| matches!(r, Request::Touch(touch) if touch.exptime == 5),
        );
        check(
            |out| put_map_request(out, MapVersion(12)),
            "map 12\r\n",
            |r| r == Request::Map(MapVersion(12)),
        );
        let bucket = Bucket::new(300).expect("a bucket");
        let bg = |out: &mut Vec<u8>| put_bg(out, bucket, Generation(5), Some(77));
        check(
            bg,
            "bg 300:5:77\r\n",
            |r| matches!(r, Request::Bg(bg) if bg.bucket == bucket && bg.generation == Generation(5)),
        );
    }
}
