//! UDP: what each datagram is answered with, compared with the installed memcached datagram by datagram; and what
//! hostile datagrams can't do.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use doled_server::options::Protocol;
use doled_server::{AuthFile, ManagedOptions, Node, ServerOptions, StartError};

/// Asked behind each question: when its reply is there, all replies before it are.
const SENTINEL_ID: u16 = 0xffff;

/// Of a version that others have as well, so that replies can be compared.
const VERSION: &[u8] = b"1.6.200";

struct Asker(UdpSocket);

impl Asker {
    fn to(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(socket)
    }

    /// All datagrams that come back for one that is sent as it is.
    fn send(&self, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.0.send(datagram).unwrap();
        self.0.send(&frame(SENTINEL_ID, 0, 1, b"mn\r\n")).unwrap();
        let mut replies = Vec::new();
        let mut buffer = vec![0; 65536];
        loop {
            let len = self.0.recv(&mut buffer).unwrap();
            if buffer.starts_with(&SENTINEL_ID.to_be_bytes()) {
                assert_eq!(&buffer[8..len], b"MN\r\n", "the sentinel's reply");
                return replies;
            }
            replies.push(buffer[..len].to_vec());
        }
    }

    /// All that comes back for requests.
    fn ask(&self, requests: &[u8]) -> Vec<Vec<u8>> {
        self.send(&frame(7, 0, 1, requests))
    }

    #[track_caller]
    fn check(&self, requests: &[u8], expect: &[&[u8]]) {
        let expect: Vec<Vec<u8>> = expect.iter().map(|reply| frame(7, 0, 1, reply)).collect();
        assert_eq!(self.ask(requests), expect, "{}", requests.escape_ascii());
    }
}

fn frame(id: u16, sequence: u16, total: u16, body: &[u8]) -> Vec<u8> {
    let head = [id, sequence, total, 0];
    head.iter().flat_map(|number| number.to_be_bytes()).chain(body.iter().copied()).collect()
}

fn start(options: ServerOptions) -> (Node, Asker) {
    let node = Node::start(ServerOptions { udp: vec![(Ipv4Addr::LOCALHOST, 0).into()], ..options }).unwrap();
    let asker = Asker::to(node.udp_addresses()[0]);
    (node, asker)
}

fn stop(node: Node) {
    node.stop();
    node.wait();
}

