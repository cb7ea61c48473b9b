//! Watchers beside others: many, slow, gone, and those of a managed node.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use doled_server::{ManagedOptions, Node, ServerOptions, UnixSocket};
use proto::KeyHash;
use stdx::ByteSize;

use super::Watcher;
use crate::sockets::Client;

fn watcher(node: &Node, command: &str) -> Watcher {
    Watcher::start(node.tcp_address().unwrap(), command)
}

fn stat(client: &mut Client<std::net::TcpStream>, name: &str) -> u64 {
    client.send("stats\r\n");
    let stats = client.read_to("END\r\n");
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")).map(str::to_owned));
    line.unwrap().parse().unwrap()
}

#[track_caller]
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn stop(node: Node) {
    node.stop();
    node.wait();
}

#[test]
fn lines_of_all_workers_reach_every_watcher_in_order_of_each() {
    let node = Node::start(ServerOptions { threads: 4, ..ServerOptions::default() }).unwrap();
    let mut watchers = [watcher(&node, "watch"), watcher(&node, "watch fetchers mutations")];
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(&node)).collect();
    for round in 0..20 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.check(&format!("get {number}-{round}\r\n"), "END\r\n");
        }
    }
    for watcher in &mut watchers {
        let mut next = [0; 8];
        for _ in 0..8 * 20 {
            let line = watcher.line();
            let key = line.split_once("key=").unwrap().1.split_once(' ').unwrap().0;
            let (number, round) = key.split_once('-').unwrap();
            let number: usize = number.parse().unwrap();
            assert_eq!(round.parse::<usize>().unwrap(), next[number], "{line}");
            next[number] += 1;
        }
    }
    assert_eq!(stat(&mut clients[0], "log_worker_written"), 160);
    assert_eq!(stat(&mut clients[0], "log_watcher_sent"), 320);
    stop(node);
}

#[test]
fn each_watcher_gets_the_kinds_that_it_asked_for() {
    let node = Node::start(ServerOptions::default()).unwrap();
    let mut deletions = watcher(&node, "watch deletions");
    let mut mutations = watcher(&node, "watch mutations proxyreqs");
    let mut client = Client::connect(&node);
    client.check("set a 0 0 3\r\nabc\r\n", "STORED\r\n");
    client.check("set b 0 0 1\r\nx\r\n", "STORED\r\n");
    client.check("delete a\r\n", "DELETED\r\n");
    client.check("delete a\r\nmd b\r\nmd b\r\n", "NOT_FOUND\r\nHD\r\nNF\r\n");
    assert_eq!(deletions.line(), "type=deleted key=a cmd=delete clsid=1 size=3");
    assert_eq!(deletions.line(), "type=deleted key=b cmd=md clsid=1 size=1");
    assert_eq!(mutations.line(), "type=item_store key=a status=stored cmd=set ttl=0 clsid=1 cfd=# size=3");
    assert_eq!(mutations.line(), "type=item_store key=b status=stored cmd=set ttl=0 clsid=1 cfd=# size=1");
    stop(node);
}

#[test]
fn an_item_that_is_expired_is_told_so() {
    let node = Node::start(ServerOptions::default()).unwrap();
    let mut watcher = watcher(&node, "watch");
    Client::connect(&node).check("set a 0 -1 1\r\nx\r\nget a\r\nmg a v\r\n", "STORED\r\nEND\r\nEN\r\n");
    assert_eq!(watcher.line(), "type=item_get key=a status=not_found clsid=0 cfd=# size=0");
    assert_eq!(watcher.line(), "type=item_get key=a status=expired clsid=0 cfd=# size=0");
    assert_eq!(watcher.line(), "type=item_get key=a status=expired clsid=0 cfd=# size=0");
    stop(node);
}

#[test]
fn one_watcher_too_many_is_told_and_stays_a_client() {
    let node = Node::start(ServerOptions::default()).unwrap();
    let mut watchers: Vec<_> = (0..20).map(|_| watcher(&node, "watch")).collect();
    let mut client = Client::connect(&node);
    let refusal = "WATCHER_TOO_MANY log watcher limit reached\r\n";
    client.check("get a\r\nwatch\r\nget a\r\n", &format!("END\r\n{refusal}END\r\n"));
    assert_eq!(stat(&mut client, "log_watchers"), 20);
    drop(watchers.pop());
    wait_for("a watcher's end", || stat(&mut client, "log_watchers") == 19);
    client.check("watch\r\n", "OK\r\n");
    stop(node);
}

