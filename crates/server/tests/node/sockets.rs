//! Whole nodes over real sockets, on ports that the kernel chooses.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use doled_server::options::Protocol;
use doled_server::{AuthFile, Credentials, ManagedOptions, Node, ServerOptions, StopReason, UnixSocket};

/// A client of the text protocol.
pub(crate) struct Client<S>(pub(crate) S);

impl Client<TcpStream> {
    pub(crate) fn connect(node: &Node) -> Self {
        Self::to(node.tcp_address().unwrap())
    }

    pub(crate) fn to(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: &str) {
        let mut got = vec![0; wanted.len()];
        self.0.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), wanted);
    }

    #[track_caller]
    pub(crate) fn check(&mut self, sent: &str, wanted: &str) {
        self.send(sent);
        self.expect(wanted);
    }

    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// All that is sent up to a line.
    pub(crate) fn read_to(&mut self, last: &str) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(last.as_bytes()) {
            self.0.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }
}

fn start(options: ServerOptions) -> Node {
    Node::start(options).unwrap()
}

fn stop(node: Node) {
    node.stop();
    assert_eq!(node.wait(), StopReason::Asked);
}

#[test]
fn a_node_serves_tcp_and_unix_sockets_from_one_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let unix_socket = Some(UnixSocket { path: path.clone(), mode: 0o700 });
    let node = start(ServerOptions { unix_socket, ..ServerOptions::default() });
    Client::connect(&node).check("set a 1 0 2\r\nxy\r\n", "STORED\r\n");
    let mut unix = Client(UnixStream::connect(&path).unwrap());
    unix.check("get a\r\nversion\r\n", "VALUE a 1 2\r\nxy\r\nEND\r\nVERSION 1.6.200\r\n");
    stop(node);
    unix.expect_end();
    assert!(!path.exists());
}

#[test]
fn workers_share_the_items() {
    let node = start(ServerOptions { threads: 3, ..ServerOptions::default() });
    let mut clients: Vec<_> = (0..6).map(|_| Client::connect(&node)).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.check(&format!("set k{index} 0 0 1\r\n{index}\r\n"), "STORED\r\n");
    }
    for client in &mut clients {
        for index in 0..6 {
            client.check(&format!("get k{index}\r\n"), &format!("VALUE k{index} 0 1\r\n{index}\r\nEND\r\n"));
        }
    }
    stop(node);
}

#[test]
fn large_values_and_long_gets_go_through() {
    let node = start(ServerOptions::default());
    let mut client = Client::connect(&node);
    let value = "v".repeat(1_000_000);
    client.check(&format!("set big 0 0 1000000\r\n{value}\r\n"), "STORED\r\n");
    // 300,000 bytes of keys on one line, four of them found.
    let misses = (0..30_000).fold(String::new(), |all, n| all + &format!(" miss-{n}"));
    client.send(&format!("get big{misses} big big{misses} big\r\nversion\r\n"));
    for _ in 0..4 {
        client.expect("VALUE big 0 1000000\r\n");
        client.expect(&value);
        client.expect("\r\n");
    }
    client.expect("END\r\nVERSION 1.6.200\r\n");
    stop(node);
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let node = start(ServerOptions { threads: 1, ..ServerOptions::default() });
    let mut slow = Client::connect(&node);
    let value = "v".repeat(100_000);
    slow.check(&format!("set big 0 0 100000\r\n{value}\r\n"), "STORED\r\n");
    slow.0.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut asked = 0;
    while asked < 100_000 && slow.0.write(b"get big\r\n").is_ok_and(|n| n == 9) {
        asked += 1;
    }
    Client::connect(&node).check("get nothing\r\n", "END\r\n");
    for _ in 0..asked.min(50) {
        slow.expect("VALUE big 0 100000\r\n");
        slow.expect(&value);
        slow.expect("\r\nEND\r\n");
    }
    stop(node);
}

#[test]
fn one_connection_too_many_is_told() {
    let node = start(ServerOptions { max_connections: 1, ..ServerOptions::default() });
    let mut first = Client::connect(&node);
    first.check("version\r\n", "VERSION 1.6.200\r\n");
    let mut second = Client::connect(&node);
    second.expect("ERROR Too many open connections\r\n");
    second.expect_end();
    first.send("stats\r\n");
    let stats = first.read_to("END\r\n");
    assert!(stats.contains("STAT rejected_connections 1\r\n"), "{stats}");
    stop(node);
}

