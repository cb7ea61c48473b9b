//! The loop over real sockets, by feature: an app that understands one-letter commands plays the server.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use doled_net::limits::OUTPUT_HIGH;
use doled_net::{
    AcceptorOptions, Address, App, CloseReason, ConnId, Io, Listener, Next, Origin, Received, Workers,
    WorkersOptions,
};
use stdx::Instant;

/// Length of the reply to `B`.
const BIG: usize = 32 << 10;

/// `e` echoes itself, `B` answers BIG bytes, `y` echoes and yields, `w` waits for a message (then echoes),
/// `q` says bye and closes, `o` connects to the test's listener and sends `hi`, `t` answers in 20 ms.
struct TestApp {
    upstream: Option<Address>,
    waiting: Vec<ConnId>,
    timer: Option<(Instant, ConnId)>,
    events: SyncSender<Event>,
}

#[derive(Debug, PartialEq)]
enum Event {
    Opened(u32),
    Connected,
    Closed(CloseReason),
    Upstream(Vec<u8>),
    /// Unsent output when an input batch was stopped for it.
    Full(usize),
}

impl App for TestApp {
    type Message = ();

    fn opened(&mut self, _io: &mut Io, _conn: ConnId, origin: Origin) {
        self.tell(Event::Opened(origin.listener));
    }

    fn connected(&mut self, _io: &mut Io, _conn: ConnId) {
        self.tell(Event::Connected);
    }

    fn received(&mut self, io: &mut Io, conn: ConnId, input: &[u8]) -> Received {
        for (index, byte) in input.iter().enumerate() {
            if io.unsent(conn) >= OUTPUT_HIGH {
                self.tell(Event::Full(io.unsent(conn)));
                return Received { consumed: index, next: Next::Again };
            }
            let consumed = index + 1;
            match byte {
                b'y' => {
                    echo(io, conn, *byte);
                    return Received { consumed, next: Next::Again };
                }
                b'w' => {
                    self.waiting.push(conn);
                    return Received { consumed, next: Next::Resume };
                }
                b'q' => {
                    if let Some(out) = io.output(conn) {
                        out.extend_from_slice(b"bye");
                    }
                    return Received { consumed, next: Next::Close };
                }
                b'B' => {
                    if let Some(out) = io.output(conn) {
                        out.resize(out.len() + BIG, b'b');
                    }
                }
                b'o' => {
                    let upstream = self.upstream.clone().expect("the test gives one");
                    match io.connect(&upstream) {
                        Ok(id) => io.output(id).expect("it was just made").extend_from_slice(b"hi"),
                        Err(error) => self.tell(Event::Closed(CloseReason::ConnectFailed(error))),
                    }
                }
                b't' => self.timer = Some((io.now() + Duration::from_millis(20), conn)),
                b'u' => self.tell(Event::Upstream(input.to_vec())),
                b'-' => return Received { consumed: index, next: Next::More },
                _ => echo(io, conn, *byte),
            }
        }
        Received { consumed: input.len(), next: Next::More }
    }

    fn closed(&mut self, _io: &mut Io, _conn: ConnId, reason: CloseReason) {
        self.tell(Event::Closed(reason));
    }

    fn message(&mut self, io: &mut Io, (): ()) {
        for conn in self.waiting.drain(..) {
            echo(io, conn, b'w');
            io.resume(conn);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.timer.map(|(at, _)| at)
    }

    fn timed_out(&mut self, io: &mut Io, _now: Instant) {
        if let Some((_, conn)) = self.timer.take() {
            echo(io, conn, b't');
        }
    }
}

impl TestApp {
    fn tell(&self, event: Event) {
        // A test that looks at no events doesn't empty the channel.
        let _ = self.events.try_send(event);
    }
}

fn echo(io: &mut Io, conn: ConnId, byte: u8) {
    if let Some(out) = io.output(conn) {
        out.push(byte);
    }
}

struct Server {
    workers: Workers<()>,
    address: SocketAddr,
    events: Receiver<Event>,
}

struct Setup {
    max_connections: usize,
    wait_when_full: bool,
    idle_timeout: Option<Duration>,
    upstream: Option<Address>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { max_connections: 100, wait_when_full: false, idle_timeout: None, upstream: None }
    }
}

