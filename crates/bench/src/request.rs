//! The requests of a load thread, and how long their replies are.

use std::collections::VecDeque;
use std::io::Write;

use stdx::Prng;

use crate::keys::KeyChooser;
use crate::limits::LONE_KEYS;
use crate::options::{BenchOptions, Protocol};
use crate::run::BenchError;
use crate::sizes::Sizes;

/// The reply that a request waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) shape: Shape,
    /// Keys that a get asked for; 0: no get.
    pub(crate) keys: u32,
    /// To be stored when it is missed.
    pub(crate) wanted: Option<u64>,
}

/// How a reply ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One line.
    Line,
    /// `VALUE` blocks and `END`.
    Values,
    /// One line, with a block after `VA`.
    Meta,
    /// Any number of those up to `MN`.
    MetaBatch,
}

/// Draws and writes requests.
pub(crate) struct Workload<'a> {
    pub(crate) options: &'a BenchOptions,
    pub(crate) prng: Prng,
    chooser: KeyChooser,
    /// Bytes that values are cut from.
    filler: Vec<u8>,
}

impl<'a> Workload<'a> {
    pub(crate) fn new(options: &'a BenchOptions, seed: u64) -> Self {
        Self {
            options,
            prng: Prng::new(seed),
            chooser: KeyChooser::new(options.keys, &options.popularity),
            filler: vec![b'x'; options.value_size.max()],
        }
    }

    /// Writes one request, drawn from the mix.
    pub(crate) fn push_next(&mut self, output: &mut Vec<u8>, expected: &mut VecDeque<Expected>) {
        let mix = self.options.mix;
        let draw = self.prng.unit();
        if draw < mix.sets {
            let key = self.chooser.next(&mut self.prng);
            self.push_set(key, output, expected);
        } else if draw < mix.sets + mix.deletes {
            let key = self.chooser.next(&mut self.prng);
            self.push_delete(key, output, expected);
        } else if draw < mix.sets + mix.deletes + mix.lone_gets {
            let key = self.options.keys + self.prng.below(LONE_KEYS);
            self.push_get(&[key], None, output, expected);
        } else if self.options.multiget == 1 {
            let key = self.chooser.next(&mut self.prng);
            self.push_get(&[key], mix.set_on_miss.then_some(key), output, expected);
        } else {
            let keys: Vec<u64> =
                (0..self.options.multiget).map(|_| self.chooser.next(&mut self.prng)).collect();
            self.push_get(&keys, None, output, expected);
        }
    }

    fn push_get(
        &self,
        keys: &[u64],
        wanted: Option<u64>,
        output: &mut Vec<u8>,
        expected: &mut VecDeque<Expected>,
    ) {
        let shape = match (self.options.protocol, keys) {
            (Protocol::Text, _) => {
                output.extend_from_slice(b"get");
                for &key in keys {
                    output.push(b' ');
                    self.push_key(key, output);
                }
                output.extend_from_slice(b"\r\n");
                Shape::Values
            }
            (Protocol::Meta, &[key]) => {
                output.extend_from_slice(b"mg ");
                self.push_key(key, output);
                output.extend_from_slice(b" v\r\n");
                Shape::Meta
            }
            (Protocol::Meta, _) => {
                for &key in keys {
                    output.extend_from_slice(b"mg ");
                    self.push_key(key, output);
                    output.extend_from_slice(b" v q\r\n");
                }
                output.extend_from_slice(b"mn\r\n");
                Shape::MetaBatch
            }
        };
        expected.push_back(Expected { shape, keys: keys.len() as u32, wanted });
    }

    /// Writes a set.
    pub(crate) fn push_set(&self, key: u64, output: &mut Vec<u8>, expected: &mut VecDeque<Expected>) {
        let len = self.options.value_size.of(key);
        let ttl = self.options.ttl.of(key);
        output.extend_from_slice(if self.options.protocol == Protocol::Text { b"set " } else { b"ms " });
        self.push_key(key, output);
        // A Vec takes every write.
        let _ = match self.options.protocol {
            Protocol::Text => write!(output, " 0 {ttl} {len}\r\n"),
            Protocol::Meta => write!(output, " {len} T{ttl}\r\n"),
        };
        output.extend_from_slice(&self.filler[..len]);
        output.extend_from_slice(b"\r\n");
        expected.push_back(Expected { shape: Shape::Line, keys: 0, wanted: None });
    }

    fn push_delete(&self, key: u64, output: &mut Vec<u8>, expected: &mut VecDeque<Expected>) {
        output.extend_from_slice(if self.options.protocol == Protocol::Text { b"delete " } else { b"md " });
        self.push_key(key, output);
        output.extend_from_slice(b"\r\n");
        expected.push_back(Expected { shape: Shape::Line, keys: 0, wanted: None });
    }

