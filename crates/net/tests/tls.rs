//! TLS connections over real sockets, by feature: the app sees plain bytes, the client is rustls with certificates made
//! for the test.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use doled_net::limits::{OUTPUT_HIGH, TLS_SEAL_LEN};
use doled_net::{
    AcceptorOptions, Address, App, CloseReason, ConnId, Io, Listener, LoopStats, Next, Origin, Received,
    TlsAcceptor, TlsFault, Workers, WorkersOptions,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, SupportedProtocolVersion,
};

type Client = StreamOwned<ClientConnection, TcpStream>;

/// Length of the reply to `B`.
const BIG: usize = 48 << 10;

/// `B` answers BIG bytes, `q` says bye and closes, everything else is echoed.
struct TestApp {
    events: SyncSender<Event>,
}

#[derive(Debug, PartialEq)]
enum Event {
    Fault(TlsFault),
    Closed(CloseReason),
    /// Unsent output when input was stopped for it.
    Full(usize),
}

impl App for TestApp {
    type Message = ();

    fn opened(&mut self, _io: &mut Io, _conn: ConnId, _origin: Origin) {}

    fn received(&mut self, io: &mut Io, conn: ConnId, input: &[u8]) -> Received {
        for (index, byte) in input.iter().enumerate() {
            if io.unsent(conn) >= OUTPUT_HIGH {
                self.tell(Event::Full(io.unsent(conn)));
                return Received { consumed: index, next: Next::Again };
            }
            let Some(out) = io.output(conn) else { break };
            match byte {
                b'B' => out.resize(out.len() + BIG, b'b'),
                b'q' => {
                    out.extend_from_slice(b"bye");
                    return Received { consumed: index + 1, next: Next::Close };
                }
                byte => out.push(*byte),
            }
        }
        Received { consumed: input.len(), next: Next::More }
    }

    fn tls_failed(&mut self, _io: &mut Io, _conn: ConnId, fault: &TlsFault) {
        self.tell(Event::Fault(fault.clone()));
    }

    fn closed(&mut self, _io: &mut Io, _conn: ConnId, reason: CloseReason) {
        self.tell(Event::Closed(reason));
    }

    fn message(&mut self, _io: &mut Io, (): ()) {}
}

impl TestApp {
    fn tell(&self, event: Event) {
        // A test that looks at no events doesn't empty the channel.
        let _ = self.events.try_send(event);
    }
}

struct Server {
    workers: Workers<()>,
    address: SocketAddr,
    events: Receiver<Event>,
    acceptor: TlsAcceptor,
    certificate: CertificateDer<'static>,
}

/// A server's configuration with a certificate of its own.
fn certified() -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate = made.cert.der().clone();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (Arc::new(config), certificate)
}

fn serve(max_connections: usize) -> Server {
    let (config, certificate) = certified();
    let acceptor = TlsAcceptor::new(config);
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap(), 128, 7).unwrap();
    let Address::Tcp(address) = listener.address().clone() else { panic!("not a TCP address") };
    let (sender, events) = sync_channel(1000);
    let options = WorkersOptions {
        name: "test",
        threads: 1,
        acceptor: AcceptorOptions { max_connections, reject_text: b"too many", wait_when_full: false },
        idle_timeout: None,
    };
    let listeners = vec![listener.with_tls(acceptor.clone())];
    let workers = Workers::start(options, listeners, |_| TestApp { events: sender.clone() }).unwrap();
    Server { workers, address, events, acceptor, certificate }
}

