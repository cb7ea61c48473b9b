//! A loop's connections, and what its app may do with them.
//!
//! Everything the app asks for takes effect at the end of the turn, in this order: one write for each
//! connection with output, then closes. So an id stays valid until its `closed` call.

mod handshakes;
mod input;
mod output;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, sockopt};
use stdx::Instant;

use crate::Address;
use crate::app::CloseReason;
use crate::conn::{Conn, ConnId};
use crate::listener::stream_socket;
use crate::poller::Poller;
use crate::pool::Pool;
use crate::stats::{ConnectionStats, LoopStats};
use crate::stream::Stream;
use crate::tls::TlsAcceptor;
use crate::tls::scratch::Scratch;
use crate::tls::stream::TlsStream;

pub(crate) use input::Receive;

use handshakes::Handshakes;

/// The hands of an [`crate::App`].
#[derive(Debug)]
pub struct Io {
    pub(crate) poller: Poller,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// To flush at the end of this turn.
    dirty: Vec<ConnId>,
    /// To deliver again in the next turn.
    pub(crate) ready: Vec<ConnId>,
    /// To remove at the end of this turn.
    pub(crate) finished: Vec<ConnId>,
    pub(crate) handshakes: Handshakes,
    pub(crate) pool: Pool,
    scratch: Scratch,
    pub(crate) now: Instant,
    pub(crate) stats: Arc<LoopStats>,
    pub(crate) connections: Arc<ConnectionStats>,
}

#[derive(Debug)]
struct Slot {
    serial: u32,
    conn: Option<Conn>,
}

impl Io {
    pub(crate) fn new(
        poller: Poller,
        now: Instant,
        stats: Arc<LoopStats>,
        connections: Arc<ConnectionStats>,
    ) -> Self {
        Self {
            poller,
            slots: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            ready: Vec::new(),
            finished: Vec::new(),
            handshakes: Handshakes::default(),
            pool: Pool::default(),
            scratch: Scratch::default(),
            now,
            stats,
            connections,
        }
    }

    /// The clock of ordinary timers, read once at the start of this turn. Not for leases: what is received in
    /// this turn may have come later.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The connection's output buffer, to append to; it is sent at the end of this turn. `None` when the
    /// connection is gone or closing.
    pub fn output(&mut self, id: ConnId) -> Option<&mut Vec<u8>> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.serial == id.serial)?;
        let conn = slot.conn.as_mut().filter(|conn| conn.closing.is_none())?;
        if conn.out.capacity() == 0 {
            conn.out = self.pool.take();
        }
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(id);
        }
        Some(&mut conn.out)
    }

    /// Bytes that the connection has not sent yet; zero when it is gone.
    pub fn unsent(&self, id: ConnId) -> usize {
        self.conn(id).map_or(0, Conn::unsent)
    }

    /// Starts an outbound connection: `connected` follows, or `closed` with [`CloseReason::ConnectFailed`].
    /// Output may be written at once. A failure that is known at once comes back as the error, and nothing
    /// follows.
    pub fn connect(&mut self, address: &Address) -> Result<ConnId, Errno> {
        let fd = match address {
            Address::Tcp(address) => {
                let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let fd = stream_socket(family)?;
                sockopt::set_tcp_nodelay(&fd, true)?;
                started(rustix::net::connect(&fd, address))?;
                fd
            }
            Address::Unix(path) => {
                let fd = stream_socket(AddressFamily::UNIX)?;
                started(rustix::net::connect(&fd, &SocketAddrUnix::new(path.as_path())?))?;
                fd
            }
        };
        self.insert(Conn::new(Stream::Plain(fd), self.now, false))
    }

    /// Sends what is written so far, then closes; nothing more is received.
    pub fn close(&mut self, id: ConnId) {
        self.close_for(id, CloseReason::Local);
    }

    /// Closes without sending what is still unsent.
    pub fn abort(&mut self, id: ConnId) {
        self.fail(id, CloseReason::Local);
    }

    /// Stops reading from a connection until [`Io::resume`].
    pub fn pause(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id) {
            conn.paused = true;
        }
    }

    /// Reads again after [`crate::Next::Resume`] or [`Io::pause`]; what was kept comes first, in the next turn.
    pub fn resume(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id).filter(|conn| conn.paused) else { return };
        conn.paused = false;
        if conn.kept.is_empty() {
            self.rearm(id);
        } else {
            conn.again = true;
            self.list_if_drained(id);
        }
    }

    /// Lets a turn come, though nothing may happen in it, when the connection's output is (nearly) sent: for an
    /// app that has more to write than it may at once. Until then the connection is not read.
    pub fn await_drain(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id).filter(|conn| conn.closing.is_none()) {
            conn.again = true;
            self.list_if_drained(id);
        }
    }

    /// The idle time-out does not count for this connection any more: it waits for what the app has to say.
    pub fn let_idle(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id) {
            conn.may_idle = true;
        }
    }

    /// The peer's address, for people; `None` when the kernel doesn't know it.
    pub fn peer(&self, id: ConnId) -> Option<Address> {
        named(rustix::net::getpeername(&self.conn(id)?.stream).ok().flatten()?)
    }

    /// The local address of a connection, for people.
    pub fn local(&self, id: ConnId) -> Option<Address> {
        named(rustix::net::getsockname(&self.conn(id)?.stream).ok()?)
    }

    /// When bytes last came, or the connection was opened.
    pub fn last_received(&self, id: ConnId) -> Option<Instant> {
        self.conn(id).map(|conn| conn.last_received)
    }

    /// All connections of this loop, in the order of their indexes.
    pub fn connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.conn.is_some()).map(|(index, slot)| ConnId {
            index: u32::try_from(index).expect("slots are made with 32-bit indexes"),
            serial: slot.serial,
        })
    }
}

