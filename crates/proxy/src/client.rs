//! One client's connection: where it is in its input, and the answers that it is owed, in order.

use std::collections::VecDeque;

use net::ConnId;
use proto::reply::text;

use crate::limits::{
    ANSWER_LEN_GUESS, CLIENT_BYTES_HIGH, CLIENT_BYTES_MAX, CLIENT_REQUESTS_LOW, CLIENT_REQUESTS_MAX,
};
use crate::prepare::{Fetch, Prepared};

/// What the next bytes of a client are.
#[derive(Debug)]
pub(crate) enum Input {
    /// A command line.
    Line,
    /// The end of a get's line, whose keys from `at` on are still to be asked for.
    Keys { keys: Box<[u8]>, at: usize, fetch: Fetch },
    /// A data block of which `missing` bytes, line end included, are still to come.
    Block { prepared: Prepared, missing: usize, quiet: bool },
    /// Bytes to throw away; then what follows the data block of a refused command.
    Swallow { missing: usize },
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) conn: ConnId,
    pub(crate) input: Input,
    /// Answers owed; the first is the oldest.
    owed: VecDeque<Owed>,
    /// Number of the first of `owed`.
    first_seq: u64,
    /// Bytes of answers that wait for those before them.
    waiting_bytes: usize,
    /// Bytes of its requests that are on their way.
    request_bytes: usize,
    /// About as long as its longest answers lately.
    answer_len: usize,
    /// Close when nothing is owed any more.
    pub(crate) closing: bool,
    /// Not read until fewer answers are owed.
    pub(crate) held_back: bool,
    /// Requests of it that are parked; while there are any, nothing behind them is begun.
    pub(crate) waiting: usize,
}

#[derive(Debug)]
enum Owed {
    /// One answer still to come.
    One { quiet: bool },
    /// The value of one key of several, if there is one; no `END`.
    Key,
    /// Words of several servers about one flush.
    Flush { servers: usize, missing: usize, failed: usize, quiet: bool },
    /// Here, waiting for those before it.
    Ready(Vec<u8>),
}

impl Client {
    pub(crate) fn new(conn: ConnId) -> Self {
        Self {
            conn,
            input: Input::Line,
            owed: VecDeque::new(),
            first_seq: 0,
            waiting_bytes: 0,
            request_bytes: 0,
            answer_len: ANSWER_LEN_GUESS,
            closing: false,
            held_back: false,
            waiting: 0,
        }
    }

    /// Answers owed.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Whether another request may be begun.
    pub(crate) fn has_room(&self) -> bool {
        let few = self.owed.len() < CLIENT_REQUESTS_MAX && self.expected_bytes() < CLIENT_BYTES_HIGH;
        self.waiting == 0 && (self.owed.is_empty() || few)
    }

    /// Whether a client that was held back should be read again.
    pub(crate) fn has_much_room(&self) -> bool {
        let few = self.owed.len() <= CLIENT_REQUESTS_LOW && self.expected_bytes() < CLIENT_BYTES_HIGH / 2;
        self.waiting == 0 && few
    }

    fn expected_bytes(&self) -> usize {
        self.owed.len() * self.answer_len + self.waiting_bytes + self.request_bytes
    }

    /// Owes one answer to a request of that length; returns its number.
    pub(crate) fn owe_one(&mut self, request_len: usize, quiet: bool) -> u64 {
        self.owe(Owed::One { quiet }, request_len)
    }

    /// Owes the value of one key of several; `END` is owed after the last. Returns its number.
    pub(crate) fn owe_key(&mut self, request_len: usize) -> u64 {
        self.owe(Owed::Key, request_len)
    }

    /// Owes one answer for a flush of so many servers, with requests of that length together.
    pub(crate) fn owe_flush(&mut self, servers: usize, request_len: usize, quiet: bool) -> u64 {
        self.owe(Owed::Flush { servers, missing: servers, failed: 0, quiet }, request_len)
    }

    fn owe(&mut self, owed: Owed, request_len: usize) -> u64 {
        self.request_bytes += request_len;
        self.owed.push_back(owed);
        self.first_seq + self.owed.len() as u64 - 1
    }

    /// Gives an answer that is known at once.
    pub(crate) fn answer_now(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.owed.is_empty() {
            out.extend_from_slice(bytes);
            self.first_seq += 1;
        } else {
            self.waiting_bytes += bytes.len();
            self.owed.push_back(Owed::Ready(bytes.to_vec()));
        }
    }