fn serve(setup: &Setup, mut more: Vec<Listener>) -> Server {
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap(), 128, 7).unwrap();
    let Address::Tcp(address) = listener.address().clone() else { panic!("not a TCP address") };
    more.push(listener);
    let (sender, events) = sync_channel(1000);
    let options = WorkersOptions {
        name: "test",
        threads: 1,
        acceptor: AcceptorOptions {
            max_connections: setup.max_connections,
            reject_text: b"too many",
            wait_when_full: setup.wait_when_full,
        },
        idle_timeout: setup.idle_timeout,
    };
    let workers = Workers::start(options, more, |_| TestApp {
        upstream: setup.upstream.clone(),
        waiting: Vec::new(),
        timer: None,
        events: sender.clone(),
    })
    .unwrap();
    Server { workers, address, events }
}

impl Server {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    #[track_caller]
    fn next(&self) -> Event {
        self.events.recv_timeout(Duration::from_secs(10)).expect("an event should come")
    }

    fn stop(self) {
        self.workers.stop();
        self.workers.join();
    }
}

#[track_caller]
fn expect(stream: &mut impl Read, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(wanted));
}

#[track_caller]
fn expect_end(stream: &mut impl Read) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => assert_eq!(rest, b""),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn bytes_are_answered_and_the_listener_is_named() {
    let server = serve(&Setup::default(), Vec::new());
    let mut stream = server.connect();
    stream.write_all(b"eee").unwrap();
    expect(&mut stream, b"eee");
    assert_eq!(server.next(), Event::Opened(7));
    assert_eq!(server.workers.connection_stats().current.load(Ordering::Relaxed), 1);
    drop(stream);
    assert_eq!(server.next(), Event::Closed(CloseReason::Local));
    assert_eq!(server.workers.connection_stats().current.load(Ordering::Relaxed), 0);
    server.stop();
}

#[test]
fn unconsumed_input_comes_again_with_more() {
    let server = serve(&Setup::default(), Vec::new());
    let mut stream = server.connect();
    stream.write_all(b"e-").unwrap();
    expect(&mut stream, b"e");
    stream.write_all(b"e").unwrap();
    // The dash is never consumed, so nothing behind it is answered, and at last it is too much.
    stream.write_all(&vec![b'e'; 2 << 20]).ok();
    expect_end(&mut stream);
    assert_eq!(server.next(), Event::Opened(7));
    assert_eq!(server.next(), Event::Closed(CloseReason::Overflow));
    server.stop();
}

#[test]
fn a_batch_that_yields_is_answered_whole() {
    let server = serve(&Setup::default(), Vec::new());
    let mut stream = server.connect();
    stream.write_all(&[b'y'; 1000]).unwrap();
    expect(&mut stream, &[b'y'; 1000]);
    stream.write_all(b"eye").unwrap();
    expect(&mut stream, b"eye");
    server.stop();
}

#[test]
fn who_does_not_read_is_not_read_from_and_holds_bounded_memory() {
    let server = serve(&Setup::default(), Vec::new());
    let mut slow = server.connect();
    slow.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut sent = 0;
    // Each byte asks for BIG bytes back, so the replies can't all be in flight.
    while let Ok(n) = slow.write(&[b'B'; 4096]) {
        sent += n;
        if sent >= 4 << 20 {
            break;
        }
    }
    let mut other = server.connect();
    other.write_all(b"e").unwrap();
    expect(&mut other, b"e");
    let mut got = 0;
    let mut buffer = vec![0; 1 << 20];
    let wanted = 64 * BIG;
    while got < wanted {
        got += slow.read(&mut buffer).unwrap();
    }
    for event in server.events.try_iter() {
        if let Event::Full(unsent) = event {
            assert!(unsent <= 2 * OUTPUT_HIGH + BIG, "{unsent} bytes are held");
        }
    }
    server.stop();
}

#[test]
fn a_paused_connection_goes_on_when_resumed() {
    let server = serve(&Setup::default(), Vec::new());
    let mut stream = server.connect();
    stream.write_all(b"ewee").unwrap();
    expect(&mut stream, b"e");
    let mut other = server.connect();
    other.write_all(b"e").unwrap();
    expect(&mut other, b"e");
    server.workers.post(0, ()).unwrap();
    expect(&mut stream, b"wee");
    server.stop();
}

#[test]
fn closing_flushes_first() {
    let server = serve(&Setup::default(), Vec::new());
    let mut stream = server.connect();
    stream.write_all(b"BBBqee").unwrap();
    expect(&mut stream, &vec![b'b'; 3 * BIG]);
    expect(&mut stream, b"bye");
    expect_end(&mut stream);
    server.stop();
}

#[test]
fn timers_fire() {
    let server = serve(&Setup::default(), Vec::new());
    let mut stream = server.connect();
    stream.write_all(b"t").unwrap();
    expect(&mut stream, b"t");
    server.stop();
}

