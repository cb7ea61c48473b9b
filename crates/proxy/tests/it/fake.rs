//! Backends and a manager that do what a test says.
//!
//! A [`Talk`] is one connection of a backend. It answers handshakes, clocks and questions for the map by itself, in
//! their turn among the commands, which are the test's to answer.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proto::Bucket;
use proto::control::{Message, codec};

use crate::socket::PATIENCE;

/// The cluster of all fake nodes.
const CLUSTER: u64 = 7;

/// What a fake node says to its own questions.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// The answer to `node`.
    pub(crate) node: String,
    /// In pieces of that many bytes, a moment apart.
    pub(crate) piece_len: usize,
}

/// A backend that listens.
pub(crate) struct Backend {
    listener: TcpListener,
    pub(crate) manners: Manners,
}

impl Backend {
    /// A node of that name, or a plain server for whom the name does not matter.
    pub(crate) fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let manners = Manners { node: format!("NODE {CLUSTER} {name} 99\r\n"), piece_len: usize::MAX };
        Self { listener, manners }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// The next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Talk {
        self.listener.set_nonblocking(true).unwrap();
        let give_up = Instant::now() + PATIENCE;
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(Instant::now() < give_up, "nobody connects");
            std::thread::sleep(Duration::from_millis(1));
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let started = Instant::now();
        Talk { stream, manners: self.manners.clone(), input: Vec::new(), owed: VecDeque::new(), started }
    }
}

/// What a connection owes.
enum Owed {
    /// This is known already.
    Ready(String),
    /// The test answers.
    Command,
}

/// One connection of a backend.
pub(crate) struct Talk {
    stream: TcpStream,
    manners: Manners,
    input: Vec<u8>,
    owed: VecDeque<Owed>,
    started: Instant,
}

