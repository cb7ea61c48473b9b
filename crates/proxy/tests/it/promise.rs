//! What "Client and proxy" of the promise says, over real sockets: nodes that refuse, are silent, or vanish.

use std::time::{Duration, Instant};

use doled_proxy::Target;
use proto::KeyHash;
use route::RouteOptions;

use crate::fake::{Backend, FakeManager, Talk};
use crate::servers::Front;
use crate::socket::Socket;

const TIMEOUT: Duration = Duration::from_millis(300);

/// A manager, a proxy before it, and a client of that.
struct Scene {
    manager: FakeManager,
    client: Socket,
    _front: Front,
}

/// A proxy whose map shows all buckets as `backend`'s, under generation 10.
fn scene(backend: &Backend) -> Scene {
    let manager = FakeManager::start();
    manager.set_map(10, &[("n1", backend)], "n1");
    let target = Target::Managed { managers: vec![manager.address()] };
    let front = Front::start(target, 1, |options: &mut RouteOptions| {
        options.timeout = TIMEOUT;
        options.write_budget = 3 * TIMEOUT;
        options.probe_pause_min = Duration::from_millis(10);
        options.probe_pause_max = Duration::from_millis(20);
    });
    let client = front.connect();
    Scene { manager, client, _front: front }
}

/// The first write waits for the map; after it the proxy is at home.
fn warm(client: &mut Socket, backend: &Backend) -> Talk {
    client.send("set warm 0 0 1\r\nx\r\n");
    let mut talk = backend.accept();
    talk.expect(&format!("bg {}:10:#\r\nset warm 0 0 1\r\nx\r\n", bucket("warm")));
    talk.answer("STORED\r\n");
    client.expect("STORED\r\n");
    talk
}

fn bucket(key: &str) -> u16 {
    KeyHash::of(key.as_bytes()).bucket().number()
}

#[test]
fn commands_carry_bucket_and_generation_and_creating_ones_a_deadline() {
    let backend = Backend::start("n1");
    let Scene { mut client, _front, .. } = scene(&backend);
    let mut talk = warm(&mut client, &backend);
    let b = bucket("k");
    for (command, deadline, reply) in [
        ("get k\r\n", false, "VALUE k 1 2\r\nhi\r\nEND\r\n"),
        ("gets k\r\n", false, "VALUE k 1 2 9\r\nhi\r\nEND\r\n"),
        ("gat 5 k\r\n", false, "END\r\n"),
        ("touch k 5\r\n", false, "TOUCHED\r\n"),
        ("delete k\r\n", false, "DELETED\r\n"),
        ("add k 1 2 2\r\nhi\r\n", true, "NOT_STORED\r\n"),
        ("cas k 1 2 2 77\r\nhi\r\n", true, "EXISTS\r\n"),
        ("incr k 1\r\n", true, "12\r\n"),
        ("append k 0 0 2\r\nhi\r\n", true, "STORED\r\n"),
    ] {
        client.send(command);
        let end = if deadline { ":#" } else { "" };
        talk.expect(&format!("bg {b}:10{end}\r\n{command}"));
        talk.answer(reply);
        client.expect(reply);
    }
}

#[test]
fn a_deadline_is_never_later_than_the_time_out() {
    let backend = Backend::start("n1");
    let Scene { mut client, _front, .. } = scene(&backend);
    client.send("set k 0 0 1\r\nx\r\n");
    let mut talk = backend.accept();
    let command = talk.next().unwrap();
    let deadline: u128 = command.split_once("\r\n").unwrap().0.rsplit_once(':').unwrap().1.parse().unwrap();
    // The node's clock was 5000 at the earliest when it was asked; 300 ms less a tenth for drift.
    assert!((5200..=5000 + TIMEOUT.as_millis() + 100).contains(&deadline), "{deadline}");
    talk.answer("STORED\r\n");
    client.expect("STORED\r\n");
}

#[test]
fn not_owner_leads_to_a_newer_map_and_the_same_command_to_the_new_owner() {
    let (old, new) = (Backend::start("n1"), Backend::start("n2"));
    let Scene { manager, mut client, _front } = scene(&old);
    let mut talk = warm(&mut client, &old);
    let b = bucket("k");
    manager.set_map(11, &[("n1", &old), ("n2", &new)], "n2");
    client.send("set k 0 0 1\r\nx\r\nget k\r\ndelete k\r\ncas k 0 0 1 5\r\nx\r\n");
    talk.expect(&format!("bg {b}:10:#\r\nset k 0 0 1\r\nx\r\n"));
    talk.answer("ERROR_NOT_OWNER\r\n");
    // This node knows of no newer map; it ends, so the manager is asked.
    drop(talk);
    let mut talk = new.accept();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let command = talk.next().unwrap();
        assert!(command.starts_with(&format!("bg {b}:11")), "{command}");
        let command = command.split_once("\r\n").unwrap().1.to_owned();
        talk.answer(if command.starts_with("set") { "STORED\r\n" } else { "DELETED\r\n" });
        seen.push(command);
    }
    seen.sort();
    assert_eq!(seen, ["delete k\r\n", "set k 0 0 1\r\nx\r\n"]);
    // The read was lost with its connection, the cas may have been executed there.
    client.expect("STORED\r\nEND\r\nDELETED\r\nSERVER_ERROR outcome unknown\r\n");
}

