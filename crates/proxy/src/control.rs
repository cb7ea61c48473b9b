//! The thread that speaks with the managers: the map where no node can be asked, and dirty reports.
//!
//! It takes what the workers ask, in batches. Reports of one batch are coalesced by bucket; one that comes later is
//! never joined to a report that has left already, for that one may have been fenced before. A report is repeated
//! until a manager acknowledges it, whether or not its client still waits.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use net::Mailbox;
use proto::control::{Dirty, Message, decode, encode};
use proto::{Bucket, MapVersion};

use crate::limits::{FENCE_TIMEOUT, MANAGER_PAUSE, MANAGER_REPLY_MAX, MANAGER_TIMEOUT, REPORTS_IN_BATCH};
use crate::proxy::Shared;

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
    /// Reports that no manager has acknowledged, by bucket: who waits for them.
    reports: BTreeMap<Bucket, Vec<(usize, u64)>>,
}

impl Control {
    pub(crate) fn new(
        managers: Vec<String>,
        asks: Receiver<Ask>,
        workers: Vec<Mailbox<News>>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { managers, asks, workers, shared, connection: None, turn: 0, reports: BTreeMap::new() }
    }

    /// Runs until all workers are gone.
    pub(crate) fn run(mut self) {
        let mut maps = Vec::new();
        while self.collect(&mut maps) {
            if !maps.is_empty() {
                self.fetch_map(&mut maps);
            }
            if !self.reports.is_empty() && self.send_reports().is_err() {
                self.connection = None;
            }
        }
    }

    /// Waits for something to do and takes all that is there; false in the end.
    fn collect(&mut self, maps: &mut Vec<(usize, MapVersion)>) -> bool {
        let first = if self.reports.is_empty() {
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
                self.reports.entry(bucket).or_default().push((worker, report));
            }
        }
    }

    /// One question for all workers that asked: what the oldest of their maps lacks.
    fn fetch_map(&mut self, maps: &mut Vec<(usize, MapVersion)>) {
        let oldest = maps.iter().map(|(_, version)| *version).min().unwrap_or(MapVersion::NONE);
        let answer = self.ask(&[Message::MapGet(oldest)], MANAGER_TIMEOUT);
        let text = match answer.as_deref() {
            Ok([Message::MapIs(text)]) => Some(text.clone()),
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

    fn send_reports(&mut self) -> io::Result<()> {
        let batch: Vec<Bucket> = self.reports.keys().copied().take(REPORTS_IN_BATCH).collect();
        let cluster = self.shared.cluster();
        let messages: Vec<Message> =
            batch.iter().map(|&bucket| Message::Dirty(Dirty { cluster, bucket })).collect();
        let answers = self.ask(&messages, FENCE_TIMEOUT)?;
        for (bucket, answer) in batch.iter().zip(answers) {
            match answer {
                Message::Done => {
                    for (worker, report) in self.reports.remove(bucket).unwrap_or_default() {
                        self.tell(worker, News::Fenced { report });
                    }
                }
                other => self
                    .shared
                    .log(format_args!("the dirty report of bucket {bucket} was answered {other:?}")),
            }
        }
        Ok(())
    }

    fn tell(&self, worker: usize, news: News) {
        // A worker whose mailbox is full asks again by itself.
        if let Some(mailbox) = self.workers.get(worker) {
            let _ = mailbox.post(news);
        }
    }

    /// Sends messages and awaits as many answers; on the connection that stands, or on a new one to any manager.
    fn ask(&mut self, messages: &[Message], timeout: Duration) -> io::Result<Vec<Message>> {
        if let Some(stream) = &mut self.connection
            && let Ok(answers) = exchange(stream, messages, timeout)
        {
            return Ok(answers);
        }
        self.connection = None;
        let mut last = io::Error::from(io::ErrorKind::NotConnected);
        for _ in 0..self.managers.len() {
            self.turn = (self.turn + 1) % self.managers.len();
            match connect(&self.managers[self.turn]).and_then(|mut stream| {
                let answers = exchange(&mut stream, messages, timeout)?;
                Ok((stream, answers))
            }) {
                Ok((stream, answers)) => {
                    self.connection = Some(stream);
                    return Ok(answers);
                }
                Err(error) => last = error,
            }
        }
        std::thread::sleep(MANAGER_PAUSE);
        Err(last)
    }
}

fn connect(manager: &str) -> io::Result<TcpStream> {
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

fn exchange(stream: &mut TcpStream, messages: &[Message], timeout: Duration) -> io::Result<Vec<Message>> {
    let mut out = Vec::new();
    for message in messages {
        encode(message, &mut out);
    }
    stream.set_write_timeout(Some(timeout))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(&out)?;
    let (mut input, mut answers) = (Vec::new(), Vec::new());
    let mut chunk = [0; 16 << 10];
    while answers.len() < messages.len() {
        match decode(&input) {
            Ok(Some((message, consumed))) => {
                answers.push(message);
                input.drain(..consumed);
            }
            Ok(None) if input.len() > MANAGER_REPLY_MAX => return Err(io::ErrorKind::InvalidData.into()),
            Ok(None) => match stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => input.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            },
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    Ok(answers)
}
