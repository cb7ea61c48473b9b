//! Static pools before backends that are slow, talk nonsense, or vanish; and copies.

use std::time::{Duration, Instant};

use route::RouteOptions;

use crate::fake::{Backend, Talk};
use crate::servers::{Front, Server};
use crate::socket::{PATIENCE, Socket};

const TIMEOUT: Duration = Duration::from_millis(400);

fn quick(options: &mut RouteOptions) {
    options.timeout = TIMEOUT;
    options.write_budget = TIMEOUT;
    options.probe_pause_min = Duration::from_millis(5);
    options.probe_pause_max = Duration::from_millis(10);
}

/// Keys by the place that ketama gives them.
fn keys_of(servers: &[String], place: usize) -> impl Iterator<Item = String> {
    let parsed: Vec<(String, u16, u32)> = servers
        .iter()
        .map(|server| {
            let (host, port) = server.rsplit_once(':').unwrap();
            (host.to_owned(), port.parse().unwrap(), 1)
        })
        .collect();
    let ring = route::Ketama::new(&parsed);
    (0..).map(|number| format!("key-{number}")).filter(move |key| ring.server(key.as_bytes()) == place)
}

fn key_of(servers: &[String], place: usize) -> String {
    keys_of(servers, place).next().unwrap()
}

#[test]
fn one_slow_backend_delays_nobody_elses_requests() {
    let (slow, good) = (Backend::start("slow"), Server::plain());
    let servers = [slow.address(), good.address()];
    let front = Front::pool(servers.clone());
    let (slow_key, good_key) = (key_of(&servers, 0), key_of(&servers, 1));
    let value = format!("VALUE {good_key} 0 1\r\nx\r\n");
    let (mut waiting, mut quick) = (front.connect(), front.connect());
    quick.check(format!("set {good_key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    waiting.send(format!("get {slow_key} {good_key}\r\nget {good_key}\r\n"));
    let mut talk = slow.accept();
    talk.expect(&format!("get {slow_key}\r\n"));
    for _ in 0..200 {
        quick.check(format!("get {good_key}\r\n"), format!("{value}END\r\n"));
    }
    // All that while the other client waited, even for what the good one has answered.
    waiting.0.set_nonblocking(true).unwrap();
    assert!(waiting.0.peek(&mut [0]).is_err());
    waiting.0.set_nonblocking(false).unwrap();
    talk.answer(&format!("VALUE {slow_key} 0 1\r\ny\r\nEND\r\n"));
    waiting.expect(format!("VALUE {slow_key} 0 1\r\ny\r\n{value}END\r\n{value}END\r\n"));
}

#[test]
fn only_the_keys_of_a_silent_backend_are_missed() {
    let (silent, good) = (Backend::start("silent"), Server::plain());
    let servers = [silent.address(), good.address()];
    let front = Front::pool_with(servers.clone(), quick);
    let (silent_key, good_key) = (key_of(&servers, 0), key_of(&servers, 1));
    let mut client = front.connect();
    client.check(format!("set {good_key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    let begun = Instant::now();
    client.send(format!("get {good_key} {silent_key} {good_key}\r\nget {good_key}\r\n"));
    let value = format!("VALUE {good_key} 0 1\r\nx\r\n");
    client.expect(format!("{value}{value}END\r\n{value}END\r\n"));
    assert!(begun.elapsed() >= TIMEOUT);
}

#[test]
fn a_reply_in_pieces_is_one_reply() {
    let mut backend = Backend::start("b");
    backend.manners.piece_len = 1;
    let front = Front::pool_with([backend.address()], |_| {});
    let mut client = front.connect();
    client.send("get a\r\ngets a\r\nset a 0 0 1\r\nx\r\n");
    let mut talk = backend.accept();
    talk.expect("get a\r\n");
    talk.expect("gets a\r\n");
    talk.expect("set a 0 0 1\r\nx\r\n");
    talk.answer("VALUE a 3 6\r\nEND\r\n!\r\nEND\r\n");
    talk.answer("VALUE a 3 0 18446744073709551615\r\n\r\nEND\r\n");
    talk.answer("STORED\r\n");
    client.expect("VALUE a 3 6\r\nEND\r\n!\r\nEND\r\n");
    client.expect("VALUE a 3 0 18446744073709551615\r\n\r\nEND\r\nSTORED\r\n");
}

#[test]
fn garbage_fails_that_request_and_ends_that_connection() {
    let backend = Backend::start("b");
    let front = Front::pool_with([backend.address()], quick);
    let (mut first, mut second) = (front.connect(), front.connect());
    for garbage in [
        "<html>\r\n",
        "VALUE a 0 1\r\n",
        "VALUE a 0 1\r\nxy\r\nEND\r\n",
        "VALUE b 0 1\r\nx\r\nEND\r\n",
        "VALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nEND\r\n",
        "VALUE a 0 99999999999\r\n",
        "VALUE a 0 1073741824\r\n",
        "STORED\r\n",
        "END\n",
        "\x00\x01\x02\r\n",
    ] {
        let mut talk = wait_up(&mut first, &backend);
        first.send("get a\r\n");
        talk.expect("get a\r\n");
        talk.answer(garbage);
        if garbage == "VALUE a 0 1\r\n" {
            // It closes in the middle of a value.
            drop(talk);
        } else {
            talk.expect_end();
        }
        first.expect("END\r\n");
        second.check("version\r\n", "VERSION 1.6.200\r\n");
    }
    let mut talk = wait_up(&mut first, &backend);
    second.send("get a\r\n");
    talk.expect("get a\r\n");
    talk.answer("VALUE a 0 1\r\nx\r\nEND\r\n");
    second.expect("VALUE a 0 1\r\nx\r\nEND\r\n");
}

/// The connection of a backend that is up, or is made so by a probe or by a request that misses.
#[track_caller]
fn wait_up(client: &mut Socket, backend: &Backend) -> Talk {
    let give_up = Instant::now() + PATIENCE;
    // Whoever has never been asked has no connection.
    if is_up(client, backend) {
        client.send("get nothing\r\n");
        let mut talk = backend.accept();
        talk.expect("get nothing\r\n");
        talk.answer("END\r\n");
        client.expect("END\r\n");
        return talk;
    }
    let mut talk = backend.accept();
    while !is_up(client, backend) {
        assert!(Instant::now() < give_up, "the backend is never up");
        talk.serve_for(Duration::from_millis(2));
    }
    talk
}

fn is_up(client: &mut Socket, backend: &Backend) -> bool {
    stats(client).contains(&format!("STAT backend_{} up\r\n", backend.address()))
}

fn stats(client: &mut Socket) -> String {
    client.send("stats\r\n");
    client.read_to("END\r\n")
}

#[test]
fn replies_that_nobody_asked_for_are_given_to_nobody() {
    let backend = Backend::start("b");
    let front = Front::pool_with([backend.address()], quick);
    let mut client = front.connect();
    client.send("get a\r\n");
    let mut talk = backend.accept();
    talk.expect("get a\r\n");
    talk.answer("END\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
    client.expect("END\r\n");
    talk.expect_end();
}

#[test]
fn a_server_that_refuses_misses_at_once_and_keeps_its_keys() {
    let mut servers = Server::many(2);
    let addresses: Vec<String> = servers.iter().map(Server::address).collect();
    let front = Front::pool_with(addresses.clone(), quick);
    let mut client = front.connect();
    let (gone, here) = (key_of(&addresses, 0), key_of(&addresses, 1));
    client.check(format!("set {gone} 0 0 1\r\nx\r\nset {here} 0 0 1\r\ny\r\n"), "STORED\r\nSTORED\r\n");
    servers[0].stop();
    let begun = Instant::now();
    let value = format!("VALUE {here} 0 1\r\ny\r\n");
    for _ in 0..100 {
        client.check(format!("get {gone} {here}\r\n"), format!("{value}END\r\n"));
        client.check(format!("gat 60 {gone}\r\ntouch {gone} 60\r\n"), "END\r\nNOT_FOUND\r\n");
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    for write in [
        format!("set {gone} 0 0 1\r\nx\r\n"),
        format!("delete {gone}\r\n"),
        format!("incr {gone} 1\r\n"),
        format!("cas {gone} 0 0 1 1\r\nx\r\n"),
    ] {
        client.check(write, "SERVER_ERROR server of this key is down\r\n");
    }
}

#[test]
fn a_server_that_returns_is_found_by_probes() {
    let backend = Backend::start("b");
    let front = Front::pool_with([backend.address()], quick);
    let mut client = front.connect();
    client.send("set a 0 0 1\r\nx\r\n");
    let mut talk = backend.accept();
    talk.next().unwrap();
    drop(talk);
    client.expect("SERVER_ERROR outcome unknown\r\n");
    // Nothing is asked of it, and still it is tried.
    wait_up(&mut client, &backend);
}

#[test]
fn copies_get_what_does_not_depend_on_the_old_value_and_lose_the_rest() {
    let servers = Server::many(2);
    let addresses: Vec<String> = servers.iter().map(Server::address).collect();
    let front = Front::pool_with(addresses, |options| options.replicas = 2);
    let mut client = front.connect();
    // The second connection to a backend is the first one's copy: both must stand before copies are sent.
    client.check("set warm 0 0 1\r\nx\r\n", "STORED\r\n");
    let holders = |key: &str, value: &str| {
        let wanted = format!("VALUE {key} 0 {}\r\n{value}\r\nEND\r\n", value.len());
        let holds = |server: &Server| {
            let mut direct = Socket::to(server.socket_address());
            direct.send(format!("get {key}\r\n"));
            direct.read_to("END\r\n") == wanted
        };
        servers.iter().filter(|server| holds(server)).count()
    };
    #[track_caller]
    fn settles(count: usize, wanted: impl Fn() -> usize) {
        let give_up = Instant::now() + PATIENCE;
        while wanted() != count {
            assert!(Instant::now() < give_up, "{} and not {count} places", wanted());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let give_up = Instant::now() + PATIENCE;
    while holders("warm", "x") != 2 {
        assert!(Instant::now() < give_up);
        client.check("set warm 0 0 1\r\nx\r\n", "STORED\r\n");
    }
    client.check("set n 0 0 1\r\n5\r\n", "STORED\r\n");
    settles(2, || holders("n", "5"));
    client.check("incr n 1\r\n", "6\r\n");
    settles(1, || holders("n", "6"));
    settles(0, || holders("n", "5"));
    client.check("delete n\r\n", "DELETED\r\n");
    settles(0, || holders("n", "6"));
    client.check("set n 0 0 1\r\n7\r\n", "STORED\r\n");
    settles(2, || holders("n", "7"));
    client.check("flush_all\r\n", "OK\r\n");
    settles(0, || holders("n", "7"));
}

#[test]
fn with_copies_a_dead_server_is_read_from_the_next() {
    let mut servers = Server::many(3);
    let addresses: Vec<String> = servers.iter().map(Server::address).collect();
    let front = Front::pool_with(addresses.clone(), |options| {
        quick(options);
        options.replicas = 2;
    });
    let mut client = front.connect();
    let keys: Vec<String> = keys_of(&addresses, 0).take(20).collect();
    // Twice: what is written while the connection to a copy is made is flushed away there.
    for _ in 0..2 {
        for key in &keys {
            client.check(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    servers[0].stop();
    let mut hits = 0;
    for key in &keys {
        client.send(format!("get {key}\r\n"));
        hits += usize::from(client.read_to("END\r\n").starts_with("VALUE"));
    }
    // The first may be lost with the connection.
    assert!(hits >= keys.len() - 1, "{hits}");
    for key in &keys {
        client.check(
            format!("set {key} 0 0 1\r\ny\r\nget {key}\r\n"),
            format!("STORED\r\nVALUE {key} 0 1\r\ny\r\nEND\r\n"),
        );
    }
}
