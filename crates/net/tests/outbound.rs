//! An outbound connection whose peer takes nothing more until it has sent its answers.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use doled_net::{
    AcceptorOptions, Address, App, CloseReason, ConnId, Io, Listener, Next, Origin, Received, Workers,
    WorkersOptions,
};

/// More than two sockets hold.
const LEN: usize = 64 << 20;

/// Connects to `upstream` when somebody connects, sends it [`LEN`] bytes, and tells when it has as many of it.
struct Caller {
    upstream: Address,
    received: usize,
    done: SyncSender<()>,
}

impl App for Caller {
    type Message = ();

    fn opened(&mut self, io: &mut Io, _conn: ConnId, _origin: Origin) {
        let id = io.connect(&self.upstream).unwrap();
        io.output(id).unwrap().resize(LEN, b'q');
    }

    fn received(&mut self, _io: &mut Io, _conn: ConnId, input: &[u8]) -> Received {
        self.received += input.len();
        if self.received == LEN {
            self.done.send(()).unwrap();
        }
        Received { consumed: input.len(), next: Next::More }
    }

    fn closed(&mut self, _io: &mut Io, _conn: ConnId, _reason: CloseReason) {}

    fn message(&mut self, _io: &mut Io, (): ()) {}
}

#[test]
fn answers_are_read_while_requests_wait_to_be_sent() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = Address::Tcp(peer.local_addr().unwrap());
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap(), 128, 0).unwrap();
    let Address::Tcp(address) = listener.address().clone() else { panic!("not a TCP address") };
    let (done, finished) = sync_channel(1);
    let acceptor = AcceptorOptions { max_connections: 10, reject_text: b"", wait_when_full: false };
    let options = WorkersOptions { name: "test", threads: 1, acceptor, idle_timeout: None };
    let workers = Workers::start(options, vec![listener], |_| Caller {
        upstream: upstream.clone(),
        received: 0,
        done: done.clone(),
    })
    .unwrap();
    let _caller = TcpStream::connect(address).unwrap();
    let (mut accepted, _) = peer.accept().unwrap();
    accepted.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    accepted.write_all(&vec![b'a'; LEN]).unwrap();
    std::io::copy(&mut Read::by_ref(&mut accepted).take(LEN as u64), &mut std::io::sink()).unwrap();
    finished.recv_timeout(Duration::from_secs(20)).unwrap();
    workers.stop();
    drop(accepted);
    workers.join();
}
