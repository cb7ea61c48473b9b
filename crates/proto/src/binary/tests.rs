//! What decode promises for any bytes; what it says to right and wrong requests is in the node's scripts.
//!
//! Seeds are fixed: a failure prints its seed and comes again.

use stdx::Prng;

use super::*;
use crate::limits::{KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::request::Then;

const SEEDS: u64 = 20_000;

/// A header of a request with lengths that are now and then right, and some bytes behind it.
fn hostile(prng: &mut Prng) -> Vec<u8> {
    let mut pick = |choices: &[u64]| choices[prng.below(choices.len() as u64) as usize];
    let opcode =
        pick(&[0x00, 0x01, 0x04, 0x05, 0x08, 0x0a, 0x0e, 0x10, 0x11, 0x1b, 0x1d, 0x21, 0x24, 0x76, 0xff]);
    let key_len = pick(&[0, 0, 1, 5, 250, 251, 0xffff]) as u16;
    let extras_len = pick(&[0, 0, 4, 8, 20, 21, 0xff]) as u8;
    let parts = u64::from(key_len) + u64::from(extras_len);
    let body_len = pick(&[
        parts,
        parts,
        parts,
        parts + 3,
        parts.saturating_sub(1),
        0,
        0x7fff_fffd,
        0x7fff_fffe,
        0x8000_0000,
        0xffff_ffff,
    ]) as u32;
    let behind = pick(&[0, 1, 24, 300, 600]) as usize;
    let mut bytes = vec![REQUEST_MAGIC, opcode as u8];
    bytes.extend(key_len.to_be_bytes());
    bytes.extend([extras_len, 0, 0, 0]);
    bytes.extend(body_len.to_be_bytes());
    bytes.extend((0..12).map(|_| prng.below(256) as u8));
    bytes.extend((0..behind).map(|_| prng.below(256) as u8));
    bytes
}

/// The longest head that is ever waited for.
const HEAD_LEN_MAX: usize = HEADER_LEN + 20 + KEY_LEN_MAX;

#[track_caller]
fn check(input: &[u8], seed: u64) {
    let whole = decode(input);
    let end = match &whole {
        Decoded::NeedMore => {
            assert!(input.len() < HEAD_LEN_MAX, "seed {seed}: {} bytes are not enough", input.len());
            input.len()
        }
        Decoded::Request { consumed, request } => {
            assert!((HEADER_LEN..=HEAD_LEN_MAX).contains(consumed), "seed {seed}: {consumed}");
            assert!(*consumed <= input.len() && request.key.len() <= KEY_LEN_MAX, "seed {seed}");
            assert!(request.value_len <= VALUE_LEN_MAX, "seed {seed}: {}", request.value_len);
            *consumed
        }
        Decoded::Refuse { consumed, status, then, .. } => {
            assert_eq!(*consumed, HEADER_LEN, "seed {seed}");
            assert_ne!(*status, Status::Ok, "seed {seed}");
            assert!(!matches!(then, Then::Swallow(len) if *len > VALUE_LEN_MAX), "seed {seed}");
            *consumed
        }
        Decoded::NotBinary => 1,
    };
    // Nothing is said before its last byte has come, and what comes later changes nothing.
    for cut in [0, 1, 23, 24, 25, end.saturating_sub(1), end].into_iter().filter(|cut| *cut <= input.len()) {
        let wanted = if cut < end { &Decoded::NeedMore } else { &whole };
        assert_eq!(&decode(&input[..cut]), wanted, "seed {seed} cut at {cut}");
    }
}

#[test]
fn decode_says_the_same_however_the_bytes_are_cut_and_never_waits_for_long() {
    for seed in 0..SEEDS {
        let mut prng = Prng::new(seed);
        check(&hostile(&mut prng), seed);
        let len = prng.below(100);
        check(&(0..len).map(|_| prng.below(256) as u8).collect::<Vec<_>>(), seed);
    }
}

#[test]
fn a_reply_that_does_not_fit_its_length_fields_says_so() {
    let mut out = Vec::new();
    Reply { key: &[b'k'; 0x1_0000], ..Reply::default() }.put(Echo { opcode: 0, opaque: 7 }, &mut out);
    let mut wanted = Vec::new();
    Reply::error(Status::TooLarge).put(Echo { opcode: 0, opaque: 7 }, &mut wanted);
    assert_eq!(out, wanted);
    assert_eq!(out[..8], [REPLY_MAGIC, 0, 0, 0, 0, 0, 0, 3]);
}
