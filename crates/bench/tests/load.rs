//! Runs and replays against a server of a page: a map behind `get`, `set`, `delete`, `mg` and `ms`.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use doled_bench::{
    BenchError, BenchOptions, Ending, Mix, Popularity, Protocol, ReplayOptions, ReplayReport, Sizes, Target,
    TraceKey, TraceOp, TraceRequest, Ttl, replay, run,
};

/// Answers one connection; keys are kept, values are not.
fn answer(stream: impl Read, mut output: impl Write) {
    let mut input = BufReader::new(stream);
    let (mut held, mut line) = (HashSet::new(), String::new());
    while input.read_line(&mut line).is_ok_and(|count| count > 0) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        line.clear();
        let mut skip = |len: &str| {
            let mut value = vec![0; len.parse::<usize>().expect("a length") + 2];
            input.read_exact(&mut value).expect("a value");
        };
        let reply = match words[0].as_str() {
            "get" => {
                let found = words[1..].iter().filter(|key| held.contains(*key));
                found.map(|key| format!("VALUE {key} 0 5\r\nEND\r\n\r\n")).collect::<String>() + "END\r\n"
            }
            "set" => {
                skip(&words[4]);
                held.insert(words[1].clone());
                "STORED\r\n".to_owned()
            }
            "ms" => {
                skip(&words[2]);
                held.insert(words[1].clone());
                "HD\r\n".to_owned()
            }
            "mg" if held.contains(&words[1]) => "VA 3\r\nEN\r\r\n".to_owned(),
            "mg" => "EN\r\n".to_owned(),
            "delete" if held.remove(&words[1]) => "DELETED\r\n".to_owned(),
            "delete" => "NOT_FOUND\r\n".to_owned(),
            _ => "ERROR\r\n".to_owned(),
        };
        if output.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// A server for one connection.
fn tcp() -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        // It writes each reply by itself.
        stream.set_nodelay(true).expect("no delay");
        answer(stream.try_clone().expect("a copy"), stream);
    });
    Target::Tcp(address)
}

fn options(target: Target) -> BenchOptions {
    BenchOptions {
        target,
        protocol: Protocol::Text,
        threads: 1,
        connections: 1,
        pipeline: 8,
        ending: Ending::Requests(400),
        rate: None,
        keys: 50,
        key_size: Sizes::Fixed(16),
        popularity: Popularity::Uniform,
        value_size: Sizes::Range(0, 30),
        mix: Mix { sets: 0.0, deletes: 0.0, lone_gets: 0.0, set_on_miss: true },
        multiget: 1,
        ttl: Ttl::Fixed(0),
        preload: false,
        seed: 1,
        server_pids: Vec::new(),
        cpu: None,
    }
}

#[test]
fn what_a_get_missed_is_stored_once() {
    for protocol in [Protocol::Text, Protocol::Meta] {
        let report = run(&BenchOptions { protocol, pipeline: 1, ..options(tcp()) }, |_| {}).expect("a run");
        assert_eq!((report.gets, report.errors), (400, 0), "{protocol:?}");
        assert_eq!(report.hits, 350, "all but the first get of each key: {protocol:?}");
        assert_eq!(report.histogram.iter().map(|step| step.count).sum::<u64>(), 400);
    }
}

#[test]
fn lone_gets_miss_and_a_preload_makes_the_rest_hit() {
    let mix = Mix { sets: 0.1, deletes: 0.0, lone_gets: 0.3, set_on_miss: false };
    let report = run(&BenchOptions { mix, preload: true, ..options(tcp()) }, |_| {}).expect("a run");
    let missed = report.gets - report.hits;
    assert!((80..160).contains(&missed), "{missed}");
}

#[test]
fn a_unix_socket_is_a_target() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        answer(stream.try_clone().expect("a copy"), stream);
    });
    assert_eq!(run(&options(Target::Unix(path)), |_| {}).expect("a run").gets, 400);
}

#[track_caller]
fn replayed(batch: u32, trace: &[TraceRequest]) -> ReplayReport {
    let options = ReplayOptions {
        target: tcp(),
        batch,
        value_size: Sizes::Fixed(10),
        ttl: Ttl::Fixed(0),
        requests: None,
        server_pids: Vec::new(),
        cpu: None,
    };
    replay(&options, trace.iter().cloned().map(Ok), |_| {}).expect("a replay")
}

#[test]
fn a_replay_counts_the_same_misses_in_any_batch() {
    let mut prng = stdx::Prng::new(1);
    let trace: Vec<TraceRequest> = (0..1000)
        .map(|_| {
            let op = [TraceOp::Get, TraceOp::Get, TraceOp::Set, TraceOp::Delete][prng.below(4) as usize];
            TraceRequest { op, ..TraceRequest::get(TraceKey::Number(prng.below(40))) }
        })
        .collect();
    let single = replayed(1, &trace);
    assert!(single.misses > 30 && single.misses < single.gets, "{}", single.misses);
    assert_eq!(single.errors, 0);
    for batch in [2, 16, 100] {
        assert_eq!(replayed(batch, &trace).misses, single.misses, "batches of {batch}");
    }
}

#[test]
fn options_that_break_a_rule_are_named_before_anything_is_sent() {
    let nobody = || options(Target::Unix("/nowhere".into()));
    for (options, rule) in [
        (BenchOptions { pipeline: 0, ..nobody() }, "pipeline 0: 1 to 1024"),
        (BenchOptions { rate: Some(0.0), ..nobody() }, "rate 0: above 0"),
        (
            BenchOptions { multiget: 2, ..nobody() },
            "2 keys in a get: a set after a miss needs gets of one key",
        ),
        (BenchOptions { key_size: Sizes::Fixed(3), ..nobody() }, "keys of 3 bytes: 50 keys need 6 to 250"),
        (
            BenchOptions { mix: Mix { sets: 0.9, deletes: 0.2, ..nobody().mix }, ..nobody() },
            "shares of sets 0.9, deletes 0.2 and lone gets 0: each from 0 to 1, and 1 together at most",
        ),
    ] {
        let error = run(&options, |_| {}).expect_err("refused");
        assert!(matches!(error, BenchError::Options(_)), "{error}");
        assert_eq!(error.to_string(), rule);
    }
}
