//! What clients do, before a pool of real nodes: pipelines, many keys, large values, connections that end early.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use doled_proxy::{Proxy, ProxyOptions, Target};
use route::RouteOptions;

use crate::servers::{Front, Server};
use crate::socket::{PATIENCE, Socket};

struct Pool {
    front: Front,
    _servers: Vec<Server>,
}

fn pool() -> Pool {
    let servers = Server::many(3);
    Pool { front: Front::pool(servers.iter().map(Server::address)), _servers: servers }
}

#[test]
fn a_multiget_over_all_backends_is_answered_in_its_order() {
    let pool = pool();
    let mut client = pool.front.connect();
    for number in (0..100).step_by(2) {
        client.check(format!("set k{number} {number} 0 2\r\nv{}\r\n", number % 10), "STORED\r\n");
    }
    let (mut keys, mut wanted) = (String::new(), String::new());
    for number in (0..100).rev().chain(0..100) {
        write!(keys, " k{number}").unwrap();
        if number % 2 == 0 {
            write!(wanted, "VALUE k{number} {number} 2\r\nv{}\r\n", number % 10).unwrap();
        }
    }
    client.check(format!("get{keys}\r\ngat 100{keys}\r\n"), format!("{wanted}END\r\n{wanted}END\r\n"));
    client.send(format!("gets{keys}\r\n"));
    let with_cas = client.read_to("END\r\n");
    assert_eq!(with_cas.matches("VALUE").count(), 100);
    assert!(
        with_cas.lines().filter(|line| line.starts_with("VALUE")).all(|line| line.split(' ').count() == 5)
    );
}

#[test]
fn thousands_of_requests_in_one_write_are_answered_in_their_order() {
    let pool = pool();
    let mut client = pool.front.connect();
    let (mut sent, mut wanted) = (String::new(), String::new());
    for number in 0..5000 {
        match number % 5 {
            0 => {
                write!(sent, "set k{number} 0 0 4\r\n{number:04}\r\n").unwrap();
                wanted += "STORED\r\n";
            }
            1 => {
                write!(sent, "get k{}\r\n", number - 1).unwrap();
                write!(wanted, "VALUE k{} 0 4\r\n{:04}\r\nEND\r\n", number - 1, number - 1).unwrap();
            }
            2 => {
                sent += "version\r\n";
                wanted += "VERSION 1.6.200\r\n";
            }
            3 => {
                write!(sent, "set q 0 0 1 noreply\r\nx\r\nbogus\r\ndelete k{} noreply\r\n", number - 3)
                    .unwrap();
                wanted += "ERROR\r\n";
            }
            _ => {
                write!(sent, "get k{}\r\n", number - 4).unwrap();
                wanted += "END\r\n";
            }
        }
    }
    let mut writer = client.0.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(sent.as_bytes()).unwrap());
        client.expect(wanted);
    });
}

#[test]
fn a_client_that_ends_its_side_still_gets_all_its_answers() {
    let pool = pool();
    let mut client = pool.front.connect();
    let mut sent = String::new();
    for number in 0..3000 {
        write!(sent, "set k{number} 0 0 1\r\nx\r\n").unwrap();
    }
    client.send(sent);
    client.finish();
    client.expect("STORED\r\n".repeat(3000));
    client.expect_end();
    // In the middle of a block, or of a line, there is nothing to answer.
    for half in ["set k 0 0 5\r\nab", "get k"] {
        let mut client = pool.front.connect();
        client.send(half);
        client.finish();
        client.expect_end();
    }
}

