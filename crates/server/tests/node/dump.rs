//! Dumps of more than fits one turn of a loop.

use doled_server::ServerOptions;
use doled_server::clock::Start;
use doled_server::engine::{Context, Engine};
use doled_server::session::Session;
use doled_server::watch::Log;
use net::Next;
use net::limits::OUTPUT_HIGH;
use stdx::{ByteSize, LeaseTime};

/// Enough for several times the output limit.
const KEY_COUNT: usize = 4000;

/// More than one bucket's lines are here.
const BUCKET_LINES_LEN_MAX: usize = 8 << 10;

#[test]
fn a_dump_goes_on_over_many_turns_and_others_work_in_between() {
    let start = Start::at(LeaseTime::from_millis(0), 1_700_000_000_000);
    let options = ServerOptions { memory: ByteSize::mib(64), threads: 1, ..ServerOptions::default() };
    let engine = Engine::new(options, None, start, 1);
    let now = LeaseTime::from_millis(0);
    let log = Log::new(1 << 16);
    let cx = Context {
        engine: &engine,
        counters: &engine.counters[0],
        now: start.when(now),
        read_clock: &|| now,
        log: &log,
    };
    let mut writer = Session::new(false);
    let key = |number: usize| format!("{number:0>100}");
    let mut out = Vec::new();
    for number in 0..KEY_COUNT {
        writer.handle(&cx, format!("ms {} 0 q\r\n\r\n", key(number)).as_bytes(), &mut out);
    }
    assert!(out.is_empty());

    let (mut dumper, mut all, mut turns) = (Session::new(false), Vec::new(), 0);
    let mut input = &b"lru_crawler mgdump all\r\nmn\r\n"[..];
    while !input.is_empty() {
        let mut out = Vec::new();
        let received = dumper.handle(&cx, input, &mut out);
        assert!(out.len() <= OUTPUT_HIGH + BUCKET_LINES_LEN_MAX, "{} bytes in one turn", out.len());
        input = &input[received.consumed..];
        assert!(input.is_empty() || received.next == Next::Again);
        all.append(&mut out);
        turns += 1;
        // Added behind or before the place where the dump is: it may be told or not.
        writer.handle(&cx, format!("ms new{turns} 0 q\r\n\r\nmd new{turns} q\r\n").as_bytes(), &mut out);
        assert!(out.is_empty());
    }
    assert!(turns >= store::BUCKET_COUNT / doled_server::limits::DUMP_BUCKETS_PER_TURN, "{turns} turns");
    let text = String::from_utf8(all).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.split_off(KEY_COUNT), ["EN", "MN"]);
    lines.sort_unstable();
    let expected: Vec<String> = (0..KEY_COUNT).map(|number| format!("mg {}", key(number))).collect();
    assert_eq!(lines, expected);
}
