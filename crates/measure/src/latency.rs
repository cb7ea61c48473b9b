//! Section latency: both servers under the same offered load, alone and beside hostile clients.

use std::time::Duration;

use anyhow::Result;
use bench::{BenchOptions, Ending, Latency};
use serde_json::json;

use crate::report::{Section, Spread, Table};
use crate::server::{Programs, RIVALS, Rival, Server, Setup};
use crate::speed::plain;
use crate::{NodeArgs, Scale, hostile};

/// Offered loads, as shares of what memcached does at most on this machine.
const SHARES: &[f64] = &[0.25, 0.5, 0.75];

/// Measures the whole section.
pub(crate) fn run(programs: &Programs, scale: &Scale, _args: &NodeArgs) -> Result<Section> {
    let mut section = Section::default();
    equal_load(programs, scale, &mut section)?;
    hostile::run(programs, scale, &mut section)?;
    Ok(section)
}

/// One tenth sets, the rest gets, 50 connections.
fn load(server: &Server, rate: Option<f64>, seconds: f64) -> BenchOptions {
    let plain = plain(server.target());
    BenchOptions {
        rate,
        ending: Ending::After(Duration::from_secs_f64(seconds)),
        mix: bench::Mix { sets: 0.1, ..plain.mix },
        ..plain
    }
}

fn equal_load(programs: &Programs, scale: &Scale, section: &mut Section) -> Result<()> {
    let mut table = Table::new(
        "Latency at equal offered load",
        "Open loop: requests are due at a fixed rate, and latency counts from when they were due. 1 set to 9 gets, \
         100-byte values, 50 connections, unpipelined. Asked: p99 never worse than memcached's.",
        &["requests/s", "server", "p50, µs", "p99, µs", "p99.9, µs"],
    );
    let servers = [
        Server::start(programs, &Setup::new(Rival::Doled, 1024))?,
        Server::start(programs, &Setup::new(Rival::Memcached, 1024))?,
    ];
    let [_, memcached] = &servers;
    for server in &servers {
        bench::run(&BenchOptions { preload: true, ..load(server, None, 0.1) }, |_| {})?;
    }
    let most = bench::run(&load(memcached, None, scale.seconds), |_| {})?.requests_per_second;
    for share in SHARES {
        let rate = (most * share / 1000.0).round().max(1.0) * 1000.0;
        let mut found: [Vec<Latency>; 2] = [Vec::new(), Vec::new()];
        for round in 0..scale.rounds {
            for (place, server) in servers.iter().enumerate() {
                let report = bench::run(&load(server, Some(rate), scale.seconds), |_| {})?;
                section.raw(json!({
                    "case": "equal load", "server": RIVALS[place].name(), "rate": rate, "round": round,
                    "latency": report.latency, "per_second": report.requests_per_second.round(),
                }));
                found[place].push(report.latency);
            }
        }
        for (place, latencies) in found.iter().enumerate() {
            let [p50, p99, p999] = quantiles(latencies);
            let name = RIVALS[place].name().to_owned();
            table.row(vec![format!("{rate:.0}"), name, p50.show(0), p99.show(0), p999.show(0)]);
        }
    }
    section.table(table);
    Ok(())
}

/// p50, p99 and p99.9 over the rounds.
pub(crate) fn quantiles(latencies: &[Latency]) -> [Spread; 3] {
    [
        |latency: &Latency| latency.p50_us,
        |latency: &Latency| latency.p99_us,
        |latency: &Latency| latency.p999_us,
    ]
    .map(|at| Spread::of(&latencies.iter().map(at).collect::<Vec<f64>>()))
}
