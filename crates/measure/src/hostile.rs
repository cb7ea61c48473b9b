//! Hostile clients beside a normal one: they pipeline without reading, or send a large value byte by byte.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bench::{BenchOptions, Ending, Latency};
use serde_json::json;

use crate::Scale;
use crate::client::{Client, Item};
use crate::latency::quantiles;
use crate::report::{Section, Table};
use crate::server::{Programs, RIVALS, Rival, Server, Setup};
use crate::speed::plain;

/// Requests a second of the normal client: far below what either server does.
const RATE: f64 = 10_000.0;

/// Hostile connections of each kind.
const CONNECTIONS: usize = 8;

/// The large value, bytes.
const LARGE: usize = 1_000_000;

/// Pause between two bytes of all tricklers: some 10,000 bytes a second.
const TRICKLE: Duration = Duration::from_micros(800);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hostility {
    None,
    /// Thousands of gets of a 1 MB value on each connection; nothing is read.
    SlowReader,
    /// A set of 1 MB, one byte in a packet.
    Trickler,
}

const ALL: &[(Hostility, &str)] = &[
    (Hostility::None, "nobody"),
    (Hostility::SlowReader, "8 that pipeline gets of 1 MB and never read"),
    (Hostility::Trickler, "8 that send 1 MB byte by byte"),
];

/// Adds the table.
pub(crate) fn run(programs: &Programs, scale: &Scale, section: &mut Section) -> Result<()> {
    let mut table = Table::new(
        "A normal client beside hostile ones",
        "10,000 gets a second (open loop, 50 connections, 100-byte values) on a server with one thread; how much more \
         memory the server had at its peak than before they came.",
        &["beside", "server", "p50, µs", "p99, µs", "p99.9, µs", "RSS grew by, MiB"],
    );
    for &(hostility, name) in ALL {
        let servers = [start(programs, RIVALS[0])?, start(programs, RIVALS[1])?];
        let before = [servers[0].rss_kib()?, servers[1].rss_kib()?];
        let mut latencies = [Vec::new(), Vec::new()];
        for _ in 0..scale.rounds {
            for (place, server) in servers.iter().enumerate() {
                let load = normal(server, scale.seconds);
                latencies[place].push(beside(hostility, server, || Ok(bench::run(&load, |_| {})?.latency))?);
            }
        }
        for (place, rival) in RIVALS.into_iter().enumerate() {
            // The most that it ever was: the hostile ones of a round are gone when it is over.
            let grown = servers[place].peak_kib()?.saturating_sub(before[place]) as f64 / 1024.0;
            let [p50, p99, p999] = quantiles(&latencies[place]);
            section.raw(json!({
                "case": "hostile", "beside": name, "server": rival.name(), "latencies": latencies[place],
                "rss_grown_mib": grown,
            }));
            table.row(vec![
                name.to_owned(),
                rival.name().to_owned(),
                p50.show(0),
                p99.show(0),
                p999.show(0),
                format!("{grown:.1}"),
            ]);
        }
    }
    section.table(table);
    Ok(())
}

/// With the normal client's keys and the large value in it.
fn start(programs: &Programs, rival: Rival) -> Result<Server> {
    let server = Server::start(programs, &Setup::new(rival, 256))?;
    let warm =
        BenchOptions { preload: true, rate: None, ending: Ending::Requests(100), ..normal(&server, 1.0) };
    bench::run(&warm, |_| {})?;
    let mut client = Client::connect(&server)?;
    client.set(&Item { key: b"large".to_vec(), len: LARGE, ttl_s: 0 })?;
    client.flush()?;
    Ok(server)
}

fn normal(server: &Server, seconds: f64) -> BenchOptions {
    BenchOptions {
        rate: Some(RATE),
        ending: Ending::After(Duration::from_secs_f64(seconds)),
        ..plain(server.target())
    }
}

fn beside(
    hostility: Hostility,
    server: &Server,
    measure: impl FnOnce() -> Result<Latency>,
) -> Result<Latency> {
    let connect = || -> Result<Vec<TcpStream>> {
        (0..CONNECTIONS)
            .map(|_| TcpStream::connect(server.address()).context("a hostile connection"))
            .collect()
    };
    match hostility {
        Hostility::None => measure(),
        Hostility::SlowReader => {
            let mut streams = connect()?;
            for stream in &mut streams {
                fill(stream)?;
            }
            measure()
        }
        Hostility::Trickler => {
            let mut streams = connect()?;
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let trickler = scope.spawn(|| trickle(&mut streams, &over));
                let found = measure();
                over.store(true, Ordering::Relaxed);
                trickler.join().expect("the trickler does not panic")?;
                found
            })
        }
    }
}

/// Sends gets until the socket takes no more.
fn fill(stream: &mut TcpStream) -> Result<()> {
    stream.set_nonblocking(true)?;
    let requests = b"get large\r\n".repeat(1000);
    for _ in 0..100 {
        match stream.write(&requests) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn trickle(streams: &mut [TcpStream], over: &AtomicBool) -> Result<()> {
    bench::pin(Some(1))?;
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.set_nodelay(true)?;
        stream.write_all(format!("set trickle{number} 0 0 {LARGE}\r\n").as_bytes())?;
    }
    while !over.load(Ordering::Relaxed) {
        for stream in streams.iter_mut() {
            stream.write_all(b"x")?;
        }
        std::thread::sleep(TRICKLE);
    }
    Ok(())
}
