//! One client's connection: where it is in its input, and the answers that it is owed, in order.

use std::collections::VecDeque;

use net::ConnId;
use proto::reply::text;

/// What the next bytes of a client are.
#[derive(Debug)]
pub(crate) enum Input {
    /// A command line.
    Line,
    /// A data block of which `missing` bytes, line end included, are still to come.
    Block { prepared: crate::prepare::Prepared, missing: usize, quiet: bool },
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
    /// Close when nothing is owed any more.
    pub(crate) closing: bool,
    /// Not read until fewer answers are owed.
    pub(crate) held_back: bool,
}

#[derive(Debug)]
enum Owed {
    /// One answer still to come.
    One { quiet: bool },
    /// Answers of several keys, in the order asked.
    Many { parts: Vec<Option<Vec<u8>>>, missing: usize },
    /// Words of several servers about one flush.
    Flush { servers: usize, missing: usize, failed: usize, quiet: bool },
    /// Ready, waiting for those before it.
    Ready(Vec<u8>),
}

impl Client {
    pub(crate) fn new(conn: ConnId) -> Self {
        Self {
            conn,
            input: Input::Line,
            owed: VecDeque::new(),
            first_seq: 0,
            closing: false,
            held_back: false,
        }
    }

    /// Answers owed.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Owes one answer; returns its number.
    pub(crate) fn owe_one(&mut self, quiet: bool) -> u64 {
        self.owed.push_back(Owed::One { quiet });
        self.first_seq + self.owed.len() as u64 - 1
    }

    /// Owes the values of several keys; returns their common number.
    pub(crate) fn owe_many(&mut self, keys: usize) -> u64 {
        self.owed.push_back(Owed::Many { parts: (0..keys).map(|_| None).collect(), missing: keys });
        self.first_seq + self.owed.len() as u64 - 1
    }

    /// Owes one answer for a flush of so many servers.
    pub(crate) fn owe_flush(&mut self, servers: usize, quiet: bool) -> u64 {
        self.owed.push_back(Owed::Flush { servers, missing: servers, failed: 0, quiet });
        self.first_seq + self.owed.len() as u64 - 1
    }

    /// Gives an answer that is known at once.
    pub(crate) fn answer_now(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.owed.is_empty() {
            out.extend_from_slice(bytes);
            self.first_seq += 1;
        } else {
            self.owed.push_back(Owed::Ready(bytes.to_vec()));
        }
    }

    /// Gives the answer number `seq`, for key `part` of it.
    pub(crate) fn deliver(&mut self, seq: u64, part: usize, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(index) = seq.checked_sub(self.first_seq).map(|index| index as usize) else { return };
        let Some(owed) = self.owed.get_mut(index) else { return };
        match owed {
            Owed::One { quiet } => {
                let bytes = if *quiet { &[] } else { bytes };
                if index == 0 {
                    out.extend_from_slice(bytes);
                    *owed = Owed::Ready(Vec::new());
                } else {
                    *owed = Owed::Ready(bytes.to_vec());
                }
            }
            Owed::Many { parts, missing } => {
                let values = bytes.strip_suffix(text::END).unwrap_or_default();
                if let Some(part) = parts.get_mut(part).filter(|part| part.is_none()) {
                    *part = Some(values.to_vec());
                    *missing -= 1;
                }
                if *missing == 0 {
                    let mut whole: Vec<u8> = parts.iter().flatten().flatten().copied().collect();
                    whole.extend_from_slice(text::END);
                    *owed = Owed::Ready(whole);
                }
            }
            Owed::Flush { servers, missing, failed, quiet } => {
                *missing -= 1;
                *failed += usize::from(bytes != text::OK);
                if *missing == 0 {
                    *owed = Owed::Ready(if *quiet { Vec::new() } else { flushed(*servers, *failed) });
                }
            }
            Owed::Ready(_) => {}
        }
        self.send_ready(out);
    }

    fn send_ready(&mut self, out: &mut Vec<u8>) {
        while let Some(Owed::Ready(bytes)) = self.owed.front() {
            out.extend_from_slice(bytes);
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
        let first = client.owe_one(false);
        let many = client.owe_many(2);
        let quiet = client.owe_one(true);
        client.answer_now(b"VERSION\r\n", &mut out);
        client.deliver(quiet, 0, b"STORED\r\n", &mut out);
        client.deliver(many, 1, b"VALUE b 0 1\r\nB\r\nEND\r\n", &mut out);
        client.deliver(many, 0, b"END\r\n", &mut out);
        assert_eq!(out, b"");
        client.deliver(first, 0, b"DELETED\r\n", &mut out);
        assert_eq!(out, b"DELETED\r\nVALUE b 0 1\r\nB\r\nEND\r\nVERSION\r\n");
        assert_eq!(client.owed(), 0);
        let next = client.owe_one(false);
        client.deliver(next, 0, b"OK\r\n", &mut out);
        assert!(out.ends_with(b"VERSION\r\nOK\r\n"));
    }
}