/// What only the loop does.
impl Io {
    pub(crate) fn conn(&self, id: ConnId) -> Option<&Conn> {
        self.slots.get(id.index()).filter(|slot| slot.serial == id.serial)?.conn.as_ref()
    }

    pub(crate) fn conn_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id.index()).filter(|slot| slot.serial == id.serial)?.conn.as_mut()
    }

    pub(crate) fn accept(&mut self, fd: OwnedFd, tls: Option<&TlsAcceptor>) -> Result<ConnId, Errno> {
        let stream = match tls {
            None => Stream::Plain(fd),
            Some(acceptor) => {
                let tls = TlsStream::accepted(fd, acceptor, self.now).map_err(|_| Errno::PROTO)?;
                Stream::Tls(Box::new(tls))
            }
        };
        let id = self.insert(Conn::new(stream, self.now, true))?;
        if tls.is_some() {
            self.handshakes.begun();
        }
        Ok(id)
    }

    /// A connection with what it reads and writes through.
    pub(crate) fn conn_and_scratch(&mut self, id: ConnId) -> Option<(&mut Conn, &mut Scratch)> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.serial == id.serial)?;
        Some((slot.conn.as_mut()?, &mut self.scratch))
    }

    fn insert(&mut self, conn: Conn) -> Result<ConnId, Errno> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).map_err(|_| Errno::MFILE)?;
                self.slots.push(Slot { serial: 1, conn: None });
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        let id = ConnId { index, serial: slot.serial };
        if let Err(error) = self.poller.add(&conn.stream, id.token(), conn.interest) {
            self.free.push(index);
            return Err(error);
        }
        slot.conn = Some(conn);
        Ok(id)
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.serial == id.serial)?;
        let mut conn = slot.conn.take()?;
        // Serial 0 and the top one stay unused, so that no token is the waker's.
        slot.serial = if slot.serial >= u32::MAX - 1 { 1 } else { slot.serial + 1 };
        self.free.push(id.index);
        self.pool.give(std::mem::take(&mut conn.out));
        self.pool.give(std::mem::take(&mut conn.kept));
        if conn.stream.is_handshaking() {
            self.handshakes.ended();
        }
        if conn.accepted {
            self.connections.current.fetch_sub(1, Ordering::Relaxed);
        }
        Some(conn)
    }

    /// An accepted connection was lost before it became one of the loop's.
    pub(crate) fn uncount(&self) {
        self.connections.current.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Work is left for a turn that must not wait.
    pub(crate) fn has_work(&self) -> bool {
        !(self.ready.is_empty()
            && self.dirty.is_empty()
            && self.finished.is_empty()
            && self.handshakes.is_queue_empty())
    }
}

fn started(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::INPROGRESS) => Ok(()),
        other => other,
    }
}

fn named(address: rustix::net::SocketAddrAny) -> Option<Address> {
    if let Ok(address) = std::net::SocketAddr::try_from(address.clone()) {
        return Some(Address::Tcp(address));
    }
    let unix = SocketAddrUnix::try_from(address).ok()?;
    let path = unix.path_bytes().unwrap_or_default();
    Some(Address::Unix(String::from_utf8_lossy(path).into_owned().into()))
}
