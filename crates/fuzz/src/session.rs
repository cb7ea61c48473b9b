//! A whole node fed with the bytes of one connection, text or binary: it never panics; the answers are the same
//! whether the bytes come whole, cut, or one by one; they are answers of the protocol from the first byte to the
//! last; what is kept unconsumed and what is put out in one turn stay within their limits.
//!
//! The first byte chooses the node's options, two more how the bytes are cut. In text, byte 1 and a digit stand for
//! the `bg` line of key `k<digit>`, and byte 2 and another for a data block of so many times eight bytes. Binary
//! requests are put together by [`frames`], so that most of them are whole.

mod answers;
mod frames;

use std::io::Write as _;

use cluster::Lease;
use net::Next;
use net::limits::OUTPUT_HIGH;
use proto::limits::{LINE_LEN_MAX, STATS_REPLY_LEN_MAX};
use proto::{ClusterId, Incarnation, KeyHash};
use server::clock::{Now, Start};
use server::engine::{Context, Engine};
use server::managed::Managed;
use server::options::Protocol;
use server::session::Session;
use server::watch::Log;
use server::{AuthFile, Credentials, Discovery, ManagedOptions, ServerOptions};
use stdx::{ByteSize, LeaseTime, Prng};

use crate::input::Input;

/// Unix time at the start.
const UNIX_START_MS: u64 = 1_700_000_000_000;

/// Largest item of the nodes here.
const ITEM_SIZE_MAX: ByteSize = ByteSize::kib(16);

/// The generation under which all buckets are owned at the start.
const GENERATION: u64 = 7;

/// Turns of one delivery; a session that wants more goes round in a circle. A dump takes some for its buckets.
const TURNS_MAX: usize = 100_000;

/// How bytes reach the session.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    Random(u64),
    ByteByByte,
}

/// What a connection was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_closed: bool,
}

pub(crate) fn run_text(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (choice, seed) = (input.byte(), input.short() as u64);
    let mut options = options(choice);
    options.protocol = Protocol::Ascii;
    let sent = expand(input.rest());
    answers::check_text(&all_cuts(&options, &sent, seed).bytes);
}

pub(crate) fn run_binary(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (choice, seed) = (input.byte(), input.short() as u64);
    let mut options = options(choice & !1);
    options.protocol = Protocol::Binary;
    if choice & 1 == 1 {
        let users: [(&[u8], &[u8]); 2] = [(b"u", b"p"), (b"user", b"password")];
        options.sasl = Some(Credentials::new(users).expect("two users"));
    }
    let sent = frames::build(&mut input);
    answers::check_binary(&all_cuts(&options, &sent, seed).bytes);
}

/// A node with an auth file, and what a connection is answered.
pub(crate) fn answers_behind_door(file: AuthFile, sent: &[u8], seed: u64) -> Answers {
    let options = ServerOptions { auth_file: Some(file), ..options(0) };
    all_cuts(&options, sent, seed)
}

/// The answers, which do not depend on how the bytes came.
fn all_cuts(options: &ServerOptions, sent: &[u8], seed: u64) -> Answers {
    let whole = answers(options, sent, Cut::Whole);
    for cut in [Cut::Random(seed), Cut::ByteByByte] {
        let cut_answers = answers(options, sent, cut);
        assert!(
            answers::repeatable(&whole.bytes) == answers::repeatable(&cut_answers.bytes)
                && whole.is_closed == cut_answers.is_closed,
            "whole: {:?} {}\n{cut:?}: {:?} {}",
            String::from_utf8_lossy(&whole.bytes),
            whole.is_closed,
            String::from_utf8_lossy(&cut_answers.bytes),
            cut_answers.is_closed
        );
    }
    whole
}

