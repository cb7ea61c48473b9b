//! `/v1/map` and `/v1/buckets`: who owns which buckets, under which generation.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cluster::map::{Map, Run};
use proto::{BUCKET_COUNT, Bucket, MapVersion};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, Query};
use crate::driver::Driver;

/// Query of the map.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MapQuery {
    /// Only what changed after this version; 0: everything.
    #[serde(default)]
    since: u64,
    /// 1: the text that nodes and clients read.
    #[serde(default)]
    text: u8,
}

/// Query of the buckets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketsQuery {
    /// Only this node's.
    node: Option<String>,
    /// The first bucket to show.
    #[serde(default)]
    first: usize,
    /// How many to show from there; all, if not given.
    count: Option<usize>,
}

pub(super) async fn map(State(api): State<Api>, Query(query): Query<MapQuery>) -> Result<Response, ApiError> {
    let since = MapVersion(query.since);
    if query.text != 0 {
        let text = api.handle.look(move |driver, _| driver.machine.map().encode_since(since)).await?;
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    Ok(Json(api.handle.look(move |driver, _| map_json(driver.machine.map(), since)).await?).into_response())
}

pub(super) async fn buckets(
    State(api): State<Api>,
    Query(query): Query<BucketsQuery>,
) -> Result<Json<Value>, ApiError> {
    let end = query.first.saturating_add(query.count.unwrap_or(BUCKET_COUNT)).min(BUCKET_COUNT);
    if query.first >= BUCKET_COUNT {
        return Err(ApiError::bad_request(format_args!(
            "first={} is not a bucket: they are 0 to {}",
            query.first,
            BUCKET_COUNT - 1
        )));
    }
    api.handle
        .look(move |driver, _| buckets_json(driver, query.node.as_deref(), query.first, end))
        .await?
        .map(Json)
}

fn buckets_json(driver: &Driver, node: Option<&str>, first: usize, end: usize) -> Result<Value, ApiError> {
    let map = driver.machine.map();
    if let Some(node) = node.filter(|node| !map.nodes().iter().any(|known| known.id.as_str() == *node)) {
        let text = format!("node {node} is not in this cluster: see /v1/nodes for those that are");
        return Err(ApiError::new(StatusCode::NOT_FOUND, text));
    }
    let runs: Vec<Value> = map
        .runs()
        .filter(|run| node.is_none() || owner(map, run) == node)
        .filter_map(|run| clip(&run, first, end).map(|(first, count)| (run, first, count)))
        .map(|(run, first, count)| {
            json!({
                "first": first,
                "count": count,
                "generation": run.generation.to_string(),
                "node": owner(map, &run),
                "waiting": waiting(driver, first, count),
            })
        })
        .collect();
    Ok(json!({ "version": map.version().to_string(), "buckets": runs }))
}

fn map_json(map: &Map, since: MapVersion) -> Value {
    let nodes: Vec<Value> =
        map.nodes().iter().map(|node| json!({ "name": node.id.as_str(), "address": node.address })).collect();
    let runs: Vec<Value> = if since == MapVersion::NONE { map.runs() } else { map.runs_since(since) }
        .map(|run| {
            json!({
                "first": run.first.number(),
                "count": run.count,
                "generation": run.generation.to_string(),
                "node": owner(map, &run),
            })
        })
        .collect();
    json!({
        "cluster": map.cluster().to_string(),
        "version": map.version().to_string(),
        "since": since.to_string(),
        "hash": "xxh3-64 49",
        "nodes": nodes,
        "buckets": runs,
    })
}

fn owner<'a>(map: &'a Map, run: &Run) -> Option<&'a str> {
    map.nodes().get(run.owner?).map(|node| node.id.as_str())
}

/// The part of a run inside `first..end`, as first bucket and count.
fn clip(run: &Run, first: usize, end: usize) -> Option<(usize, usize)> {
    let from = run.first.index().max(first);
    let to = (run.first.index() + usize::from(run.count)).min(end);
    (from < to).then(|| (from, to - from))
}

/// How many buckets of a run have no owner yet that acknowledged them.
fn waiting(driver: &Driver, first: usize, count: usize) -> usize {
    (first..first + count)
        .filter_map(|number| Bucket::new(u16::try_from(number).ok()?))
        .filter(|bucket| driver.machine.is_waiting(*bucket))
        .count()
}