#[test]
fn quit_closes_after_what_is_owed() {
    let pool = pool();
    let mut client = pool.front.connect();
    client.send("set a 0 0 1\r\nx\r\nget a\r\nquit\r\nget a\r\n");
    client.expect("STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
    client.expect_end();
}

#[test]
fn a_line_without_end_closes_where_memcached_closes() {
    let pool = pool();
    let mut client = pool.front.connect();
    client.send("version\r\n");
    client.send("x".repeat(3000));
    client.expect("VERSION 1.6.200\r\n");
    client.expect_end();
    pool.front.connect().check("get a\r\n", "END\r\n");
}

#[test]
fn large_values_pass_and_larger_ones_remove_the_old() {
    let pool = pool();
    let mut client = pool.front.connect();
    let value = "v".repeat(1_000_000);
    client.check(format!("set big 5 0 1000000\r\n{value}\r\n"), "STORED\r\n");
    client.check(
        "get big none big\r\n",
        format!("VALUE big 5 1000000\r\n{value}\r\nVALUE big 5 1000000\r\n{value}\r\nEND\r\n"),
    );
    for len in [1 << 20, (1 << 20) + 1, 3 << 20] {
        client.check("set k 0 0 1\r\nx\r\nset j 0 0 1\r\nx\r\n", "STORED\r\nSTORED\r\n");
        let block = "v".repeat(len);
        client.send(format!("set k 0 0 {len}\r\n{block}\r\nappend j 0 0 {len}\r\n{block}\r\nget k j\r\n"));
        let refused = "SERVER_ERROR object too large for cache\r\n";
        client.expect(format!("{refused}{refused}VALUE j 0 1\r\nx\r\nEND\r\n"));
    }
}

#[test]
fn a_block_in_pieces_is_one_value_and_a_bad_end_is_told() {
    let pool = pool();
    let mut client = pool.front.connect();
    for byte in b"set a 0 0 4\r\n\r\n\r\n\r\nget a\r\n" {
        client.send([*byte]);
    }
    client.expect("STORED\r\nVALUE a 0 4\r\n\r\n\r\n\r\nEND\r\n");
    client.check(
        "set a 0 0 1\r\nxyzbogus\r\nget a\r\n",
        "CLIENT_ERROR bad data chunk\r\nERROR\r\nVALUE a 0 4\r\n\r\n\r\n\r\nEND\r\n",
    );
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let pool = pool();
    let mut slow = pool.front.connect();
    let value = "v".repeat(100_000);
    slow.check(format!("set big 0 0 100000\r\n{value}\r\n"), "STORED\r\n");
    slow.0.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut asked = 0;
    while asked < 100_000 && slow.0.write(b"get big\r\n").is_ok_and(|n| n == 9) {
        asked += 1;
    }
    let mut other = pool.front.connect();
    let begun = Instant::now();
    for _ in 0..100 {
        other.check("get nothing\r\n", "END\r\n");
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    for _ in 0..asked.min(50) {
        slow.expect(format!("VALUE big 0 100000\r\n{value}\r\nEND\r\n"));
    }
}

#[test]
fn thousands_of_keys_in_one_get_are_answered_in_their_order() {
    let pool = pool();
    let mut client = pool.front.connect();
    let value = |number: usize| format!("{number:05}").repeat(2000);
    for number in 0..30 {
        client.check(format!("set k{number} 0 0 10000\r\n{}\r\n", value(number)), "STORED\r\n");
    }
    // 10,000 keys, every second found: 50 MB of values, far more than is held for a client at a time.
    let keys: String = (0..5000).map(|number| format!(" k{} none-{number}", number % 30)).collect();
    let mut writer = client.0.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(format!("get{keys}\r\nget k0\r\n").as_bytes()).unwrap());
        for number in 0..5000 {
            client.expect(format!("VALUE k{} 0 10000\r\n{}\r\n", number % 30, value(number % 30)));
        }
        client.expect("END\r\n");
    });
    client.check("version\r\n", format!("VALUE k0 0 10000\r\n{}\r\nEND\r\nVERSION 1.6.200\r\n", value(0)));
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let pool = pool();
    for _ in 0..50 {
        let mut client = pool.front.connect();
        client.send("get a b c d e f\r\nset a 0 0 1\r\nx\r\n".repeat(20));
        client.0.shutdown(Shutdown::Both).unwrap();
    }
    let mut client = pool.front.connect();
    let give_up = Instant::now() + PATIENCE;
    loop {
        client.send("stats\r\n");
        let stats = client.read_to("END\r\n");
        if stats.contains("STAT curr_connections 1\r\n") && stats.contains("STAT worker_requests 0\r\n") {
            break;
        }
        assert!(Instant::now() < give_up, "{stats}");
    }
}