fn answers(options: &ServerOptions, sent: &[u8], cut: Cut) -> Answers {
    let start = Start::at(LeaseTime::from_millis(500), UNIX_START_MS);
    let managed = options.managed.as_ref().map(|_| {
        let managed = Managed::new("n1".parse().expect("a name"), Incarnation(77), true, start, 1 << 20);
        managed.set_cluster(ClusterId(5));
        managed.lease.set(Lease::from_until(LeaseTime::from_millis(1 << 40)));
        managed
    });
    let engine = Engine::new(options.clone(), managed, start, 1 << 40);
    if options.managed.is_some() {
        for digit in b'0'..=b'9' {
            engine.store.lock(KeyHash::of(&[b'k', digit]).bucket().index()).set_tag(GENERATION);
        }
    }
    let mut conn =
        Conn { engine: &engine, start, session: Session::new(true), kept: Vec::new(), out: Vec::new() };
    let mut is_closed = false;
    let mut prng = Prng::new(match cut {
        Cut::Random(seed) => seed,
        _ => 0,
    });
    let mut rest = sent;
    while !rest.is_empty() && !is_closed {
        let len = match cut {
            Cut::Whole => rest.len(),
            Cut::Random(_) => 1 + (prng.below(rest.len() as u64) >> prng.below(8)) as usize,
            Cut::ByteByByte => 1,
        };
        let (now, later) = rest.split_at(len);
        rest = later;
        is_closed = conn.receive(now);
    }
    Answers { bytes: conn.out, is_closed }
}

/// A connection as the event loop has it.
struct Conn<'a> {
    engine: &'a Engine,
    start: Start,
    session: Session,
    /// Received and not consumed.
    kept: Vec<u8>,
    /// All that was put out.
    out: Vec<u8>,
}

impl Conn<'_> {
    /// True when the connection is closed.
    fn receive(&mut self, bytes: &[u8]) -> bool {
        self.kept.extend_from_slice(bytes);
        for _ in 0..TURNS_MAX {
            let mut out = Vec::new();
            let lease = LeaseTime::from_millis(1500);
            let now = self.start.when(lease);
            let now = Now { store_ms: now.store_ms + self.engine.debug_time_ms(), ..now };
            let read_clock = || lease;
            let counters = &self.engine.counters[0];
            let log = Log::new(1 << 16);
            let cx = Context { engine: self.engine, counters, now, read_clock: &read_clock, log: &log };
            let received = self.session.handle(&cx, &self.kept, &mut out);
            assert!(received.consumed <= self.kept.len());
            assert!(
                out.len() <= OUTPUT_HIGH + STATS_REPLY_LEN_MAX.max(ITEM_SIZE_MAX.0 as usize),
                "{} bytes are put out in one turn",
                out.len()
            );
            self.kept.drain(..received.consumed);
            self.out.append(&mut out);
            match received.next {
                Next::Again if !self.kept.is_empty() => {}
                Next::Again | Next::More => {
                    self.check_kept();
                    return false;
                }
                Next::Close => return true,
                Next::Resume => panic!("a node's session never waits for others"),
            }
        }
        panic!("no end after {TURNS_MAX} turns");
    }

    /// The only long lines are those of the get family.
    fn check_kept(&self) {
        let spaces = self.kept.iter().take_while(|byte| **byte == b' ').count();
        let word = &self.kept[spaces..];
        let is_get = word.starts_with(b"get") || word.starts_with(b"gat");
        let len = self.kept.len();
        assert!(is_get || len <= LINE_LEN_MAX + 2, "{len} bytes are kept");
    }
}

fn options(choice: u8) -> ServerOptions {
    let is = |bit: u8| choice >> bit & 1 == 1;
    let admin = ([127, 0, 0, 1], 0).into();
    let node = || "n1".parse().expect("a name");
    ServerOptions {
        memory: ByteSize::kib(512),
        item_size_max: ITEM_SIZE_MAX,
        threads: 1,
        managed: is(0).then(|| ManagedOptions::ByHand { admin, node: node() }),
        evict: !is(1),
        requests_per_turn: if is(2) { 1 } else { 256 },
        shutdown_enabled: is(3),
        flush_enabled: !is(4),
        dump_enabled: !is(4),
        prefix_delimiter: is(5).then_some(b'k'),
        discovery: is(6).then(|| Discovery::of(3, "a|1.2.3.4|5").expect("a list")),
        debug_time_enabled: !is(7),
        ..ServerOptions::default()
    }
}

/// Writes out what stands for more.
fn expand(bytes: &[u8]) -> Vec<u8> {
    let mut sent = Vec::with_capacity(bytes.len());
    let mut bytes = bytes.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            1 => {
                let key = [b'k', b'0' + bytes.next().unwrap_or(&0) % 10];
                let bucket = KeyHash::of(&key).bucket();
                write!(sent, "bg {bucket}:{GENERATION}\r\n").expect("memory");
            }
            2 => {
                let len = 8 * usize::from(*bytes.next().unwrap_or(&0));
                sent.extend(std::iter::repeat_n(b'x', len));
                sent.extend_from_slice(b"\r\n");
            }
            _ => sent.push(*byte),
        }
    }
    sent
}
