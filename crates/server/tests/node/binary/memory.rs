//! Runs a script against sessions in memory.

use std::cell::Cell;
use std::collections::BTreeMap;

use doled_server::clock::Start;
use doled_server::engine::{Context, Engine};
use doled_server::managed::Managed;
use doled_server::options::Protocol;
use doled_server::session::Session;
use doled_server::watch::Log;
use doled_server::{Credentials, ManagedOptions, ServerOptions};
use net::Next;
use proto::Incarnation;
use stdx::{ByteSize, LeaseTime, Prng};

use super::frames::Names;
use super::{Block, Script};

/// What may be left unconsumed of a request: its head.
const HEAD_LEN_MAX: usize = 24 + 20 + 250;

/// How the bytes of a block reach the session.
#[derive(Debug)]
pub(crate) enum Cut {
    Whole,
    ByteByByte,
    Random(u64),
}

/// A node in memory.
pub(crate) struct World {
    engine: Engine,
    start: Start,
    now: Cell<LeaseTime>,
    conns: BTreeMap<String, Conn>,
    names: Names,
    prng: Prng,
}

#[derive(Default)]
struct Conn {
    session: Session,
    kept: Vec<u8>,
    is_closed: bool,
}

impl World {
    /// The answers to all blocks.
    pub(crate) fn run(script: &Script, cut: &Cut) -> Vec<String> {
        let begin = LeaseTime::from_millis(500);
        let start = Start::at(begin, 1_700_000_000_000);
        let options = options(&script.options);
        let managed = options
            .managed
            .is_some()
            .then(|| Managed::new("n1".parse().unwrap(), Incarnation(77), true, start, 1 << 20));
        let mut world = Self {
            engine: Engine::new(options, managed, start, 1 << 40),
            start,
            now: Cell::new(begin),
            conns: BTreeMap::new(),
            names: Names::default(),
            prng: Prng::new(if let Cut::Random(seed) = cut { *seed } else { 0 }),
        };
        script.blocks.iter().map(|block| world.block(block, cut)).collect()
    }

    fn block(&mut self, block: &Block, cut: &Cut) -> String {
        let mut name = "main";
        let (mut bytes, mut output) = (Vec::new(), Vec::new());
        for line in &block.lines {
            match line.strip_prefix('!').map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
                None => bytes.extend(self.names.encode(line)),
                Some(("conn", rest)) => name = rest,
                Some(("ours", _)) => {}
                Some(("advance", seconds)) => {
                    self.feed(name, &std::mem::take(&mut bytes), cut, &mut output);
                    let nanos = seconds.strip_suffix('s').unwrap().parse::<u64>().unwrap() * 1_000_000_000;
                    let LeaseTime { boot, raw } = self.now.get();
                    self.now.set(LeaseTime { boot: boot + nanos, raw: raw + nanos });
                }
                Some((word, _)) => panic!("unknown directive {word}"),
            }
        }
        self.feed(name, &bytes, cut, &mut output);
        self.names.decode(&output, self.conns[name].is_closed)
    }

    fn feed(&mut self, name: &str, bytes: &[u8], cut: &Cut, output: &mut Vec<u8>) {
        let conn = self.conns.entry(name.to_owned()).or_default();
        let now = self.now.get();
        let read_clock = || now;
        let log = Log::new(1 << 16);
        let cx = Context {
            engine: &self.engine,
            counters: &self.engine.counters[0],
            now: self.start.when(now),
            read_clock: &read_clock,
            log: &log,
        };
        let mut rest = bytes;
        while !rest.is_empty() && !conn.is_closed {
            let len = match cut {
                Cut::Whole => rest.len(),
                // Long values byte by byte take long and show nothing.
                Cut::ByteByByte if rest.len() > 100_000 => 50_000,
                Cut::ByteByByte => 1,
                Cut::Random(_) => 1 + self.prng.below(rest.len() as u64) as usize,
            };
            let (now, later) = rest.split_at(len);
            conn.kept.extend_from_slice(now);
            rest = later;
            conn.deliver(&cx, output);
        }
    }
}

impl Conn {
    /// Delivers what is kept until the session waits for more, as the loop does when the output has drained.
    fn deliver(&mut self, cx: &Context<'_>, output: &mut Vec<u8>) {
        loop {
            let mut out = Vec::new();
            let received = self.session.handle(cx, &self.kept, &mut out);
            self.kept.drain(..received.consumed);
            output.append(&mut out);
            match received.next {
                Next::Again if !self.kept.is_empty() => {}
                Next::Close => {
                    self.is_closed = true;
                    return;
                }
                _ => break,
            }
        }
        assert!(self.kept.len() < HEAD_LEN_MAX, "{} bytes wait for more", self.kept.len());
    }
}

fn options(words: &[String]) -> ServerOptions {
    let mut options = ServerOptions { threads: 1, ..ServerOptions::default() };
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("ours", _) => {}
            ("no-flush", _) => options.flush_enabled = false,
            ("no-evict", _) => options.evict = false,
            ("memory", size) => options.memory = size.parse().unwrap(),
            ("item-size", size) => options.item_size_max = size.parse::<ByteSize>().unwrap(),
            ("requests-per-turn", count) => options.requests_per_turn = count.parse().unwrap(),
            ("protocol", "ascii") => options.protocol = Protocol::Ascii,
            ("protocol", "binary") => options.protocol = Protocol::Binary,
            ("sasl", users) => {
                let users = users.split(',').map(|user| user.split_once(':').unwrap());
                let users = users.map(|(user, password)| (user.as_bytes(), password.as_bytes()));
                options.sasl = Some(Credentials::new(users).unwrap());
            }
            ("managed", _) => {
                let admin = "127.0.0.1:0".parse().unwrap();
                options.managed = Some(ManagedOptions::ByHand { admin, node: "n1".parse().unwrap() });
            }
            _ => panic!("unknown option {word}"),
        }
    }
    options
}