impl Server {
    fn socket(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        trusting(&self.certificate, versions)
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Client {
        StreamOwned::new(session(self.config(versions)), self.socket())
    }

    fn stats(&self) -> &LoopStats {
        &self.workers.loop_stats()[0]
    }

    #[track_caller]
    fn next(&self) -> Event {
        self.events.recv_timeout(Duration::from_secs(20)).expect("an event should come")
    }

    fn stop(self) {
        self.workers.stop();
        self.workers.join();
    }
}

fn trusting(
    certificate: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn session(config: Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap()
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[track_caller]
fn expect(stream: &mut impl Read, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap();
    assert!(got == wanted, "{} bytes differ", wanted.len());
}

#[track_caller]
fn check(stream: &mut (impl Read + Write), sent: &[u8], wanted: &[u8]) {
    stream.write_all(sent).unwrap();
    expect(stream, wanted);
}

#[test]
fn the_app_sees_plain_bytes_in_both_versions() {
    let server = serve(100);
    for versions in [[&TLS12], [&TLS13]] {
        let mut client = server.client(&versions);
        check(&mut client, b"hello", b"hello");
        let long: Vec<u8> = (0..1_000_000_u32).map(|n| b'0' + (n % 10) as u8).collect();
        for part in long.chunks(40_000) {
            check(&mut client, part, part);
        }
        // The end is said in TLS, and not only by the socket.
        check(&mut client, b"q", b"bye");
        assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
        assert_eq!(server.next(), Event::Closed(CloseReason::Local));
    }
    assert_eq!(load(&server.stats().tls_sessions), 2);
    assert_eq!(load(&server.stats().tls_handshake_errors), 0);
    server.stop();
}

#[test]
fn it_does_not_matter_how_records_are_cut() {
    let server = serve(100);
    for versions in [[&TLS12], [&TLS13]] {
        for len in [1, 2, 5, 7, 333, 5000, 17_000, 70_000] {
            let mut session = session(server.config(&versions));
            let mut socket = server.socket();
            let mut flight = Vec::new();
            while session.is_handshaking() || session.wants_write() {
                flight.clear();
                while session.wants_write() {
                    session.write_tls(&mut flight).unwrap();
                }
                flight.chunks(len).for_each(|part| socket.write_all(part).unwrap());
                if session.is_handshaking() {
                    session.read_tls(&mut socket).unwrap();
                    session.process_new_packets().unwrap();
                }
            }
            // Two records of the longest kind, and short ones.
            flight.clear();
            let message: Vec<u8> = (0..40_000_u32).map(|n| b'0' + (n % 7) as u8).collect();
            session.set_buffer_limit(None);
            for part in [&message[..3], &message[3..39_000], &message[39_000..]] {
                session.writer().write_all(part).unwrap();
            }
            while session.wants_write() {
                session.write_tls(&mut flight).unwrap();
            }
            flight.chunks(len).for_each(|part| socket.write_all(part).unwrap());
            expect(&mut rustls::Stream::new(&mut session, &mut socket), &message);
        }
    }
    server.stop();
}

#[test]
fn who_does_not_read_holds_bounded_memory_and_loses_nothing() {
    let server = serve(100);
    let mut client = server.client(&[&TLS13]);
    let count = 400;
    client.write_all(&vec![b'B'; count]).unwrap();
    // Stopped again and again for its output, and never above what one reply more makes.
    let Event::Full(unsent) = server.next() else { panic!("not stopped") };
    assert!(unsent <= OUTPUT_HIGH + BIG + TLS_SEAL_LEN + 1024, "{unsent}");
    let mut other = server.client(&[&TLS13]);
    check(&mut other, b"beside", b"beside");
    expect(&mut client, &vec![b'b'; count * BIG]);
    check(&mut client, b"after", b"after");
    let fulls = server.events.try_iter().filter_map(|event| match event {
        Event::Full(unsent) => Some(unsent),
        _ => None,
    });
    assert!(fulls.max().unwrap_or(0) <= OUTPUT_HIGH + BIG + TLS_SEAL_LEN + 1024);
    server.stop();
}

#[test]
fn plain_text_gets_an_alert() {
    let server = serve(100);
    for text in [&b"get a\r\n"[..], b"GET / HTTP/1.0\r\n\r\n", b"\x80\x00\x00\x00\x00\x00", &[0; 300]] {
        let mut socket = server.socket();
        socket.write_all(text).unwrap();
        let mut got = Vec::new();
        socket.read_to_end(&mut got).unwrap();
        assert_eq!(got.first(), Some(&21), "{text:?}: {got:?}");
        assert!(matches!(server.next(), Event::Fault(TlsFault::Tls(_))), "{text:?}");
        assert!(matches!(server.next(), Event::Closed(CloseReason::Failed(_))), "{text:?}");
    }
    assert_eq!(load(&server.stats().tls_handshake_errors), 4);
    server.stop();
}

#[test]
fn a_handshake_that_ends_or_stays_is_closed() {
    let server = serve(100);
    let mut hello = Vec::new();
    session(server.config(&[&TLS13])).write_tls(&mut hello).unwrap();
    let mut ended = server.socket();
    ended.write_all(&hello[..20]).unwrap();
    ended.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.next(), Event::Fault(TlsFault::Ended));
    assert!(matches!(server.next(), Event::Closed(_)));
    // Nothing, a part, and all of it but the last word.
    let mut stay: Vec<TcpStream> = (0..3).map(|_| server.socket()).collect();
    stay[1].write_all(&hello[..20]).unwrap();
    stay[2].write_all(&hello).unwrap();
    let mut other = server.client(&[&TLS13]);
    check(&mut other, b"beside", b"beside");
    let told: Vec<Event> = (0..6).map(|_| server.next()).collect();
    let is_late = |event: &&Event| **event == Event::Fault(TlsFault::TimedOut);
    assert_eq!(told.iter().filter(is_late).count(), 3, "{told:?}");
    let closed = Event::Closed(CloseReason::Failed(rustix::io::Errno::TIMEDOUT));
    assert_eq!(told.iter().filter(|event| **event == closed).count(), 3, "{told:?}");
    for mut socket in stay {
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).unwrap();
    }
    check(&mut other, b"after", b"after");
    assert_eq!(load(&server.stats().tls_handshake_errors), 4);
    server.stop();
}

#[test]
fn an_end_is_understood_with_and_without_its_alert() {
    let server = serve(100);
    // Said in TLS only, behind a request that is answered first.
    let mut client = server.client(&[&TLS13]);
    client.write_all(b"hello").unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    expect(&mut client, b"hello");
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(server.next(), Event::Closed(CloseReason::Local));
    // The same when nothing else is in the air.
    let mut client = server.client(&[&TLS12]);
    check(&mut client, b"hello", b"hello");
    client.conn.send_close_notify();
    client.flush().unwrap();
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(server.next(), Event::Closed(CloseReason::Local));
    // By the socket only, in the middle of a record.
    let mut client = server.client(&[&TLS13]);
    check(&mut client, b"hello", b"hello");
    client.sock.write_all(&[23, 3, 3, 0, 100, 1, 2, 3]).unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(server.next(), Event::Closed(CloseReason::Local));
    server.stop();
}

#[test]
fn a_forged_record_ends_the_connection() {
    let server = serve(100);
    let mut client = server.client(&[&TLS13]);
    check(&mut client, b"hello", b"hello");
    client.sock.write_all(&[23, 3, 3, 0, 40]).unwrap();
    client.sock.write_all(&[7; 40]).unwrap();
    let error = client.read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "an alert: {error}");
    assert!(matches!(server.next(), Event::Fault(TlsFault::Tls(_))));
    assert_eq!(load(&server.stats().tls_protocol_errors), 1);
    // Longer than any record.
    let mut client = server.client(&[&TLS13]);
    check(&mut client, b"hello", b"hello");
    server.events.try_iter().for_each(drop);
    client.sock.write_all(&[23, 3, 3, 255, 255, 1, 2]).unwrap();
    assert!(client.read(&mut [0; 10]).is_err());
    assert!(matches!(server.next(), Event::Fault(TlsFault::Tls(_))));
    server.stop();
}