/// A binary request without cas.
fn binary(opcode: u8, key: &[u8], extras: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes =
        vec![0x80, opcode, 0, u8::try_from(key.len()).unwrap(), u8::try_from(extras.len()).unwrap(), 0, 0, 0];
    bytes.extend(u32::try_from(key.len() + extras.len() + value.len()).unwrap().to_be_bytes());
    bytes.extend([0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
    [&bytes, extras, key, value].concat()
}

/// What both are asked, in this order.
fn questions() -> Vec<Vec<u8>> {
    let lines: [&[u8]; 27] = [
        b"version\r\n",
        b"version\n",
        b"set a 1 0 2\r\nxy\r\n",
        b"get a\r\n",
        b"get missing\r\n",
        b"gets a missing a\r\n",
        b"get a missing\r\n",
        b"get missing a\r\n",
        b"get missing missing\r\n",
        b"version\r\nget a a\r\nget missing\r\n",
        b"set b 0 0 1 noreply\r\nb\r\n",
        b"get b\r\n",
        b"set a 1 0 2\r\nxyz bogus\r\n",
        b"add b 0 0 1\r\nc\r\n",
        b"append b 0 0 1\r\nd\r\nget b\r\n",
        b"set n 0 0 2\r\n10\r\n",
        b"incr n 5\r\ndecr n 1\r\n",
        b"incr n x\r\n",
        b"touch n 100\r\n",
        b"gat 100 n b\r\n",
        b"delete b\r\n",
        b"delete b\r\n",
        b"mg a v f\r\nmg missing v\r\nmg missing v q\r\n",
        b"ms m 2\r\nmm\r\nmd m q\r\nmn\r\n",
        b"bogus\r\n",
        b"touch missing 0\r\n",
        b"lru_crawler metadump all\r\n",
    ];
    let mut all: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
    for len in [1360, 1369, 1370, 1371, 1400, 2700, 2800, 30_000] {
        let mut set = format!("set v{len} 0 0 {len}\r\n").into_bytes();
        set.extend(std::iter::repeat_n(b'v', len));
        set.extend(b"\r\n");
        all.push(set);
        all.push(format!("get v{len}\r\n").into_bytes());
        all.push(format!("get a v{len} v{len} missing\r\n").into_bytes());
        all.push(binary(0x00, format!("v{len}").as_bytes(), b"", b""));
    }
    all.push([b"get ".as_slice(), &[b'k'; 251], b"\r\n"].concat());
    all.push(binary(0x0a, b"", b"", b""));
    all.push(binary(0x0b, b"", b"", b""));
    all.push(binary(0x01, b"bb", &[0, 0, 0, 5, 0, 0, 0, 0], b"val"));
    all.push([binary(0x00, b"bb", b"", b""), binary(0x0b, b"", b"", b"")].concat());
    all.push(binary(0x09, b"missing", b"", b""));
    all.push(binary(0x77, b"", b"", b""));
    all.push(b"flush_all\r\n".to_vec());
    all.push(b"get a\r\n".to_vec());
    all
}

#[test]
fn memcached_answers_every_datagram_the_same() {
    let Some(judge) = Judge::start() else {
        eprintln!("SKIPPED: no memcached is installed, so nobody judges UDP");
        return;
    };
    let (node, ours) = start(ServerOptions::default());
    let theirs = Asker::to(judge.address);
    for question in questions() {
        let got = without_cas(&question, ours.ask(&question), VERSION);
        let mut wanted = theirs.ask(&question);
        // It sends an empty message, of 0 datagrams, for a key that is missing before another.
        wanted.retain(|reply| reply[..] != frame(7, 0, 0, b""));
        let wanted = without_cas(&question, wanted, judge.version.as_bytes());
        assert_eq!(got, wanted, "{}", question[..question.len().min(60)].escape_ascii());
    }
    // What is a part of a request, or none, is dropped; sequence and reserved bytes mean nothing.
    for datagram in [
        &b""[..],
        b"abc",
        b"\0\0\0\0\0\x01\0",
        &frame(7, 0, 1, b""),
        &frame(7, 0, 2, b"version\r\n"),
        &frame(7, 1, 2, b"version\r\n"),
        &frame(7, 0, 0, b"version\r\n"),
        &frame(7, 3, 1, b"mn\r\n"),
        b"\0\x07\0\0\0\x01\xbe\xefmn\r\n",
    ] {
        assert_eq!(ours.send(datagram), theirs.send(datagram), "{}", datagram.escape_ascii());
    }
    stop(node);
}

/// Replies without what two servers have differently: version numbers, and cas of `gets` and binary replies.
fn without_cas(question: &[u8], replies: Vec<Vec<u8>>, version: &[u8]) -> Vec<Vec<u8>> {
    let clean = |mut reply: Vec<u8>| {
        if reply.get(8) == Some(&0x81) && reply.len() >= 32 {
            let is_version = reply[9] == 0x0b;
            reply[24..32].fill(0);
            if is_version {
                reply.truncate(16);
            }
        } else if question.starts_with(b"gets") {
            let line = reply.windows(2).position(|end| end == b"\r\n").unwrap();
            let number = reply[..line].iter().rposition(|byte| *byte == b' ').unwrap();
            reply.drain(number..line);
        } else if reply[8..].starts_with(b"VERSION ") {
            assert!(reply[16..].starts_with(version));
            reply.truncate(16);
        }
        reply
    };
    replies.into_iter().map(clean).collect()
}

/// A running memcached with UDP.
struct Judge {
    child: Child,
    address: SocketAddr,
    version: String,
}

impl Judge {
    fn start() -> Option<Self> {
        let output = Command::new("memcached").arg("-V").output().ok()?;
        let version = String::from_utf8_lossy(&output.stdout).trim().replace("memcached ", "");
        let directory = tempfile::tempdir().unwrap();
        let ports = directory.path().join("ports");
        let child = Command::new("memcached")
            .args(["-u", "root", "-l", "127.0.0.1", "-p", "-1", "-U", "-1", "-t", "1"])
            .env("MEMCACHED_PORT_FILENAME", &ports)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while !ports.exists() {
            assert!(Instant::now() < until, "memcached does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = std::fs::read_to_string(ports).unwrap();
        let port = text.lines().find_map(|line| line.strip_prefix("UDP INET: ")).unwrap().parse().unwrap();
        Some(Self { child, address: (Ipv4Addr::LOCALHOST, port).into(), version })
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_datagram_stands_for_itself() {
    let (node, asker) = start(ServerOptions::default());
    asker.check(b"set a 0 0 2\r\nxy\r\n", &[b"STORED\r\n"]);
    // memcached takes the next datagram for the rest of these.
    for part in [&b"set a 0 0 5\r\nxy\r\n"[..], b"set a 0 0 2\r\n", b"version", b"get a"] {
        asker.check(part, &[]);
        asker.check(b"get a\r\n", &[b"VALUE a 0 2\r\nxy\r\nEND\r\n"]);
    }
    asker.check(b"get a\r\nget a", &[b"VALUE a 0 2\r\nxy\r\nEND\r\n"]);
    asker.check(b"get a\r\nquit\r\nget a\r\n", &[b"VALUE a 0 2\r\nxy\r\nEND\r\n"]);
    let large = binary(0x01, b"a", &[0; 8], &[b'v'; 100]);
    asker.check(&large[..large.len() - 1], &[]);
    asker.check(b"get a\r\n", &[b"VALUE a 0 2\r\nxy\r\nEND\r\n"]);
    stop(node);
}

#[test]
fn replies_are_not_answered() {
    let (node, asker) = start(ServerOptions::default());
    asker.check(b"set quine 0 0 13\r\n\r\nget quine\r\n\r\n", &[b"STORED\r\n"]);
    // What begins like a reply could come from a server that was made to talk with this one.
    for reply in [
        &b"ERROR\r\n"[..],
        b"VALUE quine 0 13\r\n\r\nget quine\r\n\r\nEND\r\n",
        b"STORED\r\n",
        b"CLIENT_ERROR bad command line format\r\n",
        b"17\r\n",
        b"\x81\0\0\0",
        b"\r\n",
    ] {
        asker.check(reply, &[]);
    }
    stop(node);
}

#[test]
fn udp_is_only_where_it_is_safe() {
    let udp = |text: &str| vec![text.parse().unwrap()];
    let refused = |options: ServerOptions| Node::start(options).map(|_| ()).unwrap_err();
    let on_loopback = || ServerOptions { udp: udp("127.0.0.1:0"), ..ServerOptions::default() };
    let error = refused(ServerOptions { udp: udp("0.0.0.0:0"), ..ServerOptions::default() });
    assert!(matches!(error, StartError::UdpEverywhere(_)), "{error}");
    let error = refused(ServerOptions { udp: udp("[::]:0"), ..ServerOptions::default() });
    assert!(matches!(error, StartError::UdpEverywhere(_)), "{error}");
    let managed =
        ManagedOptions::ByHand { admin: "127.0.0.1:0".parse().unwrap(), node: "n".parse().unwrap() };
    let error = refused(ServerOptions { managed: Some(managed), ..on_loopback() });
    assert!(matches!(error, StartError::UdpManaged), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    std::fs::write(&path, "a:b\n").unwrap();
    let auth_file = Some(AuthFile::open(&path).unwrap());
    let error = refused(ServerOptions { auth_file, protocol: Protocol::Ascii, ..on_loopback() });
    assert!(matches!(error, StartError::UdpPassword), "{error}");
}

#[test]
fn udp_alone_is_enough_and_is_shown() {
    let (node, asker) = start(ServerOptions { listen: Vec::new(), threads: 2, ..ServerOptions::default() });
    let port = node.udp_addresses()[0].port();
    let text = |replies: Vec<Vec<u8>>| -> String {
        replies.iter().map(|reply| String::from_utf8_lossy(&reply[8..]).into_owned()).collect()
    };
    let conns = text(asker.ask(b"stats conns\r\n"));
    let expect = format!(
        "STAT 2:UDP UDP\r\nSTAT 2:addr udp:127.0.0.1:{port}\r\nSTAT 2:state conn_read\r\nSTAT 2:secs_since_last_cmd 0\r\nEND\r\n"
    );
    assert_eq!(conns, expect);
    let stats = text(asker.ask(b"stats\r\n"));
    for line in ["curr_connections 1", "threads 2", "cmd_get 0"] {
        assert!(stats.contains(&format!("STAT {line}\r\n")), "{line}: {stats}");
    }
    assert!(text(asker.ask(b"stats settings\r\n")).contains(&format!("STAT udpport {port}\r\n")));
    stop(node);
}
