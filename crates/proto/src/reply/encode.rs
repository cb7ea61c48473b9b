//! The replies that are not one fixed text, appended to an output buffer. Nothing is allocated but what the
//! buffer itself needs to grow.

use std::fmt::{self, Write};
use std::ops::Deref;

use super::text;
use crate::ids::{ClusterId, Incarnation, MapVersion, NodeId};

/// The decimal digits of a number.
#[derive(Clone, Copy, Debug)]
pub struct Digits {
    /// Right-aligned.
    bytes: [u8; Self::LEN_MAX],
    start: usize,
}

impl Digits {
    /// Digits of 2^64 - 1.
    pub const LEN_MAX: usize = 20;

    /// The digits of `number`, without leading zeros.
    #[inline]
    pub fn new(mut number: u64) -> Self {
        let mut digits = Self { bytes: [b'0'; Self::LEN_MAX], start: Self::LEN_MAX };
        for byte in digits.bytes.iter_mut().rev() {
            *byte = b'0' + (number % 10) as u8;
            number /= 10;
            digits.start -= 1;
            if number == 0 {
                break;
            }
        }
        digits
    }
}

impl Deref for Digits {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// `VALUE <key> <flags> <len>[ <cas>]`; the data and a line end must follow.
#[inline]
pub fn put_value_header(out: &mut Vec<u8>, key: &[u8], flags: u32, len: usize, cas: Option<u64>) {
    out.extend_from_slice(b"VALUE ");
    out.extend_from_slice(key);
    put_word(out, &Digits::new(u64::from(flags)));
    put_word(out, &Digits::new(len as u64));
    if let Some(cas) = cas {
        put_word(out, &Digits::new(cas));
    }
    out.extend_from_slice(b"\r\n");
}

/// A whole `VALUE` block: header, data, line end.
#[inline]
pub fn put_value(out: &mut Vec<u8>, key: &[u8], flags: u32, value: &[u8], cas: Option<u64>) {
    put_value_header(out, key, flags, value.len(), cas);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The number of an incr or decr.
pub fn put_number_line(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&Digits::new(number));
    out.extend_from_slice(b"\r\n");
}

/// `VERSION <version>`; digits and dots, each number at most 255, or libmemcached refuses the server.
pub fn put_version(out: &mut Vec<u8>, version: &str) {
    out.extend_from_slice(b"VERSION ");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `STAT <name> <value>`; [`text::END`] must follow the last.
pub fn put_stat(out: &mut Vec<u8>, name: impl fmt::Display, value: impl fmt::Display) {
    write!(Text(out), "STAT {name} {value}\r\n").expect("a Vec takes all bytes");
}

/// `CLOCK <incarnation> <ms>`
pub fn put_clock(out: &mut Vec<u8>, incarnation: Incarnation, ms: u64) {
    out.extend_from_slice(b"CLOCK");
    put_word(out, &Digits::new(incarnation.0));
    put_word(out, &Digits::new(ms));
    out.extend_from_slice(b"\r\n");
}

/// `NODE <cluster> <name> <incarnation>`
pub fn put_node(out: &mut Vec<u8>, cluster: ClusterId, name: &NodeId, incarnation: Incarnation) {
    out.extend_from_slice(b"NODE");
    put_word(out, &Digits::new(cluster.0));
    put_word(out, name.as_str().as_bytes());
    put_word(out, &Digits::new(incarnation.0));
    out.extend_from_slice(b"\r\n");
}

/// `MAP <version> <length>`, the text, `END`. An empty text says that nothing is newer.
pub fn put_map(out: &mut Vec<u8>, version: MapVersion, map: &[u8]) {
    out.extend_from_slice(b"MAP");
    put_word(out, &Digits::new(version.0));
    put_word(out, &Digits::new(map.len() as u64));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(map);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text::END);
}

/// `CONFIG cluster 0 <length>` and the list of nodes, `host|ip|port` with spaces between them. Clients look
/// again from time to time and compare `version`.
pub fn put_config(out: &mut Vec<u8>, version: u64, nodes: &str) {
    let version = Digits::new(version);
    out.extend_from_slice(b"CONFIG cluster 0");
    put_word(out, &Digits::new((version.len() + nodes.len() + 2) as u64));
    out.extend_from_slice(b"\r\n");
    for line in [&*version, nodes.as_bytes()] {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text::END);
}

/// A space and a word.
#[inline]
fn put_word(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b' ');
    out.extend_from_slice(word);
}

/// An output buffer as a formatter's target.
struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_what_display_writes() {
        for number in [0, 1, 9, 10, 99, 100, 1_000_000, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            assert_eq!(&*Digits::new(number), number.to_string().as_bytes());
        }
    }
}
