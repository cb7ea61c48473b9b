//! The thread that speaks with the managers: the map where no node can be asked, and dirty reports.
//!
//! It takes what the workers ask, in batches: questions for the map are asked here, once for all, reports are handed
//! to threads of their own ([`crate::reports`]).

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use net::Mailbox;
use proto::control::{Message, decode, encode};
use proto::{Bucket, MapVersion};
use stdx::clock;

use crate::limits::{MANAGER_PAUSE, MANAGER_REPLY_MAX, MANAGER_TIMEOUT};
use crate::proxy::Shared;
use crate::reports::Reports;

/// What a worker asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    /// A map newer than that.
    Map { worker: usize, version: MapVersion },
    /// Make sure that nothing older of this bucket can be read.
    Dirty { bucket: Bucket, worker: usize, report: u64 },
}

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum News {
    /// A map, or the word (empty) that there is none newer.
    Map(Vec<u8>),
    /// No manager answered.
    NoMap,
    /// A dirty report was acknowledged.
    Fenced { report: u64 },
}

/// Owns the connection.
pub(crate) struct Control {
    pub(crate) managers: Vec<String>,
    pub(crate) asks: Receiver<Ask>,
    pub(crate) workers: Vec<Mailbox<News>>,
    pub(crate) shared: Arc<Shared>,
    connection: Option<TcpStream>,
    /// The manager that is tried next.
    turn: usize,
    reports: Reports,
}

impl Control {
    pub(crate) fn new(
        managers: Vec<String>,
        asks: Receiver<Ask>,
        workers: Vec<Mailbox<News>>,
        shared: Arc<Shared>,
    ) -> Self {
        let reports = Reports::new(managers.clone(), workers.clone(), Arc::clone(&shared));
        Self { managers, asks, workers, shared, connection: None, turn: 0, reports }
    }

    /// Runs until all workers are gone.
    pub(crate) fn run(mut self) {
        let mut maps = Vec::new();
        while self.collect(&mut maps) {
            self.reports.send();
            if !maps.is_empty() {
                self.fetch_map(&mut maps);
            }
        }
    }

    /// Waits for something to do and takes all that is there; false in the end.
    fn collect(&mut self, maps: &mut Vec<(usize, MapVersion)>) -> bool {
        let first = if !self.reports.is_waiting() {
            self.asks.recv().ok()
        } else {
            match self.asks.recv_timeout(MANAGER_PAUSE) {
                Ok(ask) => Some(ask),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => None,
            }
        };
        let Some(first) = first else { return false };
        self.note(first, maps);
        loop {
            match self.asks.try_recv() {
                Ok(ask) => self.note(ask, maps),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn note(&mut self, ask: Ask, maps: &mut Vec<(usize, MapVersion)>) {
        match ask {
            Ask::Map { worker, version } => maps.push((worker, version)),
            Ask::Dirty { bucket, worker, report } => {
                self.reports.add(bucket, worker, report, clock::now());
            }
        }
    }

    /// One question for all workers that asked: what the oldest of their maps lacks.
    fn fetch_map(&mut self, maps: &mut Vec<(usize, MapVersion)>) {
        let oldest = maps.iter().map(|(_, version)| *version).min().unwrap_or(MapVersion::NONE);
        let text = match self.ask(&Message::MapGet(oldest)) {
            Ok(Message::MapIs(text)) => Some(text),
            Ok(other) => {
                self.shared.log(format_args!("a manager answered {other:?} instead of the map"));
                None
            }
            Err(_) => None,
        };
        if text.is_none() {
            self.connection = None;
        }
        for (worker, _) in maps.drain(..) {
            self.tell(worker, text.clone().map_or(News::NoMap, News::Map));
        }
    }

    fn tell(&self, worker: usize, news: News) {
        // A worker whose mailbox is full asks again by itself.
        if let Some(mailbox) = self.workers.get(worker) {
            let _ = mailbox.post(news);
        }
    }

    /// Asks on the connection that stands, or on a new one to any manager.
    fn ask(&mut self, message: &Message) -> io::Result<Message> {
        if let Some(stream) = &mut self.connection
            && let Ok(answer) = exchange(stream, message, MANAGER_TIMEOUT)
        {
            return Ok(answer);
        }
        self.connection = None;
        let mut last = io::Error::from(io::ErrorKind::NotConnected);
        for _ in 0..self.managers.len() {
            self.turn = (self.turn + 1) % self.managers.len();
            match connect(&self.managers[self.turn]).and_then(|mut stream| {
                let answer = exchange(&mut stream, message, MANAGER_TIMEOUT)?;
                Ok((stream, answer))
            }) {
                Ok((stream, answer)) => {
                    self.connection = Some(stream);
                    return Ok(answer);
                }
                Err(error) => last = error,
            }
        }
        std::thread::sleep(MANAGER_PAUSE);
        Err(last)
    }
}

/// A connection to the first address of a manager that takes one.
pub(crate) fn connect(manager: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in manager.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, MANAGER_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends a message and awaits its answer.
pub(crate) fn exchange(stream: &mut TcpStream, message: &Message, timeout: Duration) -> io::Result<Message> {
    let mut out = Vec::new();
    encode(message, &mut out);
    stream.set_write_timeout(Some(timeout))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(&out)?;
    let mut input = Vec::new();
    let mut chunk = [0; 16 << 10];
    while input.len() <= MANAGER_REPLY_MAX {
        match decode(&input) {
            Ok(Some((message, _))) => return Ok(message),
            Ok(None) => match stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => input.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            },
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}