#[test]
fn a_cas_is_bound_to_its_generation() {
    let backend = Backend::start("n1");
    let Scene { mut client, _front, .. } = scene(&backend);
    let mut talk = warm(&mut client, &backend);
    client.send("cas k 0 0 1 5\r\nx\r\n");
    talk.expect(&format!("bg {}:10:#\r\ncas k 0 0 1 5\r\nx\r\n", bucket("k")));
    talk.answer("ERROR_NOT_OWNER\r\n");
    client.expect("EXISTS\r\n");
}

#[test]
fn a_write_that_came_too_late_was_not_done() {
    let backend = Backend::start("n1");
    let Scene { mut client, _front, .. } = scene(&backend);
    let mut talk = warm(&mut client, &backend);
    client.send("set k 0 0 1\r\nx\r\n");
    talk.next().unwrap();
    talk.answer("ERROR_EXPIRED\r\n");
    client.expect("SERVER_ERROR request came too late to the node\r\n");
}

#[test]
fn a_silent_node_makes_writes_unknown_reads_miss_and_is_left() {
    let backend = Backend::start("n1");
    let Scene { mut client, _front, .. } = scene(&backend);
    let mut talk = warm(&mut client, &backend);
    let begun = Instant::now();
    client.send("incr k 1\r\nget k\r\n");
    talk.next().unwrap();
    talk.next().unwrap();
    client.expect("SERVER_ERROR outcome unknown\r\nEND\r\n");
    assert!(begun.elapsed() >= TIMEOUT);
    talk.expect_end();
}

#[test]
fn a_write_that_may_still_land_is_not_answered_before_its_stamp_has_passed() {
    let backend = Backend::start("n1");
    let Scene { mut client, _front, .. } = scene(&backend);
    let mut talk = warm(&mut client, &backend);
    let begun = Instant::now();
    client.send("set k 0 0 1\r\nx\r\n");
    talk.next().unwrap();
    // The connection breaks, but what the node has received it may still execute.
    drop(talk);
    client.expect("SERVER_ERROR outcome unknown\r\n");
    assert!(begun.elapsed() >= TIMEOUT, "{:?}", begun.elapsed());
}

#[test]
fn a_delete_is_tried_until_it_is_acknowledged() {
    let backend = Backend::start("n1");
    let Scene { manager, mut client, _front } = scene(&backend);
    let mut talk = warm(&mut client, &backend);
    client.send("delete k\r\n");
    talk.next().unwrap();
    drop(talk);
    let mut talk = backend.accept();
    talk.expect(&format!("bg {}:10\r\ndelete k\r\n", bucket("k")));
    talk.answer("NOT_FOUND\r\n");
    client.expect("NOT_FOUND\r\n");
    assert!(manager.dirty().is_empty());
}

#[test]
fn a_delete_whose_budget_is_spent_is_the_managers() {
    let backend = Backend::start("n1");
    let Scene { manager, mut client, _front } = scene(&backend);
    let talk = warm(&mut client, &backend);
    let begun = Instant::now();
    client.send("delete k\r\n");
    client.expect("DELETED\r\n");
    assert!(begun.elapsed() >= 3 * TIMEOUT);
    assert_eq!(manager.dirty().iter().map(|bucket| bucket.number()).collect::<Vec<_>>(), [bucket("k")]);
    drop(talk);
}

#[test]
fn without_the_managers_word_a_deletes_outcome_is_unknown() {
    let backend = Backend::start("n1");
    let Scene { manager, mut client, _front } = scene(&backend);
    let talk = warm(&mut client, &backend);
    manager.hold();
    client.send("delete k\r\n");
    client.expect("SERVER_ERROR outcome unknown\r\n");
    assert_eq!(manager.dirty().len(), 1);
    drop(talk);
}

#[test]
fn an_address_that_is_somebody_elses_by_now_gets_no_command() {
    std::thread::scope(|scope| {
        for node in ["NODE 7 n2 99\r\n", "NODE 8 n1 99\r\n", "ERROR\r\n", "NODE 7 n1\r\n"] {
            for piece_len in [1, 3, usize::MAX] {
                scope.spawn(move || gets_no_command(node, piece_len));
            }
        }
    });
}

fn gets_no_command(node: &str, piece_len: usize) {
    let mut backend = Backend::start("n1");
    backend.manners.node = node.to_owned();
    backend.manners.piece_len = piece_len;
    let Scene { mut client, _front, .. } = scene(&backend);
    client.send("set k 0 0 1\r\nx\r\n");
    let mut talk = backend.accept();
    talk.expect_end();
    client.expect("SERVER_ERROR server of this key is down\r\n");
    client.check("get k\r\n", "END\r\n");
}

#[test]
fn before_the_first_map_reads_miss_and_writes_wait() {
    let backend = Backend::start("n1");
    let manager = FakeManager::start();
    let front = Front::managed(manager.address());
    let mut client = front.connect();
    client.check("get k\r\n", "END\r\n");
    client.send("set k 0 0 1\r\nx\r\n");
    manager.set_map(10, &[("n1", &backend)], "n1");
    let mut talk = backend.accept();
    talk.next().unwrap();
    talk.answer("STORED\r\n");
    client.expect("STORED\r\n");
}
