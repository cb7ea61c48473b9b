//! `/v1/status`: the cluster at a glance.

use axum::Json;
use axum::extract::State;
use proto::{BUCKET_COUNT, Bucket};
use serde_json::{Value, json};
use stdx::LeaseTime;

use super::nodes::state_of;
use super::{Api, ApiError};
use crate::driver::Driver;

/// Figures that both status and metrics show.
pub(super) struct Summary {
    /// Nodes by state.
    pub(super) nodes: [(&'static str, usize); 4],
    /// Buckets that the map gives to somebody.
    pub(super) assigned: u64,
    /// Buckets whose owner has acknowledged them.
    pub(super) held: u64,
    /// Buckets between owners.
    pub(super) waiting: usize,
}

impl Summary {
    pub(super) fn of(driver: &Driver, now: LeaseTime) -> Self {
        let members = driver.machine.members(now);
        let count =
            |state: &'static str| (state, members.iter().filter(|member| state_of(member) == state).count());
        Self {
            nodes: ["up", "joining", "draining", "down"].map(count),
            assigned: members.iter().map(|member| u64::from(member.assigned)).sum(),
            held: members.iter().map(|member| u64::from(member.held)).sum(),
            waiting: Bucket::all().filter(|bucket| driver.machine.is_waiting(*bucket)).count(),
        }
    }
}

pub(super) async fn status(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let facts = api.facts.clone();
    let status = api.handle.look(move |driver, now| {
        let summary = Summary::of(driver, now);
        let machine = &driver.machine;
        let mut status = json!({
            "cluster": machine.cluster().to_string(),
            "leading": machine.is_leading(),
            "term": machine.term().to_string(),
            "map_version": machine.map().version().to_string(),
            "buckets": BUCKET_COUNT,
            "buckets_assigned": summary.assigned,
            "buckets_held": summary.held,
            "buckets_waiting": summary.waiting,
            "lease_ms": facts.lease.as_millis() as u64,
            "wait_ms": cluster::lease::waiting_time(facts.lease).as_millis() as u64,
            "uptime_ms": now.elapsed_min(driver.started).as_millis() as u64,
            "store": facts.store,
            "program_version": env!("CARGO_PKG_VERSION"),
        });
        for (state, count) in summary.nodes {
            status[format!("nodes_{state}")] = count.into();
        }
        status
    });
    Ok(Json(status.await?))
}