#[test]
fn outbound_connections_work_and_their_failure_is_told() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let setup = Setup { upstream: Some(Address::Tcp(address)), ..Setup::default() };
    let server = serve(&setup, Vec::new());
    let mut stream = server.connect();
    stream.write_all(b"o").unwrap();
    assert_eq!(server.next(), Event::Opened(7));
    assert_eq!(server.next(), Event::Connected);
    let (mut accepted, _) = upstream.accept().unwrap();
    expect(&mut accepted, b"hi");
    accepted.write_all(b"u").unwrap();
    assert_eq!(server.next(), Event::Upstream(b"u".to_vec()));
    drop(accepted);
    assert_eq!(server.next(), Event::Closed(CloseReason::Local));
    drop(upstream);
    stream.write_all(b"o").unwrap();
    let Event::Closed(reason) = server.next() else { panic!("the refusal should be told") };
    assert_eq!(reason, CloseReason::ConnectFailed(rustix::io::Errno::CONNREFUSED));
    server.stop();
}

#[test]
fn one_connection_too_many_is_told_and_closed() {
    let server = serve(&Setup { max_connections: 1, ..Setup::default() }, Vec::new());
    let mut first = server.connect();
    first.write_all(b"e").unwrap();
    expect(&mut first, b"e");
    let mut second = server.connect();
    expect(&mut second, b"too many");
    expect_end(&mut second);
    assert_eq!(server.workers.connection_stats().rejected.load(Ordering::Relaxed), 1);
    first.write_all(b"e").unwrap();
    expect(&mut first, b"e");
    server.stop();
}

#[test]
fn one_connection_too_many_waits_if_so_told() {
    let setup = Setup { max_connections: 1, wait_when_full: true, ..Setup::default() };
    let server = serve(&setup, Vec::new());
    let mut first = server.connect();
    first.write_all(b"e").unwrap();
    expect(&mut first, b"e");
    let mut second = server.connect();
    second.write_all(b"e").unwrap();
    // The acceptor has seen it; nothing else pauses it here.
    let stats = Arc::clone(server.workers.connection_stats());
    let start = std::time::Instant::now();
    while stats.accept_pauses.load(Ordering::Relaxed) == 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "it does not wait");
        std::thread::yield_now();
    }
    assert_eq!(stats.total.load(Ordering::Relaxed), 1);
    drop(first);
    expect(&mut second, b"e");
    assert_eq!(stats.accept_pauses.load(Ordering::Relaxed), 1);
    assert_eq!(stats.rejected.load(Ordering::Relaxed), 0);
    server.stop();
}

#[test]
fn unix_sockets_have_their_mode_and_replace_dead_ones() {
    let dir = std::env::temp_dir().join(format!("doled-net-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listener = Listener::unix(&path, 0o600, 128, 9).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let second = Listener::unix(&path, 0o600, 128, 9).unwrap_err();
    assert!(second.to_string().starts_with("cannot listen on unix:"), "{second}");
    let server = serve(&Setup::default(), vec![listener]);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"e").unwrap();
    expect(&mut stream, b"e");
    assert_eq!(server.next(), Event::Opened(9));
    server.stop();
    assert!(!path.exists(), "the path goes with the listener");
    std::fs::write(&path, "not a socket").unwrap();
    assert!(Listener::unix(&path, 0o600, 128, 9).is_err());
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn an_address_in_use_is_named() {
    let server = serve(&Setup::default(), Vec::new());
    let error = Listener::tcp(server.address, 128, 0).unwrap_err();
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
    server.stop();
}

#[test]
fn idle_connections_are_closed() {
    let setup = Setup { idle_timeout: Some(Duration::from_millis(50)), ..Setup::default() };
    let server = serve(&setup, Vec::new());
    let mut stream = server.connect();
    expect_end(&mut stream);
    assert_eq!(server.next(), Event::Opened(7));
    assert_eq!(server.next(), Event::Closed(CloseReason::Idle));
    server.stop();
}

#[test]
fn stopping_flushes_and_ends_although_a_peer_does_not_read() {
    let server = serve(&Setup::default(), Vec::new());
    let mut reader = server.connect();
    reader.write_all(b"B").unwrap();
    let mut silent = server.connect();
    silent.write_all(&[b'B'; 4096]).unwrap();
    expect(&mut reader, b"b");
    server.stop();
    expect(&mut reader, &vec![b'b'; BIG - 1]);
    expect_end(&mut reader);
}
