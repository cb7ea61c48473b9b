//! One connection: a batch of requests out, its replies in.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::epoll::EventFlags;
use stdx::{Instant, Prng};

use crate::keys::KeyChooser;
use crate::limits::READ_SIZE;
use crate::options::BenchOptions;
use crate::report::Tally;
use crate::run::BenchError;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progressed {
    /// Replies are still missing.
    Waiting,
    /// The last reply of the batch came.
    BatchDone {
        /// When the batch was due.
        due: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Line,
    Values { keys: u32 },
}

/// A connection of a load thread.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    output: Vec<u8>,
    written: usize,
    /// The start of a reply whose rest has not come.
    input: Vec<u8>,
    expected: VecDeque<Expected>,
    due: Instant,
    batch_len: u64,
    watches_output: bool,
    /// Bytes that values are cut from.
    filler: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(options: &BenchOptions) -> Result<Self, BenchError> {
        let connect = || -> io::Result<TcpStream> {
            let stream = TcpStream::connect(options.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream = connect().map_err(|source| BenchError::Connect { address: options.address, source })?;
        Ok(Self {
            stream,
            output: Vec::new(),
            written: 0,
            input: Vec::new(),
            expected: VecDeque::new(),
            due: Instant::ZERO,
            batch_len: 0,
            watches_output: false,
            filler: vec![b'x'; options.value_size.max()],
        })
    }

    /// True while replies are missing.
    pub(crate) fn busy(&self) -> bool {
        !self.expected.is_empty()
    }

    /// Requests of the batch that was just answered.
    pub(crate) fn take_batch_len(&mut self) -> u64 {
        std::mem::take(&mut self.batch_len)
    }

    /// Sends `count` requests, gets and sets as the options say.
    pub(crate) fn send_batch(
        &mut self,
        options: &BenchOptions,
        count: u32,
        chooser: &KeyChooser,
        prng: &mut Prng,
        due: Instant,
    ) -> Result<(), BenchError> {
        self.due = due;
        self.batch_len = u64::from(count);
        for _ in 0..count {
            if options.set_share > 0.0 && prng.unit() < options.set_share {
                self.push_set(options, chooser.next(prng));
            } else {
                self.output.extend_from_slice(b"get");
                for _ in 0..options.multiget {
                    self.output.push(b' ');
                    push_key(&mut self.output, chooser.next(prng), options.key_len);
                }
                self.output.extend_from_slice(b"\r\n");
                self.expected.push_back(Expected::Values { keys: options.multiget });
            }
        }
        self.flush()
    }

    /// Sends a set of each key.
    pub(crate) fn send_sets(
        &mut self,
        options: &BenchOptions,
        keys: &[u64],
        due: Instant,
    ) -> Result<(), BenchError> {
        self.due = due;
        for &key in keys {
            self.push_set(options, key);
        }
        self.flush()
    }

    fn push_set(&mut self, options: &BenchOptions, key: u64) {
        let len = options.value_size.of(key);
        self.output.extend_from_slice(b"set ");
        push_key(&mut self.output, key, options.key_len);
        // A Vec takes every write.
        let _ = write!(self.output, " 0 {} {len}\r\n", options.exptime_s);
        self.output.extend_from_slice(&self.filler[..len]);
        self.output.extend_from_slice(b"\r\n");
        self.expected.push_back(Expected::Line);
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> Result<(), BenchError> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// What epoll should watch from now on, if that is something else.
    pub(crate) fn interest_change(&mut self) -> Option<EventFlags> {
        let wanted = !self.output.is_empty();
        if wanted == self.watches_output {
            return None;
        }
        self.watches_output = wanted;
        Some(if wanted { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN })
    }

    /// Reads what came, once, and counts the replies in it. `buffer` is scratch space shared by a thread's connections.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>, tally: &mut Tally) -> Result<Progressed, BenchError> {
        let start = self.input.len();
        if buffer.len() < start + READ_SIZE {
            buffer.resize(start + READ_SIZE, 0);
        }
        buffer[..start].copy_from_slice(&self.input);
        let end = match self.stream.read(&mut buffer[start..]) {
            Ok(0) => return Err(BenchError::Closed),
            Ok(count) => start + count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progressed::Waiting),
            Err(error) => return Err(error.into()),
        };
        let was_busy = self.busy();
        let consumed = self.count_replies(&buffer[..end], tally)?;
        self.input.clear();
        self.input.extend_from_slice(&buffer[consumed..end]);
        Ok(if was_busy && !self.busy() {
            Progressed::BatchDone { due: self.due }
        } else {
            Progressed::Waiting
        })
    }

    fn count_replies(&mut self, buffer: &[u8], tally: &mut Tally) -> Result<usize, BenchError> {
        let mut consumed = 0;
        while let Some(&expected) = self.expected.front() {
            let rest = &buffer[consumed..];
            let Some(reply) = measure(expected, rest)? else { break };
            consumed += reply.len;
            self.expected.pop_front();
            tally.requests += 1;
            tally.hits += reply.values;
            if let Expected::Values { keys } = expected {
                tally.gets += 1;
                tally.keys_asked += u64::from(keys);
            }
            if reply.error {
                tally.errors += 1;
                let line = rest.split(|&b| b == b'\r').next().unwrap_or_default();
                tally.first_error.get_or_insert_with(|| String::from_utf8_lossy(line).into_owned());
            }
        }
        Ok(consumed)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

struct Measured {
    len: usize,
    values: u64,
    error: bool,
}

/// The length of the first reply in `bytes`; `None` when it is not whole. Values are skipped, not looked at: a load
/// generator that spends its time in its own parser measures itself.
fn measure(expected: Expected, bytes: &[u8]) -> Result<Option<Measured>, BenchError> {
    let (mut at, mut values) = (0, 0);
    loop {
        let Some(end) = bytes[at..].windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let line = &bytes[at..at + end];
        at += end + 2;
        let Some(head) = line.strip_prefix(b"VALUE ").filter(|_| matches!(expected, Expected::Values { .. }))
        else {
            let error = line.starts_with(b"ERROR")
                || line.starts_with(b"CLIENT_ERROR")
                || line.starts_with(b"SERVER_ERROR");
            return Ok(Some(Measured { len: at, values, error }));
        };
        let len = head
            .split(|&b| b == b' ')
            .nth(2)
            .and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
        at += len.ok_or_else(|| BenchError::Garbage(String::from_utf8_lossy(line).into_owned()))? + 2;
        if at > bytes.len() {
            return Ok(None);
        }
        values += 1;
    }
}

/// `key-` and the number, padded with zeros to the length.
fn push_key(output: &mut Vec<u8>, key: u64, len: usize) {
    let start = output.len();
    output.extend_from_slice(b"key-");
    output.resize(start + len, b'0');
    let (mut rest, mut at) = (key, start + len);
    while rest > 0 && at > start + 4 {
        at -= 1;
        output[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: Expected, bytes: &[u8], len: Option<usize>, values: u64, error: bool) {
        let found = measure(expected, bytes).expect("no garbage");
        assert_eq!(found.as_ref().map(|reply| reply.len), len);
        if let Some(reply) = found {
            assert_eq!((reply.values, reply.error), (values, error));
        }
    }

    #[test]
    fn replies_are_measured_whole_or_not_at_all() {
        let values = Expected::Values { keys: 2 };
        let whole = b"VALUE a 0 2\r\nxx\r\nVALUE b 0 5\r\nEND\r\n\r\nEND\r\nSTORED\r\n";
        let end = whole.len() - b"STORED\r\n".len();
        check(values, whole, Some(end), 2, false);
        for cut in 0..end {
            check(values, &whole[..cut], None, 0, false);
        }
        check(Expected::Line, b"STORED\r\n", Some(8), 0, false);
        check(Expected::Line, b"SERVER_ERROR out of memory\r\n", Some(28), 0, true);
        check(values, b"ERROR\r\n", Some(7), 0, true);
        assert!(measure(values, b"VALUE a b\r\n").is_err());
    }

    #[test]
    fn keys_have_the_asked_length() {
        let mut output = Vec::new();
        push_key(&mut output, 123, 16);
        assert_eq!(output, b"key-000000000123");
    }
}
