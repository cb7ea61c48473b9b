//! A manager that ends and comes back on its file: nothing is forgotten, nothing handed out twice.

use proto::BUCKET_COUNT;
use proto::control::Message;
use serde_json::{Value, json};

use crate::fake_node::ask;
use crate::harness::{Harness, SHORT_LEASE};

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_restart_forgets_nothing_and_raises_the_term() {
    let mut harness = Harness::start_with(|options| {
        options.auto_add = false;
        options.lease = SHORT_LEASE;
    });
    for name in ["a", "b"] {
        let address = format!("{name}.test:11211");
        assert_eq!(harness.post("/v1/nodes", &json!({ "name": name, "address": address })).0, 201);
    }
    assert_eq!(harness.post("/v1/nodes/b/drain", &json!({})).0, 200);
    let (before, map) = (harness.get("/v1/status").1, harness.get("/v1/map").1);
    harness.restart();
    let after = harness.get("/v1/status").1;
    assert_eq!(after["cluster"], before["cluster"]);
    assert!(number(&after["term"]) > number(&before["term"]));
    assert_eq!(harness.get("/v1/map").1["nodes"], map["nodes"]);
    let a = harness.node("a");
    a.wait_count(BUCKET_COUNT);
    assert_eq!(harness.listed("b").unwrap()["target"], 0);
}

#[test]
fn generations_never_repeat_through_restarts() {
    let mut harness = Harness::start_short();
    for round in 0..3 {
        // Both lives of each round die with the manager that knew them, unproven.
        let (a, b) = (harness.node("a"), harness.node("b"));
        a.wait("buckets", |view| view.count > 0);
        b.wait("buckets", |view| view.count > 0);
        if round % 2 == 0 {
            let life = a.kill().life.unwrap();
            assert_eq!(ask(harness.address(), &Message::Dead(life)), Message::Done);
            b.wait_count(BUCKET_COUNT);
        }
        b.kill();
        harness.restart();
    }
    let node = harness.node("c");
    node.wait_count(BUCKET_COUNT);
}

/// With a lease longer than the test: what it holds is renewed at once, without waiting for anything.
#[test]
fn a_node_that_lives_on_keeps_its_buckets_through_a_restart() {
    let mut harness = Harness::start();
    let (a, b) = (harness.node("a"), harness.node("b"));
    a.wait_count(BUCKET_COUNT / 2);
    let before = b.wait_count(BUCKET_COUNT / 2);
    harness.restart();
    let after =
        b.wait("a new term and a lease", |view| view.term > before.term && view.lease != before.lease);
    assert_eq!(after.owned, before.owned);
    // And its death, proven to the new manager, moves its buckets.
    let life = b.kill().life.unwrap();
    assert_eq!(ask(harness.address(), &Message::Dead(life)), Message::Done);
    a.wait_count(BUCKET_COUNT);
}

#[test]
fn new_generations_after_a_restart_are_higher_than_all_before() {
    let mut harness = Harness::start_short();
    let node = harness.node("a");
    let before = node.wait_count(BUCKET_COUNT);
    node.kill();
    harness.restart();
    let after = harness.node("a").wait_count(BUCKET_COUNT);
    let highest = before.owned.iter().map(|run| run.generation).max();
    assert!(after.owned.iter().all(|run| Some(run.generation) > highest));
}
