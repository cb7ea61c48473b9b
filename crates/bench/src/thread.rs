//! One load thread: its connections, and the loop that sends what is due and reads what comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::Timespec;
use stdx::{Instant, clock};

use crate::connection::{Connection, Progressed};
use crate::limits::{PRELOAD_BATCH, READ_SIZE, SILENCE_MAX};
use crate::options::{BenchOptions, Ending};
use crate::report::Tally;
use crate::request::Workload;
use crate::run::{BenchError, Shared};

/// State of one thread.
pub(crate) struct LoadThread<'a> {
    options: &'a BenchOptions,
    shared: &'a Shared,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Open loop: connections without a batch out, by when their next is due.
    waiting: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Time between two batches of one connection in an open loop.
    interval: Option<Duration>,
    workload: Workload<'a>,
    buffer: Vec<u8>,
    /// Requests that this thread may still send; `u64::MAX` when time ends the run.
    left: u64,
    tally: Tally,
}

impl<'a> LoadThread<'a> {
    /// Connects thread `index` of the run.
    pub(crate) fn connect(
        options: &'a BenchOptions,
        shared: &'a Shared,
        index: u32,
    ) -> Result<Self, BenchError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let share = |total: u64| {
            total / u64::from(options.threads)
                + u64::from(u64::from(index) < total % u64::from(options.threads))
        };
        let mut connections = Vec::new();
        for number in 0..share(u64::from(options.connections)) {
            let connection = Connection::open(options)?;
            epoll::add(&epoll, connection.as_fd(), EventData::new_u64(number), EventFlags::IN)
                .map_err(io::Error::from)?;
            connections.push(connection);
        }
        let batch_rate =
            options.rate.map(|rate| rate / f64::from(options.pipeline) / f64::from(options.connections));
        Ok(Self {
            options,
            shared,
            epoll,
            connections,
            waiting: BinaryHeap::new(),
            interval: batch_rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            workload: Workload::new(
                options,
                options.seed.wrapping_mul(0x9e37_79b9).wrapping_add(u64::from(index)),
            ),
            buffer: vec![0; READ_SIZE],
            left: match options.ending {
                Ending::After(_) => u64::MAX,
                Ending::Requests(total) => share(total),
            },
            tally: Tally::new(),
        })
    }

    /// Stores this thread's part of the keys once.
    pub(crate) fn preload(&mut self, index: u32) -> Result<(), BenchError> {
        let mut keys =
            (u64::from(index)..self.options.keys).step_by(self.options.threads as usize).peekable();
        while keys.peek().is_some() {
            let batch: Vec<u64> = keys.by_ref().take(PRELOAD_BATCH as usize).collect();
            self.connections[0].send_sets(&self.workload, &batch, clock::now())?;
            while self.connections[0].busy() {
                self.turn(clock::now() + SILENCE_MAX, false)?;
            }
            self.shared.add_stored(batch.len() as u64);
        }
        self.tally = Tally::new();
        Ok(())
    }

    /// The measured run.
    pub(crate) fn run(mut self, start: Instant) -> Result<Tally, BenchError> {
        let deadline = match self.options.ending {
            Ending::After(time) => start + time,
            Ending::Requests(_) => Instant(u64::MAX),
        };
        for index in 0..self.connections.len() {
            match self.interval {
                None => self.send(index, clock::now())?,
                Some(interval) => {
                    let offset = interval.mul_f64(self.workload.prng.unit());
                    self.waiting.push(Reverse((start + offset, index)));
                }
            }
        }
        loop {
            let now = clock::now();
            let sending = now < deadline && self.left > 0;
            if !sending && !self.connections.iter().any(Connection::busy) {
                return Ok(self.tally);
            }
            if sending {
                self.send_due(now)?;
            }
            self.turn(deadline.min(now + SILENCE_MAX), now < deadline)?;
        }
    }

    fn send_due(&mut self, now: Instant) -> Result<(), BenchError> {
        while let Some(&Reverse((due, index))) = self.waiting.peek() {
            if due > now {
                break;
            }
            self.waiting.pop();
            self.send(index, due)?;
        }
        Ok(())
    }

    fn send(&mut self, index: usize, due: Instant) -> Result<(), BenchError> {
        let count = self.left.min(u64::from(self.options.pipeline)) as u32;
        if count == 0 {
            return Ok(());
        }
        if self.left != u64::MAX {
            self.left -= u64::from(count);
        }
        self.connections[index].send_batch(&mut self.workload, count, due)
    }

    /// Waits for the server or the next due batch, and handles what came. `again`: answered connections go on.
    fn turn(&mut self, until: Instant, again: bool) -> Result<(), BenchError> {
        let now = clock::now();
        let next = self.waiting.peek().map_or(until, |&Reverse((due, _))| due.min(until));
        let wait = next.since(now);
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut events = Vec::with_capacity(256);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        if events.is_empty() && wait >= SILENCE_MAX && self.connections.iter().any(Connection::busy) {
            return Err(BenchError::Silent);
        }
        for event in &events {
            self.ready(event.data.u64() as usize, event.flags, again)?;
        }
        Ok(())
    }

    fn ready(&mut self, index: usize, flags: EventFlags, again: bool) -> Result<(), BenchError> {
        let connection = &mut self.connections[index];
        if flags.contains(EventFlags::OUT) {
            connection.flush()?;
        }
        let Progressed::BatchDone { due } = connection.read(&mut self.buffer, &mut self.tally)? else {
            return self.watch(index);
        };
        let now = clock::now();
        self.tally.histogram.saturating_record(u64::try_from(now.since(due).as_nanos()).unwrap_or(u64::MAX));
        self.shared.add_done(self.connections[index].take_batch_len());
        match self.interval {
            Some(interval) => self.waiting.push(Reverse((due + interval, index))),
            None if again => self.send(index, now)?,
            None => {}
        }
        self.watch(index)
    }

    /// Asks for writability while output waits.
    fn watch(&mut self, index: usize) -> Result<(), BenchError> {
        let connection = &mut self.connections[index];
        if let Some(flags) = connection.interest_change() {
            epoll::modify(&self.epoll, connection.as_fd(), EventData::new_u64(index as u64), flags)
                .map_err(io::Error::from)?;
        }
        Ok(())
    }
}