#[test]
fn what_a_watcher_sends_is_not_read() {
    let node = Node::start(ServerOptions::default()).unwrap();
    let mut client = Client::connect(&node);
    let mut watching = Client::connect(&node);
    watching.check("version\r\nwatch mutations\r\nset a 0 0 1\r\nx\r\n", "VERSION 1.6.200\r\nOK\r\n");
    watching.send("set a 0 0 1\r\nx\r\nquit\r\n\x07 watch watch\r\n");
    watching.0.write_all(&[0xff; 100_000]).unwrap();
    client.check("set b 0 0 1\r\nx\r\n", "STORED\r\n");
    assert!(watching.read_to("\n").contains(" key=b "));
    client.check("get a\r\n", "END\r\n");
    stop(node);
}

#[test]
fn a_watcher_that_does_not_read_holds_nobody_up_and_is_told_what_it_missed() {
    let options = ServerOptions { watcher_log_len: ByteSize::kib(8), ..ServerOptions::default() };
    let node = Node::start(options).unwrap();
    let mut slow = watcher(&node, "watch");
    let mut quick = Client::connect(&node);
    let batch = format!("mg {} q\r\n", "x".repeat(240)).repeat(100) + "mn\r\n";
    let mut skipped = 0;
    while skipped == 0 {
        quick.check(&batch, "MN\r\n");
        skipped = stat(&mut quick, "log_watcher_skipped");
    }
    let sent = stat(&mut quick, "log_watcher_sent");
    assert_eq!(stat(&mut quick, "log_worker_written"), sent + skipped);
    assert_eq!(stat(&mut quick, "log_worker_dropped"), 0);
    // It reads again: all that was kept for it, and then how many lines are missing.
    for _ in 0..sent {
        assert!(slow.line().starts_with("type=item_get key=xxx"));
    }
    quick.check("get last\r\n", "END\r\n");
    assert_eq!(slow.line(), format!("skipped={skipped}"));
    assert!(slow.line().starts_with("type=item_get key=last "));
    stop(node);
}

#[test]
fn a_turn_with_more_lines_than_a_log_takes_drops_the_rest() {
    let options = ServerOptions { worker_log_len: ByteSize::kib(1), ..ServerOptions::default() };
    let node = Node::start(options).unwrap();
    let _watcher = watcher(&node, "watch");
    let mut client = Client::connect(&node);
    client.check(&format!("get{}\r\n", " key".repeat(100)), "END\r\n");
    let (written, dropped) =
        (stat(&mut client, "log_worker_written"), stat(&mut client, "log_worker_dropped"));
    assert!(written >= 8 && dropped > 0, "{written} {dropped}");
    assert_eq!(written + dropped, 100);
    client.check("stats reset\r\n", "RESET\r\n");
    assert_eq!(stat(&mut client, "log_worker_dropped"), 0);
    stop(node);
}

#[test]
fn a_watcher_may_go_in_the_middle_of_a_line() {
    let node = Node::start(ServerOptions::default()).unwrap();
    let mut client = Client::connect(&node);
    for _ in 0..5 {
        let mut watching = Client::connect(&node);
        watching.check("watch\r\n", "OK\r\n");
        client.check(&format!("get {}\r\n", "x".repeat(250)), "END\r\n");
        watching.0.read_exact(&mut [0; 20]).unwrap();
        drop(watching);
        client.check("get a\r\nget a\r\n", "END\r\nEND\r\n");
        wait_for("its end", || stat(&mut client, "log_watchers") == 0);
    }
    stop(node);
}

