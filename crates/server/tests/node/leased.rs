//! Nodes under a manager's lease, over real sockets, against a manager that the test plays.

use std::path::Path;
use std::thread;

use doled_server::{Leased, ManagedOptions, Node, ServerOptions};
use proto::control::{Change, Message, Role};
use proto::{Bucket, Generation, Incarnation, KeyHash, MapVersion, Nonce};

use super::manager::{FakeManager, Talk, renew};
use super::sockets::Client;

const MAP: &[u8] =
    b"doled-map 1\ncluster 5\nversion 10\nsince 0\nhash xxh3-64 49\nnode n1 h:1\nbuckets 0 32768 10 n1\nend\n";
const GAP: &[u8] =
    b"doled-map 1\ncluster 5\nversion 30\nsince 20\nhash xxh3-64 49\nnode n1 h:1\nbuckets 0 1 30 n1\nend\n";

fn start(managers: Vec<String>, data: Option<&Path>) -> Node {
    let leased = Leased {
        managers,
        node: "n1".parse().unwrap(),
        data: data.map(Path::to_owned),
        advertise: None,
        incarnation: None,
    };
    Node::start(ServerOptions { managed: Some(ManagedOptions::Leased(leased)), ..ServerOptions::default() })
        .unwrap()
}

fn all_granted(generation: u64) -> Change {
    Change::Grant {
        first: Bucket::new(0).unwrap(),
        count: 32768,
        generation: Generation(generation),
        base: Generation(generation),
        role: Role::Primary,
    }
}

/// Answers one poll with changes and returns the next: then they are in force.
fn change(talk: &mut Talk, poll: &proto::control::Poll, changes: Vec<Change>) -> proto::control::Poll {
    talk.reply(proto::control::Reply { changes, ..renew(poll) });
    let next = talk.poll();
    assert_eq!(next.applied, poll.nonce);
    next
}

/// Stops the node while the manager takes its buckets back. The control thread may connect once more before.
fn stop(node: Node, manager: &FakeManager) {
    thread::scope(|scope| {
        scope.spawn(|| {
            node.stop();
            node.wait();
        });
        loop {
            let mut talk = manager.accept();
            if let Some(Message::Release(_)) = talk.next() {
                return talk.send(&Message::Done);
            }
        }
    });
}

#[test]
fn a_node_serves_what_it_is_granted_and_gives_it_back_when_it_stops() {
    let manager = FakeManager::start();
    let directory = tempfile::tempdir().unwrap();
    let node = start(vec![manager.address()], Some(directory.path()));
    let bucket = KeyHash::of(b"a").bucket();
    let mut client = Client::connect(&node);
    client.check(&format!("bg {bucket}:10\r\nget a\r\n"), "ERROR_NOT_OWNER\r\n");

    let mut talk = manager.accept();
    let first = talk.poll();
    assert_eq!(first.owned, Some(Vec::new()), "a new connection lists what is owned");
    assert_eq!(first.applied, Nonce(0));
    assert_eq!(first.address, node.tcp_address().unwrap().to_string());
    assert_eq!(first.pid, std::process::id());
    assert!(first.lock.inode != 0);

    let poll = change(&mut talk, &first, vec![all_granted(10)]);
    client.check(&format!("bg {bucket}:10\r\nset a 0 0 1\r\nx\r\n"), "STORED\r\n");
    client.check(&format!("bg {bucket}:10\r\nget a\r\n"), "VALUE a 0 1\r\nx\r\nEND\r\n");
    let incarnation = node.incarnation().unwrap();
    client.check("node\r\n", &format!("NODE 5 n1 {incarnation}\r\n"));

    let poll = change(&mut talk, &poll, vec![Change::Revoke { first: bucket, count: 1 }]);
    client.check(&format!("bg {bucket}:10\r\nget a\r\n"), "ERROR_NOT_OWNER\r\n");
    change(&mut talk, &poll, vec![all_granted(11)]);
    client.check(&format!("bg {bucket}:11\r\nget a\r\n"), "END\r\n");

    drop(talk);
    stop(node, &manager);
}

