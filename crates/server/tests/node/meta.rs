//! Meta commands beyond scripts: who wins among threads, and lines of random flags.

use std::sync::Barrier;

use doled_server::ServerOptions;
use doled_server::clock::Start;
use doled_server::engine::{Context, Engine};
use doled_server::session::Session;
use doled_server::watch::Log;
use net::{Next, Received};
use stdx::{ByteSize, LeaseTime, Prng};

const UNIX_START_MS: u64 = 1_700_000_000_000;
const THREAD_COUNT: usize = 4;
const ROUNDS: usize = 300;
const RANDOM_LINES: usize = 20_000;

fn engine() -> Engine {
    let start = Start::at(LeaseTime::from_millis(0), UNIX_START_MS);
    let options =
        ServerOptions { memory: ByteSize::mib(64), threads: THREAD_COUNT, ..ServerOptions::default() };
    Engine::new(options, None, start, 1)
}

/// One turn: what a worker's session answers to what was received.
fn turn(engine: &Engine, worker: usize, session: &mut Session, input: &[u8], out: &mut Vec<u8>) -> Received {
    let now = LeaseTime::from_millis(1_000);
    let log = Log::new(1 << 16);
    let cx = Context {
        engine,
        counters: &engine.counters[worker],
        now: Start::at(LeaseTime::from_millis(0), UNIX_START_MS).when(now),
        read_clock: &|| now,
        log: &log,
    };
    session.handle(&cx, input, out)
}

/// What is answered to whole commands.
fn ask(engine: &Engine, worker: usize, session: &mut Session, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let received = turn(engine, worker, session, input, &mut out);
    let left = &input[received.consumed..];
    assert!(left.is_empty() && received.next == Next::More, "left over: {}", left.escape_ascii());
    out
}

/// All threads send the same at the same moment; one of them wins, in each round.
#[track_caller]
fn one_wins(before: &str, get: &str) {
    let engine = engine();
    let barrier = Barrier::new(THREAD_COUNT);
    let fetch = |worker: usize| {
        let mut session = Session::new(false);
        let mut wins = Vec::new();
        for round in 0..ROUNDS {
            let key = format!("key{round}");
            if worker == 0 {
                ask(&engine, worker, &mut session, before.replace('K', &key).as_bytes());
            }
            barrier.wait();
            let reply = ask(&engine, worker, &mut session, get.replace('K', &key).as_bytes());
            wins.push(reply.ends_with(b" W\r\n"));
        }
        wins
    };
    let fetch = &fetch;
    let wins: Vec<Vec<bool>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREAD_COUNT).map(|worker| scope.spawn(move || fetch(worker))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for round in 0..ROUNDS {
        let winners = wins.iter().filter(|wins| wins[round]).count();
        assert_eq!(winners, 1, "round {round} of {get:?} after {before:?}");
    }
}

#[test]
fn one_client_wins() {
    one_wins("ms K 1 q T100\r\nx\r\nmd K I q\r\n", "mg K t\r\n");
    one_wins("ms K 1 q T100\r\nx\r\n", "mg K R1000\r\n");
    one_wins("md K\r\n", "mg K N30\r\n");
    one_wins("ms K 1 q T100\r\nx\r\nmd K I q\r\n", "mg K N30 R1000 T90\r\n");
}

/// A command with a few flags, most of them legal.
fn random_line(prng: &mut Prng, line: &mut Vec<u8>) {
    let one = |prng: &mut Prng, of: &[&str]| {
        of[usize::try_from(prng.below(of.len() as u64)).unwrap()].as_bytes().to_vec()
    };
    let word = one(prng, &["mg", "ms", "md", "ma", "me", "mg"]);
    line.extend_from_slice(&word);
    line.push(b' ');
    line.extend_from_slice(&one(prng, &["a", "b", "c", "YQ==", "Yg=="]));
    let value = one(prng, &["", "1", "18446744073709551615", "ab", "mn\r\nmn"]);
    if word == b"ms" {
        line.extend_from_slice(format!(" {}", value.len()).as_bytes());
    }
    for _ in 0..prng.below(7) {
        line.push(b' ');
        let flags = [
            "b", "c", "f", "h", "k", "l", "q", "s", "t", "u", "v", "x", "I", "P", "T5", "T-1", "T0", "N9",
            "N0", "R6", "R0", "C1", "C0", "E1", "E2", "F3", "D2", "J7", "MA", "ME", "MI", "MD", "MX", "Oab",
            "!", "T",
        ];
        line.extend_from_slice(&one(prng, &flags));
    }
    line.extend_from_slice(b"\r\n");
    if word == b"ms" {
        line.extend_from_slice(&value);
        line.extend_from_slice(b"\r\n");
    }
}

/// Each line gets at most one reply, of a known form; and bytes that come one by one get the same.
#[test]
fn random_flags_get_one_reply_each() {
    let (whole, cut) = (engine(), engine());
    let (mut whole_session, mut cut_session) = (Session::new(false), Session::new(false));
    let mut prng = Prng::new(7);
    for _ in 0..RANDOM_LINES {
        let mut line = Vec::new();
        random_line(&mut prng, &mut line);
        let shown = line.escape_ascii().to_string();
        let reply = ask(&whole, 0, &mut whole_session, &line);
        let mut kept = Vec::new();
        let mut pieces = Vec::new();
        for byte in line {
            kept.push(byte);
            let received = turn(&cut, 0, &mut cut_session, &kept, &mut pieces);
            kept.drain(..received.consumed);
        }
        assert_eq!(reply.escape_ascii().to_string(), pieces.escape_ascii().to_string(), "{shown}");
        let text = String::from_utf8(reply).unwrap();
        let known = ["HD", "VA ", "EN", "NF", "NS", "EX", "ME ", "CLIENT_ERROR "];
        let is_known = text.is_empty() || known.iter().any(|word| text.starts_with(word));
        // The data block of a line that was not even taken apart is read as commands, `mn` among them.
        assert!(
            is_known
                && text.matches("\r\n").count()
                    <= 2 + text.matches("mn").count() + text.matches("MN").count(),
            "{shown}: {text:?}"
        );
        assert_eq!(ask(&whole, 0, &mut whole_session, b"mn\r\n"), b"MN\r\n", "{shown}");
    }
}
