//! One connection: a batch of requests out, its replies in.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::epoll::EventFlags;
use stdx::Instant;

use crate::limits::READ_SIZE;
use crate::options::BenchOptions;
use crate::report::Tally;
use crate::request::{Expected, Workload, measure};
use crate::run::BenchError;
use crate::target::Stream;

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

/// A connection of a load thread.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    output: Vec<u8>,
    written: usize,
    /// The start of a reply whose rest has not come.
    input: Vec<u8>,
    expected: VecDeque<Expected>,
    /// Keys that the last batch missed and the next one stores.
    missed: Vec<u64>,
    due: Instant,
    batch_len: u64,
    watches_output: bool,
}

impl Connection {
    pub(crate) fn open(options: &BenchOptions) -> Result<Self, BenchError> {
        let connect = || -> io::Result<Stream> {
            let stream = options.target.connect()?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream =
            connect().map_err(|source| BenchError::Connect { target: options.target.clone(), source })?;
        Ok(Self {
            stream,
            output: Vec::new(),
            written: 0,
            input: Vec::new(),
            expected: VecDeque::new(),
            missed: Vec::new(),
            due: Instant::ZERO,
            batch_len: 0,
            watches_output: false,
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

    /// Sends `count` requests, and before them sets of what the last batch missed.
    pub(crate) fn send_batch(
        &mut self,
        workload: &mut Workload<'_>,
        count: u32,
        due: Instant,
    ) -> Result<(), BenchError> {
        self.due = due;
        for key in self.missed.drain(..) {
            workload.push_set(key, &mut self.output, &mut self.expected);
        }
        for _ in 0..count {
            workload.push_next(&mut self.output, &mut self.expected);
        }
        self.batch_len = self.expected.len() as u64;
        self.flush()
    }

    /// Sends a set of each key.
    pub(crate) fn send_sets(
        &mut self,
        workload: &Workload<'_>,
        keys: &[u64],
        due: Instant,
    ) -> Result<(), BenchError> {
        self.due = due;
        for &key in keys {
            workload.push_set(key, &mut self.output, &mut self.expected);
        }
        self.flush()
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
            let Some(reply) = measure(expected.shape, rest)? else { break };
            consumed += reply.len;
            self.expected.pop_front();
            tally.requests += 1;
            tally.hits += reply.values;
            tally.keys_asked += u64::from(expected.keys);
            tally.gets += u64::from(expected.keys > 0);
            if reply.error {
                tally.errors += 1;
                let line = rest.split(|&b| b == b'\r').next().unwrap_or_default();
                tally.first_error.get_or_insert_with(|| String::from_utf8_lossy(line).into_owned());
            } else if reply.values == 0 {
                self.missed.extend(expected.wanted);
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