#[test]
fn what_the_proxy_answers_itself() {
    let pool = pool();
    let mut client = pool.front.connect();
    client.check("version\r\nverbosity 1\r\nverbosity 1 noreply\r\n", "VERSION 1.6.200\r\nOK\r\n");
    client.check("set a 0 0 1\r\nx\r\nflush_all\r\nget a\r\n", "STORED\r\nOK\r\nEND\r\n");
    client.check(
        "flush_all noreply\r\nmn\r\nmg a v\r\n",
        "MN\r\nSERVER_ERROR meta commands are not proxied\r\n",
    );
    client.check(
        "ms a 3\r\nget\r\nversion\r\n",
        "SERVER_ERROR meta commands are not proxied\r\nVERSION 1.6.200\r\n",
    );
    client.check("shutdown\r\n", "SERVER_ERROR: shutdown not enabled\r\n");
    client.send("get a\r\nstats\r\n");
    client.expect("END\r\n");
    let stats = client.read_to("END\r\n");
    for name in ["pid", "uptime", "version", "threads", "cmd_get", "get_misses", "curr_connections"] {
        assert!(stats.contains(&format!("STAT {name} ")), "{name} is missing in {stats}");
    }
    assert_eq!(stats.matches(" up\r\n").count(), 3, "{stats}");
}

#[test]
fn workers_answer_many_clients_each_its_own() {
    let servers = Server::many(3);
    let target = Target::Pool { servers: servers.iter().map(Server::address).collect() };
    let front = Front::start(target, 2, |_| {});
    std::thread::scope(|scope| {
        for number in 0..8 {
            let mut client = front.connect();
            scope.spawn(move || {
                for round in 0..500 {
                    let key = format!("k{number}-{}", round % 20);
                    client.send(format!("set {key} 0 0 5\r\n{round:05}\r\nget {key}\r\n"));
                    client.expect(format!("STORED\r\nVALUE {key} 0 5\r\n{round:05}\r\nEND\r\n"));
                }
            });
        }
    });
}

#[test]
fn what_cannot_start_says_why() {
    let refused = |target: Target, threads: usize, replicas: usize, listen: &str| {
        let route = RouteOptions { replicas, ..RouteOptions::default() };
        let listen = vec![listen.parse().unwrap()];
        let (backlog, max_connections) = (16, 16);
        let options = ProxyOptions { listen, backlog, threads, max_connections, target, route, verbosity: 0 };
        Proxy::start(&options).unwrap_err().to_string()
    };
    let pool = |servers: &[&str]| Target::Pool { servers: servers.iter().map(ToString::to_string).collect() };
    let managed =
        |managers: &[&str]| Target::Managed { managers: managers.iter().map(ToString::to_string).collect() };
    let any = "127.0.0.1:0";
    assert_eq!(refused(pool(&[]), 1, 1, any), "a pool needs at least one server");
    assert_eq!(refused(pool(&["a:1", "b:1", "a:1"]), 1, 1, any), "a:1 stands twice in the pool");
    assert_eq!(refused(pool(&["a:1", "b"]), 1, 1, any), "\"b\" is not host:port");
    assert_eq!(refused(pool(&["a:1", "b:1"]), 1, 3, any), "3 replicas over 2 servers: 1 to 2");
    assert!(refused(pool(&["a:1"]), 0, 1, any).contains("at least 1"));
    assert!(refused(managed(&[]), 1, 1, any).contains("at least one manager"));
    assert!(refused(managed(&["a:1"]), 1, 2, any).contains("no copies yet"));
    let taken = std::net::TcpListener::bind(any).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(refused(pool(&["a:1"]), 1, 1, &address).starts_with(&format!("cannot listen on {address}: ")));
}

#[test]
fn stop_closes_the_connections() {
    let pool = pool();
    let mut client = Socket::to(pool.front.address());
    client.check("version\r\n", "VERSION 1.6.200\r\n");
    drop(pool.front);
    client.expect_end();
}
