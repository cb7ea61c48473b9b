//! `/metrics`: the figures in Prometheus' text format.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use stdx::LeaseTime;

use super::status::Summary;
use super::{Api, ApiError};
use crate::driver::Driver;

pub(super) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let text = api.handle.look(|driver, now| render(driver, now)).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

fn render(driver: &Driver, now: LeaseTime) -> String {
    let (machine, counters, summary) = (&driver.machine, driver.counters, Summary::of(driver, now));
    let mut out = String::new();
    header_of(&mut out, "nodes", "gauge", "Nodes by state.");
    for (state, count) in summary.nodes {
        let _ = writeln!(out, "doled_manager_nodes{{state=\"{state}\"}} {count}");
    }
    let gauges = [
        ("leading", "1 while this manager leads.", u64::from(machine.is_leading())),
        ("term", "This manager's reign.", machine.term().0),
        (
            "map_version",
            "Version of the map: the epoch in the high half, a counter in the low.",
            machine.map().version().0,
        ),
        ("buckets_assigned", "Buckets that the map gives to a node.", summary.assigned),
        ("buckets_held", "Buckets whose node has acknowledged them.", summary.held),
        ("buckets_waiting", "Buckets moved or wiped and not yet acknowledged.", summary.waiting as u64),
        ("uptime_seconds", "Since the start.", now.elapsed_min(driver.started).as_secs()),
    ];
    for (name, help, value) in gauges {
        header_of(&mut out, name, "gauge", help);
        let _ = writeln!(out, "doled_manager_{name} {value}");
    }
    let counters = [
        ("polls", "Polls received.", counters.polls),
        ("polls_refused", "Polls answered by a refusal.", counters.polls_refused),
        ("deaths_reported", "Words of guardians.", counters.deaths),
        ("releases", "Words of nodes that end.", counters.releases),
        ("dirty_reports", "Dirty reports received.", counters.dirty_reports),
        ("commands", "Commands received.", counters.commands),
        ("requests_refused", "Requests other than polls answered by a refusal.", counters.requests_refused),
        ("map_requests", "Maps asked for by clients.", counters.map_requests),
        ("commits", "Transactions that became durable.", counters.commits),
        ("commits_failed", "Transactions that failed or have an unknown outcome.", counters.commits_failed),
        ("reloads", "Times that the state was read again.", counters.reloads),
        (
            "generations",
            "Generations handed out: buckets moved or wiped.",
            counters.buckets_moved + counters.buckets_wiped,
        ),
        ("buckets_moved", "Buckets given to another life or node.", counters.buckets_moved),
        ("buckets_wiped", "Buckets wiped for dirty reports.", counters.buckets_wiped),
        ("nodes_admitted", "Lives of nodes that got a lease.", counters.nodes_admitted),
        ("nodes_dead", "Lives of nodes whose end was proven.", counters.nodes_dead),
        ("nodes_silent", "Times that a node was silent for the waiting time.", counters.nodes_silent),
    ];
    for (name, help, value) in counters {
        header_of(&mut out, &format!("{name}_total"), "counter", help);
        let _ = writeln!(out, "doled_manager_{name}_total {value}");
    }
    out
}

fn header_of(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# HELP doled_manager_{name} {help}\n# TYPE doled_manager_{name} {kind}\n");
}
