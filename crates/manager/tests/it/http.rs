//! The HTTP API, round trip by round trip.

use proto::BUCKET_COUNT;
use serde_json::json;

use crate::harness::Harness;

/// Status and text of a refused request.
#[track_caller]
fn check_error((status, body): (u16, serde_json::Value), wanted: u16, contains: &str) {
    assert_eq!(status, wanted, "{body}");
    let text = body["error"].as_str().unwrap_or_else(|| panic!("no error in {body}"));
    assert!(text.contains(contains), "{text}");
}

#[test]
fn status_tells_the_cluster_at_a_glance() {
    let harness = Harness::start();
    let node = harness.node("a");
    node.wait_count(BUCKET_COUNT);
    harness.wait_listed("a", |node| node.is_some_and(|node| node["buckets"] == BUCKET_COUNT));
    let (code, status) = harness.get("/v1/status");
    assert_eq!(code, 200);
    assert_eq!(status["leading"], true);
    assert_eq!(status["nodes_up"], 1);
    assert_eq!(status["nodes_down"], 0);
    assert_eq!(status["buckets_assigned"], BUCKET_COUNT);
    assert_eq!(status["buckets_held"], BUCKET_COUNT);
    assert_eq!(status["buckets_waiting"], 0);
    assert_eq!(status["lease_ms"], 300_000);
    assert!(status["store"].as_str().unwrap().contains("manager.state"));
}

#[test]
fn nodes_are_listed_with_what_is_known_of_them() {
    let harness = Harness::start();
    let node = harness.node("a");
    node.wait_count(BUCKET_COUNT);
    harness.wait_listed("a", |node| node.is_some_and(|node| node["state"] == "up"));
    let listed = harness.listed("a").unwrap();
    assert_eq!(listed["address"], "a.test:11211");
    assert_eq!(listed["pid"], 4711);
    assert_eq!(listed["incarnation"], node.incarnation.to_string());
    assert_eq!(listed["target"], BUCKET_COUNT);
    assert!(listed["lease_left_ms"].as_u64().unwrap() <= 300_000);
}

#[test]
fn nodes_are_added_drained_undrained_and_removed() {
    let harness = Harness::start_with(|options| options.auto_add = false);
    for name in ["a", "b"] {
        let (status, body) =
            harness.post("/v1/nodes", &json!({ "name": name, "address": format!("{name}:1") }));
        assert_eq!((status, &body["name"]), (201, &json!(name)));
    }
    assert_eq!(harness.listed("a").unwrap()["state"], "joining");
    let (a, b) = (harness.node("a"), harness.node("b"));
    a.wait_count(BUCKET_COUNT / 2);
    assert_eq!(harness.post("/v1/nodes/a/drain", &json!({})).0, 200);
    a.wait_count(0);
    b.wait_count(BUCKET_COUNT);
    harness.wait_listed("a", |node| node.is_some_and(|node| node["state"] == "draining"));
    assert_eq!(harness.post("/v1/nodes/a/undrain", &json!({})).0, 200);
    a.wait_count(BUCKET_COUNT / 2);

    check_error(harness.delete("/v1/nodes/a"), 409, "drain it first");
    assert_eq!(harness.delete("/v1/nodes/a?force=true").0, 200);
    b.wait_count(BUCKET_COUNT);
    harness.wait_listed("a", |node| node.is_none());
}

#[test]
fn a_node_without_buckets_is_removed_without_force() {
    let harness = Harness::start_with(|options| options.auto_add = false);
    assert_eq!(harness.post("/v1/nodes", &json!({ "name": "a" })).0, 201);
    assert_eq!(harness.delete("/v1/nodes/a").0, 200);
    harness.wait_listed("a", |node| node.is_none());
}