#[test]
fn stats_are_what_tools_expect() {
    let node = start(ServerOptions::default());
    let mut client = Client::connect(&node);
    client.check("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    for (command, names) in [
        ("stats", &["pid", "uptime", "curr_connections", "bytes_read", "threads", "limit_maxbytes"][..]),
        ("stats settings", &["maxbytes", "maxconns", "tcpport", "evictions", "item_size_max"]),
        ("stats items", &["items:1:number", "items:1:evicted"]),
        ("stats slabs", &["1:chunk_size", "active_slabs", "total_malloced"]),
        ("stats sizes", &["sizes_status"]),
    ] {
        client.send(&format!("{command}\r\n"));
        let text = client.read_to("END\r\n");
        for line in text.lines().filter(|line| *line != "END") {
            assert_eq!(line.split(' ').next(), Some("STAT"), "{command}: {line}");
            assert_eq!(line.split(' ').count(), 3, "{command}: {line}");
        }
        for name in names {
            assert!(text.contains(&format!("STAT {name} ")), "{command} lacks {name}");
        }
    }
    client.send("stats conns\r\n");
    let conns = client.read_to("END\r\n");
    let peer = format!(":addr tcp:{}\r\n", client.0.local_addr().unwrap());
    assert!(conns.contains(&peer), "{conns}");
    stop(node);
}

#[test]
fn shutdown_ends_the_node_where_it_is_enabled() {
    let node = start(ServerOptions { shutdown_enabled: true, ..ServerOptions::default() });
    let mut client = Client::connect(&node);
    client.send("shutdown\r\n");
    client.expect_end();
    assert_eq!(node.wait(), StopReason::Command);
}

#[test]
fn what_cannot_start_says_why() {
    let node = start(ServerOptions::default());
    let taken = node.tcp_address().unwrap();
    let error = Node::start(ServerOptions { listen: vec![taken], ..ServerOptions::default() }).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on {taken}: ")), "{error}");
    let error = Node::start(ServerOptions { listen: Vec::new(), ..ServerOptions::default() }).unwrap_err();
    assert!(error.to_string().contains("nothing to listen on"), "{error}");
    stop(node);
}

#[test]
fn time_moves_for_all_connections() {
    let node = start(ServerOptions { debug_time_enabled: true, ..ServerOptions::default() });
    let mut other = Client::connect(&node);
    other.check("set a 0 3600 1\r\nx\r\nget a\r\n", "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
    Client::connect(&node).check("debugtime 3601\r\nget a\r\n", "OK\r\nEND\r\n");
    other.check("get a\r\n", "END\r\n");
    stop(node);
}

#[test]
fn an_auth_file_guards_every_listener_and_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let (users, path) = (directory.path().join("users"), directory.path().join("socket"));
    std::fs::write(&users, "anna:one\n").unwrap();
    let file = AuthFile::open(&users).unwrap();
    let unix_socket = Some(UnixSocket { path: path.clone(), mode: 0o700 });
    let options = ServerOptions { unix_socket, auth_file: Some(file.clone()), ..ServerOptions::default() };
    let managed =
        ManagedOptions::ByHand { admin: "127.0.0.1:0".parse().unwrap(), node: "n1".parse().unwrap() };
    let error = Node::start(ServerOptions { managed: Some(managed), ..options.clone() }).unwrap_err();
    assert!(error.to_string().contains("managed"), "{error}");
    let error = Node::start(ServerOptions { protocol: Protocol::Binary, ..options.clone() }).unwrap_err();
    assert!(error.to_string().contains("auth file"), "{error}");

    let node = start(options);
    let mut tcp = Client::connect(&node);
    let mut unix = Client(UnixStream::connect(&path).unwrap());
    tcp.check("get a\r\n", "CLIENT_ERROR unauthenticated\r\n");
    unix.check("get a\r\n", "CLIENT_ERROR unauthenticated\r\n");
    tcp.check(&"\n".repeat(10_000), &"CLIENT_ERROR unauthenticated\r\n".repeat(10_000));
    tcp.check("set a 0 0 8\r\nanna one\r\nget a\r\n", "STORED\r\nEND\r\n");
    tcp.send("stats settings\r\n");
    let settings = tcp.read_to("END\r\n");
    assert!(settings.contains(&format!("STAT auth_enabled_ascii {}\r\n", users.display())), "{settings}");
    std::fs::write(&users, "anna:two\n").unwrap();
    file.reload().unwrap();
    unix.check("set a 0 0 8\r\nanna one\r\n", "CLIENT_ERROR authentication failure\r\n");
    unix.check("set a 0 0 8\r\nanna two\r\n", "STORED\r\n");
    tcp.check("get a\r\n", "END\r\n");
    let mut binary = Client::connect(&node);
    binary.0.write_all(&[0x80]).unwrap();
    binary.expect_end();
    stop(node);
}