    fn push_key(&self, key: u64, output: &mut Vec<u8>) {
        match &self.options.key_size {
            Sizes::Fixed(len) => push_padded(output, b"key-", 10, key, *len),
            sizes => {
                let len = sizes.of(key.wrapping_add(0x517c)).max(digits_36(key));
                push_padded(output, b"", 36, key, len);
            }
        }
    }
}

/// Digits that a number needs to the base of 36.
fn digits_36(key: u64) -> usize {
    key.checked_ilog(36).unwrap_or(0) as usize + 1
}

/// A prefix and a number, padded with zeros to the length.
fn push_padded(output: &mut Vec<u8>, prefix: &[u8], base: u64, key: u64, len: usize) {
    let start = output.len();
    output.extend_from_slice(prefix);
    output.resize(start + len, b'0');
    let (mut rest, mut at) = (key, start + len);
    while rest > 0 && at > start + prefix.len() {
        at -= 1;
        output[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % base) as usize];
        rest /= base;
    }
}

/// A reply that is there whole.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) len: usize,
    pub(crate) values: u64,
    pub(crate) error: bool,
}

/// The length of the first reply in `bytes`; `None` when it is not whole. Values are skipped, not looked at: a load
/// generator that spends its time in its own parser measures itself.
pub(crate) fn measure(shape: Shape, bytes: &[u8]) -> Result<Option<Measured>, BenchError> {
    let (mut at, mut values) = (0, 0);
    loop {
        let Some(end) = bytes[at..].windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let line = &bytes[at..at + end];
        at += end + 2;
        let (prefix, position): (&[u8], usize) = match shape {
            Shape::Line => (b"\n", 0),
            Shape::Values => (b"VALUE ", 2),
            Shape::Meta | Shape::MetaBatch => (b"VA ", 0),
        };
        let Some(head) = line.strip_prefix(prefix) else {
            let error = line.starts_with(b"ERROR")
                || line.starts_with(b"CLIENT_ERROR")
                || line.starts_with(b"SERVER_ERROR");
            if shape == Shape::MetaBatch && !error && line != b"MN" {
                continue;
            }
            return Ok(Some(Measured { len: at, values, error }));
        };
        let len = head
            .split(|&b| b == b' ')
            .nth(position)
            .and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
        at = len
            .and_then(|len| at.checked_add(len)?.checked_add(2))
            .ok_or_else(|| BenchError::Garbage(String::from_utf8_lossy(line).into_owned()))?;
        if at > bytes.len() {
            return Ok(None);
        }
        values += 1;
        if shape == Shape::Meta {
            return Ok(Some(Measured { len: at, values, error: false }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shape: Shape, bytes: &[u8], len: Option<usize>, values: u64, error: bool) {
        let found = measure(shape, bytes).expect("no garbage");
        assert_eq!(found.as_ref().map(|reply| reply.len), len);
        if let Some(reply) = found {
            assert_eq!((reply.values, reply.error), (values, error));
        }
    }

    #[track_caller]
    fn check_whole(shape: Shape, whole: &[u8], values: u64) {
        let mut followed = whole.to_vec();
        followed.extend_from_slice(b"STORED\r\n");
        check(shape, &followed, Some(whole.len()), values, false);
        for cut in 0..whole.len() {
            check(shape, &whole[..cut], None, 0, false);
        }
    }

    #[test]
    fn replies_are_measured_whole_or_not_at_all() {
        check_whole(Shape::Values, b"VALUE a 0 2\r\nxx\r\nVALUE b 0 5\r\nEND\r\n\r\nEND\r\n", 2);
        check_whole(Shape::Values, b"END\r\n", 0);
        check_whole(Shape::Meta, b"VA 4 t1\r\nEN\r\n\r\n", 1);
        check_whole(Shape::Meta, b"EN\r\n", 0);
        check_whole(Shape::MetaBatch, b"VA 4\r\nMN\r\n\r\nVA 0\r\n\r\nMN\r\n", 2);
        check_whole(Shape::Line, b"STORED\r\n", 0);
        check(Shape::Line, b"SERVER_ERROR out of memory\r\n", Some(28), 0, true);
        check(Shape::Values, b"ERROR\r\n", Some(7), 0, true);
        check(Shape::MetaBatch, b"CLIENT_ERROR bad\r\n", Some(18), 0, true);
        for line in ["VALUE a b\r\n", "VALUE a 0 18446744073709551615\r\n"] {
            assert!(measure(Shape::Values, line.as_bytes()).is_err());
        }
    }

    #[test]
    fn keys_have_the_asked_length() {
        let mut output = Vec::new();
        push_padded(&mut output, b"key-", 10, 123, 16);
        push_padded(&mut output, b"", 36, 35, 3);
        assert_eq!(output, b"key-00000000012300z");
        assert_eq!([0, 35, 36, 36 * 36].map(digits_36), [1, 1, 2, 3]);
    }
}
