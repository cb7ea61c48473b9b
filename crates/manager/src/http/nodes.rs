//! `/v1/nodes`: list, add, drain, undrain, remove.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cluster::manager::{Command, Health, MemberView};
use cluster::record::MemberRole;
use proto::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Api, ApiError, Query};

/// A node as the list shows it.
#[derive(Debug, Serialize)]
struct NodeJson {
    name: String,
    /// `host:port`; empty until its first poll.
    address: String,
    state: &'static str,
    /// Buckets that it has acknowledged to own.
    buckets: u32,
    /// Buckets that the map gives to it.
    target: u32,
    /// About what is left of its lease, had its last poll been sent when it arrived.
    lease_left_ms: Option<u64>,
    /// Since its last poll arrived.
    silent_ms: Option<u64>,
    incarnation: Option<String>,
    pid: u32,
}

/// Body of an add.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddBody {
    name: String,
    /// May come with the node's first poll instead.
    address: Option<String>,
}

/// Query of a remove.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveQuery {
    #[serde(default)]
    force: bool,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let lease = api.facts.lease;
    let members = api.handle.look(|driver, now| driver.machine.members(now)).await?;
    let nodes: Vec<NodeJson> = members.iter().map(|member| node_json(member, lease)).collect();
    Ok(Json(json!({ "nodes": nodes })))
}

pub(super) async fn add(
    State(api): State<Api>,
    body: Result<Json<AddBody>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let Json(body) = body.map_err(|error| {
        ApiError::new(
            error.status(),
            format_args!("{}; send {{\"name\": …, \"address\": \"host:port\"}}", error.body_text()),
        )
    })?;
    let node = node_id(&body.name)?;
    api.command(Command::Add { node: node.clone(), address: body.address }).await?;
    Ok((StatusCode::CREATED, Json(json!({ "name": node.as_str(), "state": "joining" }))))
}

pub(super) async fn drain(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let node = node_id(&name)?;
    api.command(Command::Drain(node)).await?;
    Ok(Json(json!({ "name": name, "state": "draining" })))
}

pub(super) async fn undrain(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let node = node_id(&name)?;
    api.command(Command::Undrain(node)).await?;
    Ok(Json(json!({ "name": name, "state": "joining" })))
}

/// Without `force` only a node with no buckets is removed; with it, its buckets go to the others first, and it
/// is forgotten when they have them.
pub(super) async fn remove(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Result<Json<Value>, ApiError> {
    let node = node_id(&name)?;
    let wanted = node.clone();
    let members = api.handle.look(|driver, now| driver.machine.members(now)).await?;
    let owned = members
        .iter()
        .find(|member| member.node == wanted)
        .map_or(0, |member| member.assigned.max(member.held));
    if owned > 0 && !query.force {
        let text = format!(
            "node {name} owns {owned} buckets: drain it first (POST /v1/nodes/{name}/drain, or doled ctl drain {name}) \
             and wait until it owns none, or remove it with force=true"
        );
        return Err(ApiError::new(StatusCode::CONFLICT, text));
    }
    api.command(Command::Remove(node)).await?;
    Ok(Json(json!({ "name": name, "state": "leaving" })))
}

fn node_id(name: &str) -> Result<NodeId, ApiError> {
    name.parse().map_err(ApiError::bad_request)
}

fn node_json(member: &MemberView, lease: Duration) -> NodeJson {
    let left = |silent| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).saturating_sub(silent);
    NodeJson {
        name: member.node.to_string(),
        address: member.address.clone(),
        state: state_of(member),
        buckets: member.held,
        target: member.assigned,
        lease_left_ms: member
            .silent_ms
            .map(|silent| if member.health == Health::Dead { 0 } else { left(silent) }),
        silent_ms: member.silent_ms,
        incarnation: (member.incarnation.0 != 0).then(|| member.incarnation.to_string()),
        pid: member.pid,
    }
}

/// One word for a member: `joining` (has no buckets yet), `up`, `draining`, `down`.
pub(super) fn state_of(member: &MemberView) -> &'static str {
    match (member.health, member.role) {
        (Health::Silent | Health::Dead, _) => "down",
        (_, MemberRole::Draining | MemberRole::Leaving) => "draining",
        (Health::New, _) => "joining",
        (Health::Up, _) if member.held == 0 => "joining",
        (Health::Up, _) => "up",
    }
}