#[test]
fn connections_come_and_go_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let options = ServerOptions {
        unix_socket: Some(UnixSocket { path: path.clone(), mode: 0o700 }),
        idle_timeout: Some(Duration::from_secs(1)),
        ..ServerOptions::default()
    };
    let node = Node::start(options).unwrap();
    let mut watcher = watcher(&node, "watch connevents");
    let tcp = "rip=127.0.0.1 rport=# transport=tcp";
    for (sent, reason) in [("quit\r\n", "normal"), ("GET / HTTP/1.1\r\n", "error"), ("", "normal")] {
        let mut client = Client::connect(&node);
        client.send(sent);
        if sent.is_empty() {
            drop(client);
        }
        assert_eq!(watcher.line(), format!("type=conn_new {tcp} cfd=#"));
        assert_eq!(watcher.line(), format!("type=conn_close {tcp} reason={reason} cfd=#"));
    }
    let idle = UnixStream::connect(&path).unwrap();
    let local = "rip=unix rport=# transport=local";
    assert_eq!(watcher.line(), format!("type=conn_new {local} cfd=#"));
    // The watcher sends nothing either, and stays.
    assert_eq!(watcher.line(), format!("type=conn_close {local} reason=idle_timeout cfd=#"));
    drop(idle);
    stop(node);
}

#[test]
fn evictions_are_told_while_somebody_watches() {
    let options = ServerOptions { memory: ByteSize::mib(4), ..ServerOptions::default() };
    let node = Node::start(options).unwrap();
    let mut client = Client::connect(&node);
    let value = "x".repeat(10_000);
    let fill = |client: &mut Client<std::net::TcpStream>, from: usize| {
        for n in from..from + 800 {
            client.send(&format!("set k{n} 0 500 10000 noreply\r\n{value}\r\n"));
        }
        client.check("mn\r\n", "MN\r\n");
    };
    fill(&mut client, 0);
    assert!(stat(&mut client, "evictions") > 0);
    let before = stat(&mut client, "evictions");
    let mut watcher = watcher(&node, "watch evictions");
    fill(&mut client, 1000);
    let count = stat(&mut client, "evictions") - before;
    assert!(count > 0);
    for _ in 0..count {
        let line = watcher.line();
        let rest = line.strip_prefix("type=eviction key=k").expect(&line);
        let (_, rest) = rest.split_once(' ').unwrap();
        let words: Vec<&str> = rest.split(' ').collect();
        assert!(matches!(words[..], ["fetch=no", _, _, "clsid=1", "size=10000"]), "{line}");
        let ttl: u64 = words[1].strip_prefix("ttl=").unwrap().parse().unwrap();
        assert!((400..=500).contains(&ttl) && words[2].starts_with("la="), "{line}");
    }
    stop(node);
}

#[test]
fn a_managed_node_tells_what_was_done_and_not_what_was_refused() {
    let admin = "127.0.0.1:0".parse().unwrap();
    let managed = Some(ManagedOptions::ByHand { admin, node: "n1".parse().unwrap() });
    let node = Node::start(ServerOptions { managed, ..ServerOptions::default() }).unwrap();
    let mut watcher = watcher(&node, "watch fetchers mutations");
    let (mut client, bucket) = (Client::connect(&node), KeyHash::of(b"a").bucket());
    client.check(&format!("bg {bucket}:1\r\nget a\r\n"), "ERROR_NOT_OWNER\r\n");
    client.check("get a\r\n", "CLIENT_ERROR no BG data in managed mode\r\n");
    Client::to(node.admin_address().unwrap()).check(&format!("own {bucket}:1\r\n"), "OWNED\r\n");
    client.check(&format!("bg {bucket}:1\r\nset a 0 0 1\r\nx\r\n"), "STORED\r\n");
    client.check(&format!("bg {bucket}:2\r\ndelete a\r\n"), "ERROR_NOT_OWNER\r\n");
    client.check(&format!("bg {bucket}:1\r\ndelete a\r\n"), "DELETED\r\n");
    assert_eq!(watcher.line(), "type=item_get key=a status=not_found clsid=0 cfd=# size=0");
    assert_eq!(watcher.line(), "type=item_store key=a status=stored cmd=set ttl=0 clsid=1 cfd=# size=1");
    assert_eq!(watcher.line(), "type=item_get key=a status=found clsid=1 cfd=# size=1");
    stop(node);
}