#[test]
fn a_connection_too_many_gets_an_alert() {
    let server = serve(1);
    let mut first = server.client(&[&TLS13]);
    check(&mut first, b"hello", b"hello");
    let error = server.client(&[&TLS13]).write_all(b"hello").unwrap_err();
    assert!(error.to_string().contains("InternalError"), "{error}");
    check(&mut first, b"still", b"still");
    server.stop();
}

#[test]
fn another_certificate_is_for_new_connections() {
    let server = serve(100);
    let mut early = server.client(&[&TLS13]);
    check(&mut early, b"hello", b"hello");
    let (config, certificate) = certified();
    server.acceptor.replace(config);
    check(&mut early, b"still", b"still");
    assert!(server.client(&[&TLS13]).write_all(b"hello").is_err(), "the old one is no more");
    let config = trusting(&certificate, &[&TLS13]);
    check(&mut StreamOwned::new(session(config), server.socket()), b"hello", b"hello");
    server.stop();
}

#[test]
fn sessions_are_resumed() {
    let server = serve(100);
    let config = server.config(&[&TLS13]);
    for _ in 0..3 {
        let mut client = StreamOwned::new(session(Arc::clone(&config)), server.socket());
        check(&mut client, b"hello", b"hello");
    }
    assert_eq!(load(&server.stats().tls_sessions), 1);
    server.stop();
}

#[test]
fn many_handshakes_at_once_are_all_done() {
    let server = serve(1000);
    let mut hello = Vec::new();
    session(server.config(&[&TLS13])).write_tls(&mut hello).unwrap();
    let mut first = server.client(&[&TLS13]);
    check(&mut first, b"hello", b"hello");
    let mut begun: Vec<TcpStream> = (0..200).map(|_| server.socket()).collect();
    for socket in &mut begun {
        socket.write_all(&hello).unwrap();
    }
    check(&mut first, b"beside", b"beside");
    for mut socket in begun {
        // The server's first message came.
        expect(&mut socket, &[22, 3, 3]);
    }
    server.stop();
}