#[test]
fn a_node_is_owned_by_hand_through_its_admin_listener() {
    let managed =
        ManagedOptions::ByHand { admin: "127.0.0.1:0".parse().unwrap(), node: "n1".parse().unwrap() };
    let node = start(ServerOptions { managed: Some(managed), ..ServerOptions::default() });
    let bucket = proto::KeyHash::of(b"a").bucket();
    let mut data = Client::connect(&node);
    data.check(&format!("own {bucket}:7\r\n"), "ERROR\r\n");
    data.check(&format!("bg {bucket}:7\r\nget a\r\n"), "ERROR_NOT_OWNER\r\n");
    let mut admin = Client::to(node.admin_address().unwrap());
    admin.check(&format!("own {bucket}:7\r\n"), "OWNED\r\n");
    data.check(&format!("bg {bucket}:7\r\nset a 0 0 1\r\nx\r\n"), "STORED\r\n");
    data.check(&format!("bg {bucket}:7\r\nget a\r\n"), "VALUE a 0 1\r\nx\r\nEND\r\n");
    let incarnation = node.incarnation().unwrap();
    data.check("node\r\n", &format!("NODE 0 n1 {incarnation}\r\n"));
    stop(node);
}

#[test]
fn a_listener_speaks_what_it_was_told() {
    let listen: Vec<std::net::SocketAddr> = (1..=4).map(|host| ([127, 0, 0, host], 0).into()).collect();
    let [text, binary, auto] = [listen[0], listen[1], listen[2]];
    let listen_protocols = vec![(text, Protocol::Ascii), (binary, Protocol::Binary), (auto, Protocol::Auto)];
    let node = start(ServerOptions {
        listen,
        listen_protocols,
        protocol: Protocol::Ascii,
        ..ServerOptions::default()
    });
    let noop = "\u{80}\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let noop: Vec<u8> = noop.chars().map(|byte| byte as u8).collect();
    let speaks_text = |address| {
        let mut client = Client::to(address);
        client.0.write_all(b"mn\r\n").unwrap();
        let mut reply = [0; 4];
        client.0.read_exact(&mut reply).is_ok_and(|()| reply == *b"MN\r\n")
    };
    let speaks_binary = |address| {
        let mut client = Client::to(address);
        // Without a line end the text protocol would wait for more.
        client.0.write_all(&[&noop[..], b"\r\n"].concat()).unwrap();
        let mut reply = [0; 1];
        client.0.read_exact(&mut reply).is_ok_and(|()| reply == [0x81])
    };
    let bound = node.addresses().iter().map(|address| match address {
        net::Address::Tcp(address) => *address,
        net::Address::Unix(_) => unreachable!("it has none"),
    });
    let speaks: Vec<_> = bound.map(|address| (speaks_text(address), speaks_binary(address))).collect();
    assert_eq!(speaks, [(true, false), (false, true), (true, true), (true, false)]);
    stop(node);
}

#[test]
fn no_listener_is_a_way_around_a_password() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    std::fs::write(&path, "a:b\n").unwrap();
    let auth_file = Some(AuthFile::open(&path).unwrap());
    let address = "127.0.0.1:0".parse().unwrap();
    let with = |protocol| ServerOptions {
        listen: vec![address],
        listen_protocols: vec![(address, protocol)],
        ..ServerOptions::default()
    };
    let error =
        Node::start(ServerOptions { auth_file: auth_file.clone(), ..with(Protocol::Binary) }).unwrap_err();
    assert!(error.to_string().contains("text protocol"), "{error}");
    let sasl = Credentials::new([(b"u".as_slice(), b"p".as_slice())]).unwrap();
    let error = Node::start(ServerOptions { sasl: Some(sasl), ..with(Protocol::Ascii) }).unwrap_err();
    assert!(error.to_string().contains("binary protocol"), "{error}");
    let node = start(ServerOptions { auth_file, ..with(Protocol::Auto) });
    Client::connect(&node).check("version\r\n", "CLIENT_ERROR unauthenticated\r\n");
    stop(node);
}