    /// Gives the answer number `seq`, to a request of that length. False: it was a value, and is a miss for want of
    /// room.
    pub(crate) fn deliver(&mut self, seq: u64, request_len: usize, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        self.request_bytes = self.request_bytes.saturating_sub(request_len);
        self.answer_len = bytes.len().max(self.answer_len - self.answer_len / 8);
        let fits =
            bytes.len() + self.waiting_bytes + out.len() <= CLIENT_BYTES_MAX || !bytes.starts_with(b"VALUE ");
        let bytes = if fits { bytes } else { text::END };
        let Some(index) = seq.checked_sub(self.first_seq).map(|index| index as usize) else { return fits };
        let Some(owed) = self.owed.get_mut(index) else { return fits };
        let bytes = match owed {
            Owed::One { quiet: true } | Owed::Ready(_) => &[],
            Owed::One { quiet: false } => bytes,
            Owed::Key => bytes.strip_suffix(text::END).unwrap_or_default(),
            Owed::Flush { servers, missing, failed, quiet } => {
                *missing -= 1;
                *failed += usize::from(bytes != text::OK);
                if *missing > 0 {
                    return fits;
                }
                &if *quiet { Vec::new() } else { flushed(*servers, *failed) }
            }
        };
        if index == 0 {
            out.extend_from_slice(bytes);
            *owed = Owed::Ready(Vec::new());
            self.send_ready(out);
        } else {
            self.waiting_bytes += bytes.len();
            *owed = Owed::Ready(bytes.to_vec());
        }
        fits
    }

    fn send_ready(&mut self, out: &mut Vec<u8>) {
        while let Some(Owed::Ready(bytes)) = self.owed.front() {
            out.extend_from_slice(bytes);
            self.waiting_bytes -= bytes.len();
            self.owed.pop_front();
            self.first_seq += 1;
        }
    }
}

fn flushed(servers: usize, failed: usize) -> Vec<u8> {
    if failed == 0 {
        return text::OK.to_vec();
    }
    format!("SERVER_ERROR {failed} of {servers} servers did not answer; they are flushed before they are used again\r\n")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_out_in_the_order_of_the_requests() {
        let mut client = Client::new(ConnId::default());
        let mut out = Vec::new();
        let first = client.owe_one(10, false);
        let (a, b) = (client.owe_key(10), client.owe_key(10));
        client.answer_now(text::END, &mut out);
        let quiet = client.owe_one(10, true);
        client.answer_now(b"VERSION\r\n", &mut out);
        let mut deliver = |seq, bytes: &[u8], expect: &[u8]| {
            assert!(client.deliver(seq, 10, bytes, &mut out));
            assert_eq!(out, expect);
        };
        deliver(quiet, b"STORED\r\n", b"");
        deliver(b, b"VALUE b 0 1\r\nB\r\nEND\r\n", b"");
        deliver(first, b"DELETED\r\n", b"DELETED\r\n");
        deliver(a, text::END, b"DELETED\r\nVALUE b 0 1\r\nB\r\nEND\r\nVERSION\r\n");
        assert_eq!((client.owed(), client.waiting_bytes, client.request_bytes), (0, 0, 0));
        let next = client.owe_one(10, false);
        client.deliver(next, 10, b"OK\r\n", &mut out);
        assert!(out.ends_with(b"VERSION\r\nOK\r\n"));
    }

    #[test]
    fn what_is_expected_holds_a_client_back() {
        let mut client = Client::new(ConnId::default());
        let mut out = Vec::new();
        while client.has_room() {
            client.owe_one(100, false);
        }
        // Of answers nothing is known yet.
        assert!((32..=64).contains(&client.owed()), "{}", client.owed());
        while client.owed() > 0 {
            client.deliver(client.first_seq, 100, b"END\r\n", &mut out);
        }
        assert!(client.has_much_room());
        while client.has_room() {
            client.owe_one(100, false);
        }
        assert_eq!(client.owed(), CLIENT_REQUESTS_MAX, "short answers were seen");
        let mut client = Client::new(ConnId::default());
        client.owe_one(CLIENT_BYTES_HIGH, false);
        assert!(!client.has_room(), "a long request alone");
    }

    #[test]
    fn a_value_too_many_is_a_miss() {
        let mut client = Client::new(ConnId::default());
        let mut out = vec![0; CLIENT_BYTES_MAX];
        let (first, second) = (client.owe_one(10, false), client.owe_one(10, false));
        let value = b"VALUE a 0 1\r\nx\r\nEND\r\n";
        assert!(!client.deliver(second, 10, value, &mut out));
        assert!(client.deliver(first, 10, text::STORED, &mut out));
        assert!(out.ends_with(b"\0STORED\r\nEND\r\n"));
    }
}