#[test]
fn stopping_disowns_at_once() {
    let manager = FakeManager::start();
    let node = start(vec![manager.address()], None);
    let mut talk = manager.accept();
    let poll = talk.poll();
    change(&mut talk, &poll, vec![all_granted(10)]);
    let engine = std::sync::Arc::clone(node.engine());
    let bucket = KeyHash::of(b"a").bucket();
    assert_eq!(engine.store.tag(bucket.index()), 10);
    thread::scope(|scope| {
        scope.spawn(|| {
            node.stop();
            node.wait();
        });
        let mut release = manager.accept();
        let Some(Message::Release(life)) = release.next() else { panic!("not a release") };
        // Before the word was sent, nothing was owned any more.
        assert_eq!(engine.store.tag(bucket.index()), 0);
        assert_eq!(life.incarnation, poll.incarnation);
        release.send(&Message::Done);
        assert!(talk.next().is_none(), "the poll connection ends too");
    });
}

#[test]
fn the_next_manager_is_tried_when_one_fails() {
    let (first, second) = (FakeManager::start(), FakeManager::start());
    let node = start(vec![first.address(), second.address()], None);
    let mut talk = first.accept();
    let poll = talk.poll();
    change(&mut talk, &poll, vec![all_granted(10)]);
    drop(talk);
    drop(first);
    let mut talk = second.accept();
    let poll = talk.poll();
    let owned = poll.owned.clone().unwrap();
    assert_eq!((owned[0].count, owned[0].generation), (32768, Generation(10)));
    change(&mut talk, &poll, Vec::new());
    drop(talk);
    stop(node, &second);
}

#[test]
fn a_reply_that_breaks_a_rule_ends_the_connection_and_changes_nothing() {
    let manager = FakeManager::start();
    let node = start(vec![manager.address()], None);
    let mut talk = manager.accept();
    let poll = talk.poll();
    let mut reply = renew(&poll);
    reply.incarnation = Incarnation(poll.incarnation.0 ^ 1);
    reply.changes = vec![all_granted(10)];
    talk.reply(reply);
    assert!(talk.next().is_none());
    let mut talk = manager.accept();
    assert_eq!(talk.poll().owned, Some(Vec::new()));
    drop(talk);
    stop(node, &manager);
}

#[test]
fn the_newest_map_is_passed_on_and_a_gap_asks_for_the_whole() {
    let manager = FakeManager::start();
    let node = start(vec![manager.address()], None);
    let mut client = Client::connect(&node);
    client.check("map\r\n", "MAP 0 0\r\n\r\nEND\r\n");
    let mut talk = manager.accept();
    let poll = talk.poll();
    assert_eq!(poll.map_version, MapVersion::NONE);
    talk.reply(proto::control::Reply { map: MAP.to_vec(), ..renew(&poll) });
    let poll = talk.poll();
    assert_eq!(poll.map_version, MapVersion(10));
    let text = String::from_utf8_lossy(MAP);
    client.check("map\r\n", &format!("MAP 10 {}\r\n{text}\r\nEND\r\n", MAP.len()));
    client.check("map 10\r\n", "MAP 10 0\r\n\r\nEND\r\n");
    talk.reply(proto::control::Reply { map: GAP.to_vec(), ..renew(&poll) });
    assert_eq!(talk.poll().map_version, MapVersion::NONE, "the whole map is asked for");
    drop(talk);
    stop(node, &manager);
}

#[test]
fn a_second_node_with_the_same_data_directory_is_refused() {
    let manager = FakeManager::start();
    let directory = tempfile::tempdir().unwrap();
    let node = start(vec![manager.address()], Some(directory.path()));
    let leased = Leased {
        managers: vec![manager.address()],
        node: "n1".parse().unwrap(),
        data: Some(directory.path().to_owned()),
        advertise: None,
        incarnation: None,
    };
    let options = ServerOptions { managed: Some(ManagedOptions::Leased(leased)), ..ServerOptions::default() };
    let error = Node::start(options).unwrap_err().to_string();
    assert!(error.contains("another node runs with this data directory"), "{error}");
    stop(node, &manager);
}
