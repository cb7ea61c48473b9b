//! Nodes come, go, hang and die; every bucket has at most one owner all the time (the ledger checks it), and one
//! in the end.

use std::time::Instant;

use proto::control::{Dirty, Life, Message};
use proto::{BUCKET_COUNT, Bucket, ClusterId, Generation, Incarnation};
use serde_json::json;

use crate::fake_node::{Control, View, ask};
use crate::harness::{Harness, SHORT_LEASE};

const HALF: usize = BUCKET_COUNT / 2;

fn generation_of(view: &View, bucket: u16) -> Option<Generation> {
    let within =
        |run: &&proto::control::Owned| (run.first.number()..run.first.number() + run.count).contains(&bucket);
    view.owned.iter().find(within).map(|run| run.generation)
}

#[test]
fn the_first_node_gets_every_bucket() {
    let harness = Harness::start();
    let view = harness.node("a").wait_count(BUCKET_COUNT);
    assert!(view.owned.iter().all(|run| run.generation > Generation::NONE));
}

#[test]
fn two_nodes_share_evenly_and_know_the_same_map() {
    let harness = Harness::start();
    let (a, b) = (harness.node("a"), harness.node("b"));
    a.wait_count(HALF);
    b.wait_count(HALF);
    let full =
        |view: &View| view.map.as_ref().is_some_and(|map| map.bucket_counts() == [HALF as u32, HALF as u32]);
    let (a, b) = (a.wait("the map", full), b.wait("the map", full));
    assert_eq!(a.map, b.map);
}

#[test]
fn an_unknown_node_is_told_what_to_do_and_let_in_when_it_was_added() {
    let harness = Harness::start_with(|options| options.auto_add = false);
    let node = harness.node("a");
    let refused = node.wait("refused", |view| view.refused.is_some()).refused.unwrap();
    assert!(refused.contains("doled ctl add-node a"), "{refused}");
    let (status, _) = harness.post("/v1/nodes", &json!({ "name": "a", "address": "a.test:11211" }));
    assert_eq!(status, 201);
    node.wait_count(BUCKET_COUNT);
}

#[test]
fn a_node_of_another_cluster_is_refused() {
    let harness = Harness::start();
    let node = harness.node_of("a", ClusterId(7));
    let refused = node.wait("refused", |view| view.refused.is_some()).refused.unwrap();
    assert!(refused.contains("cluster"), "{refused}");
}

/// At once: the lease is longer than the test waits.
#[test]
fn a_proven_death_moves_the_buckets_at_once() {
    let harness = Harness::start();
    let (a, b) = (harness.node("a"), harness.node("b"));
    a.wait_count(HALF);
    b.wait_count(HALF);
    let life = a.kill().life.unwrap();
    assert_eq!(ask(harness.address(), &Message::Dead(life.clone())), Message::Done);
    b.wait_count(BUCKET_COUNT);
    // The guardian may repeat itself.
    assert_eq!(ask(harness.address(), &Message::Dead(life)), Message::Done);
}

#[test]
fn a_released_node_gives_its_buckets_at_once() {
    let harness = Harness::start();
    let (a, b) = (harness.node("a"), harness.node("b"));
    a.wait_count(HALF);
    b.wait_count(HALF);
    let life = a.kill().life.unwrap();
    assert_eq!(ask(harness.address(), &Message::Release(life)), Message::Done);
    b.wait_count(BUCKET_COUNT);
}

#[test]
fn a_silent_node_keeps_its_buckets_until_its_lease_is_surely_over() {
    let harness = Harness::start_short();
    let (a, b) = (harness.node("a"), harness.node("b"));
    a.wait_count(HALF);
    b.wait_count(HALF);
    let silent = Instant::now();
    // That nothing moves before the lease is over is the ledger's business.
    let lease = a.hang().lease;
    b.wait_count(BUCKET_COUNT);
    assert!(!lease.is_valid(stdx::clock::lease_now()));
    assert!(silent.elapsed() < 5 * SHORT_LEASE, "{:?}", silent.elapsed());
    harness.wait_listed("a", |node| node.is_some_and(|node| node["state"] == "down"));
}

#[test]
fn a_returning_node_gets_buckets_under_new_generations() {
    let harness = Harness::start();
    let (a, b) = (harness.node("a"), harness.node("b"));
    a.wait_count(HALF);
    b.wait_count(HALF);
    for _ in 0..3 {
        let node = harness.node("c");
        node.wait("buckets", |view| view.count > BUCKET_COUNT / 4);
        let life = node.kill().life.unwrap();
        assert_eq!(ask(harness.address(), &Message::Dead(life)), Message::Done);
        // Each generation belongs to one life: the ledger checks it.
        a.wait("half again", |view| view.count + 1 >= HALF);
        b.wait("half again", |view| view.count + 1 >= HALF);
    }
    assert!(harness.ledger.granted_count() > BUCKET_COUNT);
}

#[test]
fn a_dirty_report_is_done_when_the_bucket_has_a_new_generation() {
    let harness = Harness::start();
    let node = harness.node("a");
    let view = node.wait_count(BUCKET_COUNT);
    let (cluster, before) = (view.life.as_ref().unwrap().cluster, generation_of(&view, 5).unwrap());
    let dirty = Dirty { cluster, bucket: Bucket::new(5).unwrap() };
    assert_eq!(ask(harness.address(), &Message::Dirty(dirty)), Message::Done);
    let view = node.wait("a new generation", |view| generation_of(view, 5) > Some(before));
    assert_eq!(generation_of(&view, 6), Some(before));
}

#[test]
fn clients_may_ask_for_the_map_when_it_is_newer() {
    let harness = Harness::start();
    let node = harness.node("a");
    node.wait_count(BUCKET_COUNT);
    let mut control = Control::connect(harness.address());
    let Message::MapIs(text) = control.ask(&Message::MapGet(proto::MapVersion::NONE)) else {
        panic!("no map")
    };
    let mut map = cluster::Map::empty(ClusterId(0));
    assert!(map.apply(&text).unwrap());
    assert_eq!(map.bucket_counts(), [BUCKET_COUNT as u32]);
    assert_eq!(control.ask(&Message::MapGet(map.version())), Message::MapIs(Vec::new()));
}

/// Its guardian need not go on telling it.
#[test]
fn the_death_of_an_unknown_node_is_done() {
    let harness = Harness::start();
    let life = Life { cluster: ClusterId(0), node: "nobody".parse().unwrap(), incarnation: Incarnation(1) };
    assert_eq!(ask(harness.address(), &Message::Dead(life)), Message::Done);
    assert_eq!(harness.listed("nobody"), None);
}
