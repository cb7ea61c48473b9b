//! Section speed: CPU time of the server for each request.

use anyhow::Result;
use bench::{BenchOptions, Ending, Mix, Popularity, Protocol, Report, Sizes, Target, Ttl};
use serde_json::json;
use std::time::Duration;

use crate::report::{Section, Spread, Table};
use crate::server::{Programs, RIVALS, Rival, Server, Setup};
use crate::{NodeArgs, Scale};

/// Length of the fixed keys.
const KEY_LEN: usize = 16;

/// Memory of the servers: several times what the items need, so that nothing is evicted.
const MEMORY_MIB: u64 = 256;

/// Bytes of sets before the first round, as a multiple of the memory: a server that has not yet touched all of its
/// memory would pay for the kernel's pages.
const WARM: u64 = 2;

/// A load; everything else is common to all.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    pipeline: u32,
    multiget: u32,
    sets: bool,
    value_len: usize,
    keys: u64,
    connections: u32,
    asked: &'static str,
}

const SMALL: Case = Case {
    name: "",
    pipeline: 1,
    multiget: 1,
    sets: false,
    value_len: 100,
    keys: 100_000,
    connections: 50,
    asked: "",
};

const CASES: &[Case] = &[
    Case { name: "GET", asked: "≤ 1.1× floor", ..SMALL },
    Case { name: "GET, pipelines of 16", pipeline: 16, asked: "≤ 1.35× floor (stretch 1.2×)", ..SMALL },
    Case { name: "GET, pipelines of 64", pipeline: 64, asked: "≤ 1.5× floor", ..SMALL },
    Case { name: "get of 16 keys, per key", multiget: 16, asked: "≤ 1.5× floor", ..SMALL },
    Case { name: "SET", sets: true, asked: "memcached ≥ 1.2×", ..SMALL },
    Case { name: "SET, pipelines of 16", sets: true, pipeline: 16, asked: "memcached ≥ 1.6×", ..SMALL },
];

const LARGE: &[Case] = &[
    Case { name: "GET 100 KB", value_len: 100_000, keys: 500, connections: 8, asked: "not slower", ..SMALL },
    Case {
        name: "SET 100 KB",
        value_len: 100_000,
        keys: 500,
        connections: 8,
        sets: true,
        asked: "not slower",
        ..SMALL
    },
    Case { name: "GET 1 MB", value_len: 1_000_000, keys: 50, connections: 8, asked: "not slower", ..SMALL },
    Case {
        name: "SET 1 MB",
        value_len: 1_000_000,
        keys: 50,
        connections: 8,
        sets: true,
        asked: "not slower",
        ..SMALL
    },
];

/// Measures the whole section.
pub(crate) fn run(programs: &Programs, scale: &Scale, _args: &NodeArgs) -> Result<Section> {
    let mut section = Section::default();
    let header =
        ["load", "floor, µs", "doled, µs", "memcached, µs", "doled / floor", "memcached / doled", "asked"];
    let mut table = Table::new(
        "CPU time of the server per request",
        "100-byte values, 100,000 keys of 16 bytes, 50 connections, one server thread on processor 0, load on \
         processor 1, `-m 256`, all memory touched before; median of alternating rounds (lowest–highest).",
        &header,
    );
    cases(programs, scale, CASES, &mut table, &mut section)?;
    section.table(table);
    let mut table = Table::new("Large values", "8 connections, else as above.", &header);
    cases(programs, scale, LARGE, &mut table, &mut section)?;
    section.table(table);
    workers(programs, scale, &mut section)?;
    Ok(section)
}

fn cases(
    programs: &Programs,
    scale: &Scale,
    cases: &[Case],
    table: &mut Table,
    section: &mut Section,
) -> Result<()> {
    // Both live at once; the one that is not asked sleeps.
    let servers = [
        Server::start(programs, &Setup::new(Rival::Doled, MEMORY_MIB))?,
        Server::start(programs, &Setup::new(Rival::Memcached, MEMORY_MIB))?,
    ];
    let mut stored = None;
    for case in cases {
        // Both hold the same items; a case with others starts with storing its own.
        if stored != Some((case.keys, case.value_len)) {
            for server in &servers {
                preload(case, server)?;
            }
            stored = Some((case.keys, case.value_len));
        }
        let floor = Server::floor(programs, &floor_words(case))?;
        let [doled, memcached] = &servers;
        let rivals = [("floor", &floor), ("doled", doled), ("memcached", memcached)];
        let mut figures = [const { Vec::new() }; 3];
        for round in 0..scale.rounds {
            for (place, (name, server)) in rivals.into_iter().enumerate() {
                let report = bench::run(&options(case, server, scale.seconds, Some(1)), |_| {})?;
                let figure = per_key(case, &report);
                figures[place].push(figure);
                section.raw(json!({
                    "case": case.name, "server": name, "round": round,
                    "cpu_us": figure, "per_second": report.requests_per_second.round(),
                    "p50_us": report.latency.p50_us, "p99_us": report.latency.p99_us,
                    "hits": report.hits, "errors": report.errors,
                }));
            }
        }
        let [floor, doled, memcached] = figures.map(|figures| Spread::of(&figures));
        table.row(vec![
            case.name.to_owned(),
            floor.show(2),
            doled.show(2),
            memcached.show(2),
            format!("{:.2}", doled.median / floor.median),
            format!("{:.2}", memcached.median / doled.median),
            case.asked.to_owned(),
        ]);
    }
    Ok(())
}

