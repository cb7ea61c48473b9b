//! Datagram sockets, and the one thread that serves all of a process.
//!
//! A datagram has no connection: it is answered at once and nothing of it is kept. The thread sends while the
//! kernel takes it, and does not receive meanwhile; what then comes is for the kernel to keep or to drop.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};

use crate::limits::{DATAGRAM_RECEIVE_LEN, DATAGRAM_SEND_MAX, DATAGRAMS_PER_EVENT};
use crate::listener::BindError;
use crate::mailbox::Mailbox;
use crate::poller::{Interest, Poller};
use crate::stats::{self, LoopStats};
use crate::workers::AbortOnPanic;

const CONTROL_TOKEN: u64 = u64::MAX;

/// A bound UDP socket.
#[derive(Debug)]
pub struct DatagramSocket {
    fd: OwnedFd,
    /// With the port that the kernel chose.
    address: SocketAddr,
}

impl DatagramSocket {
    /// Binds an IP address; port 0 lets the kernel choose.
    pub fn udp(address: SocketAddr) -> Result<Self, BindError> {
        bind(address).map_err(|reason| BindError { address: address.into(), reason })
    }

    /// Where it receives, with the port that the kernel chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Where the answer to a datagram goes.
#[derive(Debug)]
pub struct Outlet<'a> {
    socket: &'a DatagramSocket,
    peer: SocketAddr,
    stats: &'a LoopStats,
}

impl Outlet<'_> {
    /// Sends one datagram. False when it could not be sent: then the next would not do better.
    pub fn send(&mut self, datagram: &[u8]) -> bool {
        let sent = rustix::net::sendto(self.socket, datagram, SendFlags::NOSIGNAL, &self.peer);
        if let Ok(n) = sent {
            stats::add(&self.stats.bytes_written, n as u64);
        }
        sent.is_ok()
    }
}

/// A running thread that serves datagram sockets. Dropping it without [`Datagrams::join`] leaves it running.
#[derive(Debug)]
pub struct Datagrams {
    control: Mailbox<()>,
    thread: JoinHandle<()>,
    stats: Arc<LoopStats>,
}

impl Datagrams {
    /// Starts the thread. `answer` is called with the number of the socket, what was received, and where the
    /// answer goes.
    pub fn start(
        name: &str,
        sockets: Vec<DatagramSocket>,
        answer: impl FnMut(usize, &[u8], &mut Outlet<'_>) + Send + 'static,
    ) -> io::Result<Self> {
        let control = Mailbox::new()?;
        let stats = Arc::new(LoopStats::default());
        let poller = Poller::new()?;
        let read = Interest { read: true, write: false };
        poller.add(control.waker(), CONTROL_TOKEN, read)?;
        for (number, socket) in sockets.iter().enumerate() {
            poller.add(socket, number as u64, read)?;
        }
        let server = Server {
            sockets,
            poller,
            control: control.clone(),
            stats: Arc::clone(&stats),
            buffer: vec![0; DATAGRAM_RECEIVE_LEN].into_boxed_slice(),
            answer,
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _guard = AbortOnPanic;
            server.run();
        })?;
        Ok(Self { control, thread, stats })
    }

    /// What it has moved.
    pub fn stats(&self) -> &Arc<LoopStats> {
        &self.stats
    }

    /// Asks the thread to end after the datagram at hand.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Waits for its end.
    pub fn join(self) {
        // A thread that panics ends the process, so there is no other outcome.
        let _ = self.thread.join();
    }
}

struct Server<F> {
    sockets: Vec<DatagramSocket>,
    poller: Poller,
    /// Told to stop, and woken, through this; nothing is posted to it.
    control: Mailbox<()>,
    stats: Arc<LoopStats>,
    buffer: Box<[u8]>,
    answer: F,
}

impl<F: FnMut(usize, &[u8], &mut Outlet<'_>)> Server<F> {
    fn run(mut self) {
        while !self.control.stopping() {
            let count = match self.poller.wait(None) {
                Ok(count) => count,
                // Only a broken poller fails, and nothing works without one.
                Err(error) => panic!("epoll_wait failed: {error}"),
            };
            for index in 0..count {
                if let Some(event) = self.poller.event(index).filter(|event| event.token != CONTROL_TOKEN) {
                    self.serve(event.token as usize);
                }
            }
        }
    }

    fn serve(&mut self, number: usize) {
        let Some(socket) = self.sockets.get(number) else { return };
        for _ in 0..DATAGRAMS_PER_EVENT {
            if self.control.stopping() {
                return;
            }
            let (len, peer) = match rustix::net::recvfrom(socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, len, peer)) => (len, peer),
                Err(Errno::AGAIN) => return,
                // An earlier datagram that nobody took, or the network's own trouble: the next may do.
                Err(_) => continue,
            };
            stats::add(&self.stats.bytes_read, len as u64);
            let Some(peer) = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).filter(can_be_answered)
            else {
                continue;
            };
            let mut outlet = Outlet { socket, peer, stats: &self.stats };
            (self.answer)(number, &self.buffer[..len], &mut outlet);
        }
    }
}

/// Nobody sends from port 0, but who forges a sender may.
fn can_be_answered(peer: &SocketAddr) -> bool {
    peer.port() != 0
}

fn bind(address: SocketAddr) -> Result<DatagramSocket, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    // It blocks, within limits, when something is sent; it is never asked to when something is received.
    let fd = rustix::net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(ipproto::UDP))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    sockopt::set_socket_timeout(&fd, Timeout::Send, Some(DATAGRAM_SEND_MAX))?;
    rustix::net::bind(&fd, &address)?;
    let address = SocketAddr::try_from(rustix::net::getsockname(&fd)?).map_err(|_| Errno::AFNOSUPPORT)?;
    Ok(DatagramSocket { fd, address })
}
