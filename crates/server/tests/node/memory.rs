//! Runs a script against sessions in memory, with a clock of its own.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use cluster::Lease;
use doled_server::clock::{Now, Start};
use doled_server::engine::{Context, Engine};
use doled_server::managed::Managed;
use doled_server::session::Session;
use doled_server::watch::Log;
use doled_server::{ManagedOptions, ServerOptions};
use net::Next;
use proto::{ClusterId, Incarnation};
use stdx::{ByteSize, LeaseTime, Prng};

use super::script::{Block, Names, Script};

/// Unix time at the start of every script.
const UNIX_START_MS: u64 = 1_700_000_000_000;

/// Numbers up to here are a cas that the script chose; what the store chooses is larger with its seed.
const CHOSEN_CAS_MAX: u64 = 1 << 20;

/// How the bytes of a block reach the session.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    Whole,
    ByteByByte,
    Random(u64),
}

/// A node in memory.
pub(crate) struct World {
    engine: Engine,
    now: Cell<LeaseTime>,
    /// Added where a session reads the clock again.
    late: Cell<Duration>,
    conns: BTreeMap<String, Conn>,
    names: Names,
}

struct Conn {
    session: Session,
    /// Received and not consumed.
    kept: Vec<u8>,
    is_closed: bool,
}

/// The outputs of all blocks.
pub(crate) fn run(script: &Script, cut: &Cut) -> Vec<String> {
    let mut world = World::new(script);
    let mut prng = Prng::new(match cut {
        Cut::Random(seed) => *seed,
        _ => 0,
    });
    script.blocks.iter().map(|block| world.run(block, cut, &mut prng)).collect()
}

impl World {
    fn new(script: &Script) -> Self {
        let start = Start::at(LeaseTime::from_millis(500), UNIX_START_MS);
        let options = options(script);
        let managed = options.managed.as_ref().map(|managed| {
            let by_hand = matches!(managed, ManagedOptions::ByHand { .. });
            let managed = Managed::new("n1".parse().unwrap(), Incarnation(77), by_hand, start, 1 << 20);
            managed.set_cluster(ClusterId(5));
            managed
        });
        let mut names = Names::default();
        names.chosen_max = CHOSEN_CAS_MAX;
        Self {
            engine: Engine::new(options, managed, start, 1 << 40),
            now: Cell::new(LeaseTime::from_millis(500)),
            late: Cell::default(),
            conns: BTreeMap::new(),
            names,
        }
    }

    fn run(&mut self, block: &Block, cut: &Cut, prng: &mut Prng) -> String {
        let mut name = "main".to_owned();
        let (mut pending, mut output, mut stats) = (Vec::new(), Vec::new(), Vec::new());
        for line in &block.lines {
            let Some(directive) = line.strip_prefix('!') else {
                pending.extend(self.encode(line));
                continue;
            };
            self.feed(&name, &std::mem::take(&mut pending), cut, prng, &mut output);
            match directive.split_once(' ').unwrap_or((directive, "")) {
                ("conn", rest) => rest.clone_into(&mut name),
                ("stat", rest) => stats = self.stat(&name, rest),
                (word, rest) => self.direct(word, rest),
            }
        }
        self.feed(&name, &pending, cut, prng, &mut output);
        output.extend(stats);
        let is_closed = self.conns.get(&name).is_some_and(|conn| conn.is_closed);
        self.names.decode(&output, is_closed)
    }

    fn encode(&self, line: &str) -> Vec<u8> {
        let clock = || self.engine.managed.as_ref().unwrap().clock_ms(self.now.get());
        self.names.encode(line, clock)
    }

    fn direct(&mut self, word: &str, rest: &str) {
        match word {
            "advance" => {
                let nanos = u64::try_from(duration(rest).as_nanos()).unwrap();
                let LeaseTime { boot, raw } = self.now.get();
                self.now.set(LeaseTime { boot: boot + nanos, raw: raw + nanos });
            }
            "lease" => {
                let lease = Lease::from_poll(self.now.get(), duration(rest));
                self.engine.managed.as_ref().unwrap().lease.set(lease);
            }
            "grant" | "switch" => {
                let (bucket, generation) = rest.split_once(':').unwrap();
                let bucket = String::from_utf8(self.names.encode(&format!("{bucket}\\"), || 0)).unwrap();
                let mut guard = self.engine.store.lock(bucket.parse().unwrap());
                if word == "grant" {
                    guard.wipe();
                }
                guard.set_tag(generation.parse().unwrap());
            }
            "late" => self.late.set(duration(rest)),
            "map" => {
                self.engine.managed.as_ref().unwrap().map.apply(rest.replace('|', "\n").as_bytes()).unwrap();
            }
            _ => panic!("unknown directive {word}"),
        }
    }

