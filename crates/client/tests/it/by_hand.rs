//! Nodes that own by hand under a manager that the test plays: refusals, and deletes that only the manager can finish.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use doled_client::{CasResult, Client, ClientOptions, Expiry, Target, WriteError};
use proto::{ClusterId, KeyHash};
use server::{ManagedOptions, Node, ServerOptions};

use crate::fake_manager::{FakeManager, Said};
use crate::servers::PATIENCE;

const KEY: &str = "key";

/// A node of cluster 5 that owns the bucket of [`KEY`].
fn node(name: &str, generation: u64) -> Node {
    let managed =
        ManagedOptions::ByHand { admin: "127.0.0.1:0".parse().unwrap(), node: name.parse().unwrap() };
    let options = ServerOptions { threads: 1, managed: Some(managed), ..ServerOptions::default() };
    let node = Node::start(options).unwrap();
    node.engine().managed.as_ref().unwrap().set_cluster(ClusterId(5));
    own(&node, generation);
    node
}

fn own(node: &Node, generation: u64) {
    admin(node, &format!("own {}:{generation}\r\n", KeyHash::of(KEY.as_bytes()).bucket()), "OWNED\r\n");
}

fn disown(node: &Node) {
    admin(node, &format!("disown {}\r\n", KeyHash::of(KEY.as_bytes()).bucket()), "DISOWNED\r\n");
}

fn admin(node: &Node, line: &str, expect: &str) {
    let mut stream = std::net::TcpStream::connect(node.admin_address().unwrap()).unwrap();
    stream.write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert_eq!(answer, expect);
}

fn map(version: u64, owner: &str, nodes: &[(&str, &Node)]) -> String {
    let mut text = format!("doled-map 1\ncluster 5\nversion {version}\nsince 0\nhash xxh3-64 49\n");
    for (name, node) in nodes {
        text += &format!("node {name} {}\n", node.tcp_address().unwrap());
    }
    text + &format!("buckets 0 32768 {version} {owner}\nend\n")
}

/// Little patience, for what is going to fail.
async fn client(manager: &FakeManager, write_budget: Duration) -> Client {
    let mut options = ClientOptions::default();
    options.route.timeout = write_budget.min(options.route.timeout);
    options.route.write_budget = write_budget;
    Client::start(Target::Managed { managers: vec![manager.address.clone()] }, options).await.unwrap()
}

fn end(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.stop();
        node.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_map_comes_from_the_nodes_and_is_followed() {
    let (low, high) = (node("n1", 10), node("n2", 11));
    let nodes = [("n1", &low), ("n2", &high)];
    let manager = FakeManager::start(map(10, "n1", &nodes), []).await;
    let client = client(&manager, Duration::from_secs(20)).await;
    client.set(KEY, "first", Expiry::Never).await.unwrap();
    let (_, cas) = client.gets(KEY).await.unwrap().unwrap();

    // The bucket moves; only the nodes are told, the manager says nothing newer.
    disown(&low);
    for node in [&low, &high] {
        let managed = node.engine().managed.as_ref().unwrap();
        managed.map.apply(map(11, "n2", &nodes).as_bytes()).unwrap();
    }
    client.set(KEY, "second", Expiry::Never).await.unwrap();
    assert_eq!(client.get(KEY).await.unwrap().unwrap().value, b"second");
    assert_eq!(client.cas(KEY, "third", Expiry::Never, cas).await, Ok(CasResult::Changed));
    assert_eq!(client.delete(KEY).await, Ok(true));
    assert_eq!(client.get(KEY).await, Ok(None));
    end([low, high]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_nobody_owns_misses_and_nothing_is_written() {
    let node = node("n1", 10);
    let manager = FakeManager::start(map(10, "n1", &[("n1", &node)]), []).await;
    // Long enough for a refusal on a busy machine: what is not refused in time is unknown.
    let client = client(&manager, Duration::from_secs(1)).await;
    disown(&node);
    assert_eq!(client.get(KEY).await, Ok(None));
    let error = client.set(KEY, "v", Expiry::Never).await.unwrap_err();
    assert!(matches!(error, WriteError::NotDone(_)) && error.is_retryable(), "{error}");
    let error = client.incr(KEY, 1).await.unwrap_err();
    assert!(matches!(error, WriteError::NotDone(_)), "{error}");
    end([node]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_that_no_node_acknowledges_is_the_managers() {
    let node = node("n1", 10);
    let said = [Said::Refused, Said::Nothing, Said::Done];
    let mut manager = FakeManager::start(map(10, "n1", &[("n1", &node)]), said).await;
    let client = client(&manager, Duration::from_millis(100)).await;
    client.set(KEY, "v", Expiry::Never).await.unwrap();
    disown(&node);
    assert_eq!(client.delete(KEY).await, Ok(true));
    for _ in 0..3 {
        let dirty = manager.reports.recv().await.unwrap();
        assert_eq!((dirty.cluster, dirty.bucket), (ClusterId(5), KeyHash::of(KEY.as_bytes()).bucket()));
    }
    end([node]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_goes_on_when_its_caller_has_given_up() {
    let node = node("n1", 10);
    // More than are made in the time that a caller waits.
    let said = (0..1000).map(|_| Said::Refused);
    let mut manager = FakeManager::start(map(10, "n1", &[("n1", &node)]), said).await;
    let client = client(&manager, Duration::from_millis(100)).await;
    disown(&node);
    assert_eq!(client.delete(KEY).await, Err(WriteError::Unknown));
    next_report(&mut manager).await;
    // And when the whole client is gone: the manager hears of it until it has said that it is done.
    drop(client);
    next_report(&mut manager).await;
    next_report(&mut manager).await;
    end([node]);
}

/// Waits for a report that comes from now on.
async fn next_report(manager: &mut FakeManager) {
    while manager.reports.try_recv().is_ok() {}
    tokio::time::timeout(PATIENCE, manager.reports.recv()).await.expect("another report").unwrap();
}
