//! memcached's frame for UDP: each datagram begins with 8 bytes, four big-endian numbers.
//!
//! ```text
//!  0        2          4       6          8
//! +--------+----------+-------+----------+---------- …
//! | id     | sequence | total | reserved | requests, or a part of a message
//! +--------+----------+-------+----------+---------- …
//! ```
//!
//! A request has the id that its replies come back with, and must be a single datagram. A reply is one message or
//! several; each is cut into `total` datagrams, numbered from 0. See memcached's `protocol.txt`, "UDP protocol".

use crate::limits::{DATAGRAM_LEN_MAX, MESSAGE_DATAGRAMS_MAX};

/// Length of the frame's head.
pub const DATAGRAM_HEAD_LEN: usize = 8;

/// Bytes of a message in each of its datagrams but the last.
pub const DATAGRAM_PART_LEN: usize = DATAGRAM_LEN_MAX - DATAGRAM_HEAD_LEN;

/// What a request is called by whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub u16);

/// The id of a request and what was asked; `None` for what is no request, or only a part of one: as memcached, a
/// server keeps silent about those. Sequence and reserved bytes are not looked at.
pub fn decode_request(datagram: &[u8]) -> Option<(RequestId, &[u8])> {
    let (head, requests) = datagram.split_first_chunk::<DATAGRAM_HEAD_LEN>()?;
    let [id_high, id_low, _, _, total_high, total_low, _, _] = *head;
    let is_whole = u16::from_be_bytes([total_high, total_low]) == 1;
    is_whole.then(|| (RequestId(u16::from_be_bytes([id_high, id_low])), requests))
}

/// The datagrams of one message, in order: heads and parts. None for a message that is empty, or longer than its
/// numbers can count.
pub fn encode_message(
    id: RequestId,
    message: &[u8],
) -> impl Iterator<Item = ([u8; DATAGRAM_HEAD_LEN], &[u8])> {
    let parts = message.chunks(DATAGRAM_PART_LEN);
    let total = if parts.len() <= MESSAGE_DATAGRAMS_MAX { parts.len() as u16 } else { 0 };
    (0..total).zip(parts).map(move |(sequence, part)| (head(id, sequence, total), part))
}

const fn head(id: RequestId, sequence: u16, total: u16) -> [u8; DATAGRAM_HEAD_LEN] {
    let [a, b] = id.0.to_be_bytes();
    let [c, d] = sequence.to_be_bytes();
    let [e, f] = total.to_be_bytes();
    [a, b, c, d, e, f, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_whole_datagram() {
        let check = |datagram: &[u8], expect: Option<(u16, &[u8])>| {
            let got = decode_request(datagram).map(|(id, requests)| (id.0, requests));
            assert_eq!(got, expect, "{datagram:?}");
        };
        check(b"\x12\x34\0\0\0\x01\0\0get a\r\n", Some((0x1234, b"get a\r\n")));
        check(b"\0\0\0\0\0\x01\0\0", Some((0, b"")));
        // As memcached, whatever the sequence and the reserved bytes are.
        check(b"\0\x01\0\x07\0\x01\xbe\xefx", Some((1, b"x")));
        check(b"\0\x01\0\0\0\x02\0\0x", None);
        check(b"\0\x01\0\0\x01\x01\0\0x", None);
        check(b"\0\x01\0\0\0\0\0\0x", None);
        for len in 0..DATAGRAM_HEAD_LEN {
            check(&b"\0\0\0\0\0\x01\0\0"[..len], None);
        }
    }

    #[test]
    fn a_message_is_cut_into_numbered_datagrams() {
        let check = |len: usize, expect: &[(u16, usize)]| {
            let message = vec![b'm'; len];
            let mut whole = Vec::new();
            let mut got = Vec::new();
            for (head, part) in encode_message(RequestId(0x1234), &message) {
                assert_eq!((&head[..2], &head[6..]), (&b"\x12\x34"[..], &b"\0\0"[..]));
                assert_eq!(usize::from(u16::from_be_bytes([head[4], head[5]])), expect.len());
                got.push((u16::from_be_bytes([head[2], head[3]]), part.len()));
                whole.extend_from_slice(part);
            }
            assert_eq!(got, expect);
            assert!(expect.is_empty() || whole == message);
        };
        check(0, &[]);
        check(1, &[(0, 1)]);
        check(1392, &[(0, 1392)]);
        check(1393, &[(0, 1392), (1, 1)]);
        check(3000, &[(0, 1392), (1, 1392), (2, 216)]);
        let most = MESSAGE_DATAGRAMS_MAX * DATAGRAM_PART_LEN;
        assert_eq!(encode_message(RequestId(1), &vec![0; most]).count(), MESSAGE_DATAGRAMS_MAX);
        assert_eq!(encode_message(RequestId(1), &vec![0; most + 1]).count(), 0);
    }
}