    /// Lines of `stats` with these names.
    fn stat(&mut self, name: &str, wanted: &str) -> Vec<u8> {
        let mut output = Vec::new();
        self.feed(name, b"stats\r\n", &Cut::Whole, &mut Prng::new(0), &mut output);
        let text = String::from_utf8(output).unwrap();
        let is_wanted =
            |line: &&str| line.split(' ').nth(1).is_some_and(|n| wanted.split(' ').any(|w| w == n));
        text.lines().filter(is_wanted).map(|line| format!("{line}\r\n")).collect::<String>().into_bytes()
    }

    fn feed(&mut self, name: &str, bytes: &[u8], cut: &Cut, prng: &mut Prng, output: &mut Vec<u8>) {
        let is_admin = name == "admin";
        let conn = self.conns.entry(name.to_owned()).or_insert_with(|| Conn {
            session: Session::new(is_admin),
            kept: Vec::new(),
            is_closed: false,
        });
        let mut rest = bytes;
        while !rest.is_empty() && !conn.is_closed {
            let len = match cut {
                Cut::Whole => rest.len(),
                Cut::ByteByByte => 1,
                Cut::Random(_) => 1 + usize::try_from(prng.below(rest.len() as u64)).unwrap(),
            };
            conn.kept.extend_from_slice(&rest[..len]);
            rest = &rest[len..];
            let (now, late) = (self.now.get(), self.late.get());
            let late = u64::try_from(late.as_nanos()).unwrap();
            let read_clock = || LeaseTime { boot: now.boot + late, raw: now.raw + late };
            let log = Log::new(1 << 16);
            let cx = Context {
                engine: &self.engine,
                counters: &self.engine.counters[0],
                now: start_of(now),
                read_clock: &read_clock,
                log: &log,
            };
            conn.deliver(&cx, output);
        }
    }
}

impl Conn {
    /// Delivers what is kept until the session waits for more, as the loop does when the output has drained.
    fn deliver(&mut self, cx: &Context<'_>, output: &mut Vec<u8>) {
        loop {
            let mut out = Vec::new();
            // As the loop does: the clock is read for each delivery.
            let store_ms = cx.now.store_ms + cx.engine.debug_time_ms();
            let cx = Context { now: Now { store_ms, ..cx.now }, ..*cx };
            let received = self.session.handle(&cx, &self.kept, &mut out);
            assert!(received.consumed <= self.kept.len());
            self.kept.drain(..received.consumed);
            output.append(&mut out);
            match received.next {
                Next::Again if !self.kept.is_empty() => {}
                Next::Again | Next::More => break,
                Next::Close => {
                    self.is_closed = true;
                    break;
                }
                Next::Resume => panic!("a node's session never waits for others"),
            }
        }
    }
}

fn start_of(now: LeaseTime) -> doled_server::clock::Now {
    Start::at(LeaseTime::from_millis(500), UNIX_START_MS).when(now)
}

fn options(script: &Script) -> ServerOptions {
    let mut options = ServerOptions { memory: ByteSize::mib(64), threads: 1, ..ServerOptions::default() };
    for word in script.options.iter().flat_map(|line| line.split(' ')) {
        match word.split_once('=').unwrap_or((word, "")) {
            ("clock", _) | ("ours", _) => {}
            ("shutdown", _) => options.shutdown_enabled = true,
            ("debug-time", _) => options.debug_time_enabled = true,
            ("no-dump", _) => options.dump_enabled = false,
            ("discovery", nodes) => {
                let nodes = nodes.replace('+', " ");
                options.discovery = Some(doled_server::Discovery::of(12, &nodes).unwrap());
            }
            ("auth", users) => {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("users");
                std::fs::write(&path, users.replace(',', "\n")).unwrap();
                options.auth_file = Some(doled_server::AuthFile::open(&path).unwrap());
            }
            ("no-watch", _) => options.watch_enabled = false,
            ("no-flush", _) => options.flush_enabled = false,
            ("no-evict", _) => options.evict = false,
            ("memory", size) => options.memory = size.parse().unwrap(),
            ("item-size", size) => options.item_size_max = size.parse().unwrap(),
            ("requests-per-turn", n) => options.requests_per_turn = n.parse().unwrap(),
            ("by-hand", _) => {
                let admin = "127.0.0.1:0".parse().unwrap();
                options.managed = Some(ManagedOptions::ByHand { admin, node: "n1".parse().unwrap() });
            }
            ("leased", _) => {
                options.managed = Some(ManagedOptions::Leased(doled_server::Leased {
                    managers: Vec::new(),
                    node: "n1".parse().unwrap(),
                    data: None,
                    advertise: None,
                    incarnation: None,
                }));
            }
            _ => panic!("unknown option {word}"),
        }
    }
    options
}

fn duration(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(ms) => Duration::from_millis(ms.parse().unwrap()),
        None => Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap()),
    }
}