/// CPU time for each key.
fn per_key(case: &Case, report: &Report) -> f64 {
    report.server_cpu_us_per_request.unwrap_or_default() / f64::from(case.multiget)
}

fn floor_words(case: &Case) -> Vec<String> {
    let set = format!("set  0 0 {}\r\n\r\n", case.value_len).len() + KEY_LEN + case.value_len;
    if case.sets {
        vec!["stored".to_owned(), set.to_string()]
    } else {
        vec!["values".to_owned(), case.value_len.to_string(), case.multiget.to_string()]
    }
}

fn options(case: &Case, server: &Server, seconds: f64, cpu: Option<usize>) -> BenchOptions {
    BenchOptions {
        pipeline: case.pipeline,
        connections: case.connections,
        keys: case.keys,
        value_size: Sizes::Fixed(case.value_len),
        mix: Mix { sets: f64::from(u8::from(case.sets)), deletes: 0.0, lone_gets: 0.0, set_on_miss: false },
        multiget: case.multiget,
        ending: Ending::After(Duration::from_secs_f64(seconds)),
        server_pids: vec![server.pid()],
        cpu,
        ..plain(server.target())
    }
}

/// Gets of 100-byte values, unpipelined, one thread on processor 1.
pub(crate) fn plain(target: Target) -> BenchOptions {
    BenchOptions {
        target,
        protocol: Protocol::Text,
        threads: 1,
        connections: 50,
        pipeline: 1,
        ending: Ending::Requests(1),
        rate: None,
        keys: 100_000,
        key_size: Sizes::Fixed(KEY_LEN),
        popularity: Popularity::Uniform,
        value_size: Sizes::Fixed(100),
        mix: Mix { sets: 0.0, deletes: 0.0, lone_gets: 0.0, set_on_miss: false },
        multiget: 1,
        ttl: Ttl::Fixed(0),
        preload: false,
        seed: 1,
        server_pids: Vec::new(),
        cpu: Some(1),
    }
}

/// Stores the keys, then stores them again until all memory was touched.
fn preload(case: &Case, server: &Server) -> Result<()> {
    let rewrites = (MEMORY_MIB << 20) * WARM / case.value_len as u64;
    let load = BenchOptions {
        ending: Ending::Requests(rewrites),
        connections: 1,
        pipeline: if case.value_len < 10_000 { 64 } else { 1 },
        mix: Mix { sets: 1.0, deletes: 0.0, lone_gets: 0.0, set_on_miss: false },
        preload: true,
        ..options(case, server, 1.0, Some(1))
    };
    bench::run(&load, |_| {})?;
    Ok(())
}

/// SETs with one worker and with two, server and load on all processors.
fn workers(programs: &Programs, scale: &Scale, section: &mut Section) -> Result<()> {
    let mut table = Table::new(
        "SET with one and two workers",
        "Pipelines of 16, server and load on both processors; CPU time of the server per request.",
        &["server", "1 worker, µs", "2 workers, µs", "2 / 1", "asked"],
    );
    let case = Case { name: "SET, workers", sets: true, pipeline: 16, ..SMALL };
    for rival in RIVALS {
        let start = |threads| {
            Server::start(programs, &Setup { threads, pinned: false, ..Setup::new(rival, MEMORY_MIB) })
        };
        let servers = [start(1)?, start(2)?];
        let mut figures = [const { Vec::new() }; 2];
        for server in &servers {
            preload(&case, server)?;
        }
        for round in 0..scale.rounds {
            for (place, server) in servers.iter().enumerate() {
                let report = bench::run(&options(&case, server, scale.seconds, None), |_| {})?;
                figures[place].push(per_key(&case, &report));
                section.raw(json!({
                    "case": case.name, "server": rival.name(), "workers": place + 1, "round": round,
                    "cpu_us": per_key(&case, &report), "per_second": report.requests_per_second.round(),
                }));
            }
        }
        let [one, two] = figures.map(|figures| Spread::of(&figures));
        let asked = if rival == Rival::Doled { "≤ 1.1" } else { "" };
        table.row(vec![
            rival.name().to_owned(),
            one.show(2),
            two.show(2),
            format!("{:.2}", two.median / one.median),
            asked.to_owned(),
        ]);
    }
    section.table(table);
    Ok(())
}