#[test]
fn buckets_are_shown_by_range_and_by_node() {
    let harness = Harness::start();
    let (a, b) = (harness.node("a"), harness.node("b"));
    a.wait_count(BUCKET_COUNT / 2);
    b.wait_count(BUCKET_COUNT / 2);
    let counted = |path: &str| -> u64 {
        let (status, body) = harness.get(path);
        assert_eq!(status, 200, "{body}");
        body["buckets"].as_array().unwrap().iter().map(|run| run["count"].as_u64().unwrap()).sum()
    };
    assert_eq!(counted("/v1/buckets"), BUCKET_COUNT as u64);
    assert_eq!(counted("/v1/buckets?node=a"), BUCKET_COUNT as u64 / 2);
    assert_eq!(counted("/v1/buckets?first=100&count=7"), 7);
    assert_eq!(counted("/v1/buckets?first=32760&count=100"), 8);
    assert_eq!(counted("/v1/buckets?count=0"), 0);
    let (_, one) = harness.get("/v1/buckets?first=3&count=1");
    assert_eq!((&one["buckets"][0]["first"], &one["buckets"][0]["count"]), (&json!(3), &json!(1)));
    assert!(one["buckets"][0]["generation"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    check_error(harness.get("/v1/buckets?first=32768"), 400, "32767");
    check_error(harness.get("/v1/buckets?node=zz"), 404, "zz");
}

#[test]
fn the_map_comes_as_json_or_text_whole_or_since_a_version() {
    let harness = Harness::start();
    let node = harness.node("a");
    node.wait_count(BUCKET_COUNT);
    let (_, map) = harness.get("/v1/map");
    assert_eq!(map["nodes"], json!([{ "name": "a", "address": "a.test:11211" }]));
    assert_eq!(map["buckets"][0]["node"], "a");
    let text = harness.text("/v1/map?text=1");
    assert!(text.starts_with("doled-map 1\n") && text.ends_with("end\n"), "{text}");
    let version = map["version"].as_str().unwrap();
    let (_, newer) = harness.get(&format!("/v1/map?since={version}"));
    assert_eq!(newer["buckets"], json!([]));
    assert_eq!(harness.text(&format!("/v1/map?text=1&since={version}")), "");
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    let harness = Harness::start_with(|options| options.auto_add = false);
    assert_eq!(harness.post("/v1/nodes", &json!({ "name": "a", "address": "h:1" })).0, 201);
    check_error(harness.post("/v1/nodes", &json!({ "name": "a", "address": "h:1" })), 409, "already");
    check_error(harness.post("/v1/nodes", &json!({ "name": "a b" })), 400, "\"a b\"");
    check_error(harness.post("/v1/nodes", &json!({ "name": "c", "address": "no-port" })), 400, "no-port");
    check_error(harness.post("/v1/nodes", &json!({ "nom": "c" })), 422, "nom");
    check_error(harness.post("/v1/nodes", &json!({ "name": "c".repeat(20_000) })), 413, "");
    check_error(harness.post("/v1/nodes/zz/drain", &json!({})), 404, "zz");
    check_error(harness.post("/v1/nodes/zz/undrain", &json!({})), 404, "zz");
    check_error(harness.delete("/v1/nodes/zz"), 404, "zz");
    check_error(harness.delete("/v1/nodes/a?force=maybe"), 400, "force");
    check_error(harness.get("/v1/map?sinc=1"), 400, "sinc");
    check_error(harness.get("/v2/status"), 404, "/");
    check_error(harness.delete("/v1/status"), 405, "method");
}

#[test]
fn metrics_and_page_are_for_prometheus_and_people() {
    let harness = Harness::start();
    harness.node("a").wait_count(BUCKET_COUNT);
    let metrics = harness.text("/metrics");
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("doled_manager_"), "{line}");
        value.parse::<u64>().unwrap();
    }
    for name in
        ["doled_manager_polls_total", "doled_manager_commits_total", "doled_manager_generations_total"]
    {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert!(value.trim().parse::<u64>().unwrap() > 0, "{name}{value}");
    }
    assert!(harness.text("/").contains("/v1/status"));
}