impl Talk {
    /// The next command line that the test has to answer, with its data block if it has one; `None` at the end of the
    /// connection.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<String> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            while let Some(line) = self.take_line() {
                match self.own_answer(&line) {
                    Some(answer) => self.owed.push_back(Owed::Ready(answer)),
                    None if line.starts_with("bg ") => {
                        // Covers the next command, and has no reply of its own.
                        let command = self.rest_of_command(give_up)?;
                        return Some(line + "\r\n" + &command);
                    }
                    None => {
                        self.put_back(&line);
                        return self.rest_of_command(give_up);
                    }
                }
                self.pay();
            }
            if !self.receive(give_up) {
                return None;
            }
        }
    }

    /// Checks the next command. What varies is written `#`: a deadline.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: &str) {
        let got = self.next().expect("the connection has ended");
        let got = match (got.split_once("\r\n"), wanted.contains('#')) {
            (Some((bg, rest)), true) => {
                let (head, deadline) = bg.rsplit_once(':').unwrap();
                assert!(deadline.parse::<u64>().is_ok() && head.contains(':'), "no deadline in {got:?}");
                format!("{head}:#\r\n{rest}")
            }
            _ => got,
        };
        assert_eq!(got, wanted);
    }

    /// Answers the oldest command.
    pub(crate) fn answer(&mut self, reply: &str) {
        let at = self.owed.iter().position(|owed| matches!(owed, Owed::Command)).expect("no command is open");
        self.owed[at] = Owed::Ready(reply.to_owned());
        self.pay();
    }

    /// Answers what it answers by itself for a while; no command comes.
    pub(crate) fn serve_for(&mut self, time: Duration) {
        let give_up = Instant::now() + time;
        while Instant::now() < give_up {
            while let Some(line) = self.take_line() {
                let answer = self.own_answer(&line).expect("no command comes");
                self.owed.push_back(Owed::Ready(answer));
                self.pay();
            }
            let mut buffer = [0; 4096];
            if let Ok(n) = self.stream.read(&mut buffer) {
                self.input.extend_from_slice(&buffer[..n]);
            }
        }
    }

    /// The connection is ended by the proxy.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        assert_eq!(self.next(), None);
    }

    fn own_answer(&self, line: &str) -> Option<String> {
        let clock = 5000 + self.started.elapsed().as_millis();
        Some(match line.split(' ').next()? {
            "version" => "VERSION 1.6.45\r\n".to_owned(),
            "node" => self.manners.node.clone(),
            "clock" => format!("CLOCK 99 {clock}\r\n"),
            "map" => format!("MAP {} 0\r\n\r\nEND\r\n", line.split(' ').nth(1)?),
            _ => return None,
        })
    }

    fn rest_of_command(&mut self, give_up: Instant) -> Option<String> {
        let line = loop {
            match self.take_line() {
                Some(line) => break line,
                None if !self.receive(give_up) => return None,
                None => {}
            }
        };
        let words: Vec<&str> = line.split(' ').collect();
        let block_len = match words[0] {
            "set" | "add" | "replace" | "append" | "prepend" | "cas" => {
                words[4].parse::<usize>().unwrap() + 2
            }
            _ => 0,
        };
        while self.input.len() < block_len {
            if !self.receive(give_up) {
                return None;
            }
        }
        let block: Vec<u8> = self.input.drain(..block_len).collect();
        self.owed.push_back(Owed::Command);
        Some(line + "\r\n" + &String::from_utf8(block).unwrap())
    }

    fn take_line(&mut self) -> Option<String> {
        let end = self.input.windows(2).position(|pair| pair == b"\r\n")?;
        let line = self.input.drain(..end + 2).take(end).collect();
        Some(String::from_utf8(line).unwrap())
    }

    fn put_back(&mut self, line: &str) {
        self.input.splice(..0, format!("{line}\r\n").into_bytes());
    }

    /// False at the end.
    #[track_caller]
    fn receive(&mut self, give_up: Instant) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(n) => {
                    self.input.extend_from_slice(&buffer[..n]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
            assert!(Instant::now() < give_up, "nothing comes");
        }
    }

    fn pay(&mut self) {
        while let Some(Owed::Ready(answer)) = self.owed.front() {
            for piece in answer.as_bytes().chunks(self.manners.piece_len) {
                // Who is gone is not told.
                let _ = self.stream.write_all(piece);
                if self.manners.piece_len < usize::MAX {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            self.owed.pop_front();
        }
    }
}

/// A manager that gives a map out and takes dirty reports.
#[derive(Clone)]
pub(crate) struct FakeManager {
    address: SocketAddr,
    state: Arc<Mutex<ManagerState>>,
}

#[derive(Default)]
struct ManagerState {
    version: u64,
    map: Vec<u8>,
    dirty: Vec<Bucket>,
    /// Dirty reports are not answered.
    holds: bool,
}

impl FakeManager {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let manager = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let served = manager.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let manager = served.clone();
                std::thread::spawn(move || manager.serve(stream));
            }
        });
        manager
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// A new map: all buckets belong to `owner`, under a generation that is the version.
    pub(crate) fn set_map(&self, version: u64, nodes: &[(&str, &Backend)], owner: &str) {
        let mut text =
            format!("doled-map 1\ncluster {CLUSTER}\nversion {version}\nsince 0\nhash xxh3-64 49\n");
        for (name, backend) in nodes {
            text += &format!("node {name} {}\n", backend.address());
        }
        text += &format!("buckets 0 32768 {version} {owner}\nend\n");
        let mut state = self.state.lock().unwrap();
        (state.version, state.map) = (version, text.into_bytes());
    }

    /// From now on dirty reports are taken and not answered.
    pub(crate) fn hold(&self) {
        self.state.lock().unwrap().holds = true;
    }

    pub(crate) fn dirty(&self) -> Vec<Bucket> {
        self.state.lock().unwrap().dirty.clone()
    }

    fn serve(&self, mut stream: TcpStream) {
        let (mut input, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            input.extend_from_slice(&buffer[..n]);
            while let Some((message, consumed)) = codec::decode(&input).unwrap() {
                input.drain(..consumed);
                let mut out = Vec::new();
                if let Some(answer) = self.answer(message) {
                    codec::encode(&answer, &mut out);
                }
                if stream.write_all(&out).is_err() {
                    return;
                }
            }
        }
    }

    fn answer(&self, message: Message) -> Option<Message> {
        let mut state = self.state.lock().unwrap();
        match message {
            Message::MapGet(version) if version.0 < state.version => Some(Message::MapIs(state.map.clone())),
            Message::MapGet(_) => Some(Message::MapIs(Vec::new())),
            Message::Dirty(dirty) => {
                state.dirty.push(dirty.bucket);
                (!state.holds).then_some(Message::Done)
            }
            other => panic!("not for a manager: {other:?}"),
        }
    }
}
