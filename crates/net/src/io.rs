//! A loop's connections, and what its app may do with them.
//!
//! Everything the app asks for takes effect at the end of the turn, in this order: one write for each
//! connection with output, then closes. So an id stays valid until its `closed` call.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, sockopt};
use stdx::Instant;

use crate::app::{CloseReason, Next, Received};
use crate::conn::{Conn, ConnId};
use crate::limits::{INPUT_MAX, OUTPUT_LOW, SHORT_KEPT_LEN};
use crate::listener::stream_socket;
use crate::poller::{Interest, Poller};
use crate::pool::Pool;
use crate::stats::{self, ConnectionStats, LoopStats};
use crate::stream::{Stream, Transfer};
use crate::{Address, Origin};

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
    pub(crate) pool: Pool,
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
            pool: Pool::default(),
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

    /// Reads again after [`Next::Resume`] or [`Io::pause`]; what was kept comes first, in the next turn.
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

    pub(crate) fn accept(&mut self, fd: std::os::fd::OwnedFd, _origin: Origin) -> Result<ConnId, Errno> {
        self.insert(Conn::new(Stream::Plain(fd), self.now, true))
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
        !(self.ready.is_empty() && self.dirty.is_empty() && self.finished.is_empty())
    }

    /// One read behind what was kept. `buffer` is the loop's; long input is kept and read elsewhere.
    pub(crate) fn receive(&mut self, id: ConnId, buffer: &mut [u8]) -> Receive {
        let now = self.now;
        let Some(conn) = self.conn_mut(id) else { return Receive::Nothing(Transfer::Blocked) };
        let kept = conn.kept.len();
        let is_short = kept <= SHORT_KEPT_LEN;
        let (front, back) = buffer.split_at_mut(if is_short { kept } else { 0 });
        let n = match conn.stream.read(back) {
            Transfer::Bytes(n) => n,
            other => return Receive::Nothing(other),
        };
        conn.last_received = now;
        let received = if is_short {
            front.copy_from_slice(&conn.kept);
            Receive::Shared(kept + n)
        } else {
            conn.kept.extend_from_slice(&back[..n]);
            Receive::Own(std::mem::take(&mut conn.kept))
        };
        stats::add(&self.stats.bytes_read, n as u64);
        received
    }

    /// What was kept, to be delivered without a read; its buffer goes to `settle_own`.
    pub(crate) fn take_kept(&mut self, id: ConnId) -> Option<Vec<u8>> {
        self.conn_mut(id).map(|conn| std::mem::take(&mut conn.kept))
    }

    /// Files what the app left of input in the shared buffer, and what it wants next.
    pub(crate) fn settle(&mut self, id: ConnId, input: &[u8], received: Received) {
        self.keep(id, &input[consumed(input, received)..]);
        self.await_next(id, input.len(), received);
    }

    /// As `settle`, for input in a buffer of its own.
    pub(crate) fn settle_own(&mut self, id: ConnId, mut input: Vec<u8>, received: Received) {
        let len = input.len();
        input.drain(..consumed(&input, received));
        match self.conn_mut(id) {
            Some(conn) if !input.is_empty() => conn.kept = input,
            _ => self.pool.give(input),
        }
        self.await_next(id, len, received);
    }

    fn await_next(&mut self, id: ConnId, input_len: usize, received: Received) {
        let stuck = received.consumed == 0 && input_len >= INPUT_MAX;
        match received.next {
            Next::More if stuck => self.close_for(id, CloseReason::Overflow),
            Next::More => {}
            Next::Again => self.deliver_again(id),
            Next::Resume => self.pause(id),
            Next::Close => self.close(id),
        }
    }

    fn keep(&mut self, id: ConnId, rest: &[u8]) {
        let Some(slot) = self.slots.get_mut(id.index()).filter(|slot| slot.serial == id.serial) else {
            return;
        };
        let Some(conn) = slot.conn.as_mut() else { return };
        if rest.is_empty() {
            if conn.kept.capacity() > 0 {
                self.pool.give(std::mem::take(&mut conn.kept));
            }
            return;
        }
        if conn.kept.capacity() == 0 {
            conn.kept = self.pool.take();
        }
        conn.kept.clear();
        conn.kept.extend_from_slice(rest);
    }

    fn deliver_again(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id) else { return };
        if !conn.kept.is_empty() {
            conn.again = true;
            stats::add(&self.stats.yields, 1);
            self.list_if_drained(id);
        }
    }

    fn list_if_drained(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id) else { return };
        if conn.again && !conn.listed && (conn.dirty || conn.unsent() <= OUTPUT_LOW) {
            conn.listed = true;
            self.ready.push(id);
        }
    }

    /// Takes a connection off the list of those to deliver again; false when it has to wait after all, since
    /// its peer has not taken enough of the output.
    pub(crate) fn unlist(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.conn_mut(id) else { return false };
        conn.listed = false;
        let now = conn.again && conn.closing.is_none() && conn.unsent() <= OUTPUT_LOW;
        conn.again &= !now;
        now
    }

    pub(crate) fn close_for(&mut self, id: ConnId, reason: CloseReason) {
        let Some(conn) = self.conn_mut(id).filter(|conn| conn.closing.is_none()) else { return };
        conn.closing = Some(reason);
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Closes without a flush.
    pub(crate) fn fail(&mut self, id: ConnId, reason: CloseReason) {
        let Some(conn) = self.conn_mut(id).filter(|conn| !conn.finished) else { return };
        conn.closing.get_or_insert(reason);
        conn.finished = true;
        self.finished.push(id);
    }

    pub(crate) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id).filter(|conn| !conn.dirty) {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Writes once for each connection that has something to send.
    pub(crate) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            self.flush_one(id);
        }
        // Nothing was marked meanwhile; keep the allocation.
        self.dirty = dirty;
    }

    fn flush_one(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id) else { return };
        conn.dirty = false;
        if conn.connecting {
            if let Some(reason) = conn.closing {
                self.fail(id, reason);
            }
            return;
        }
        if conn.unsent() > 0 {
            match conn.stream.write(&conn.out[conn.sent..]) {
                Transfer::Bytes(n) => self.note_sent(id, n),
                Transfer::Blocked => {}
                Transfer::Ended => return self.fail(id, CloseReason::Peer),
                Transfer::Failed(error) => return self.fail(id, CloseReason::Failed(error)),
            }
        }
        self.after_flush(id);
    }

    fn note_sent(&mut self, id: ConnId, n: usize) {
        stats::add(&self.stats.bytes_written, n as u64);
        let Some(conn) = self.conn_mut(id) else { return };
        conn.sent += n;
        if conn.unsent() == 0 {
            conn.sent = 0;
            let out = std::mem::take(&mut conn.out);
            self.pool.give(out);
        } else if conn.sent >= conn.out.len() / 2 {
            // What was sent is dropped when it is at least half, so each byte moves at most once on average.
            conn.out.drain(..conn.sent);
            conn.sent = 0;
        }
    }

    fn after_flush(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id) else { return };
        if conn.out.is_empty() && conn.out.capacity() > 0 {
            let out = std::mem::take(&mut conn.out);
            self.pool.give(out);
        }
        let Some(conn) = self.conn_mut(id) else { return };
        match conn.closing {
            Some(reason) if conn.unsent() == 0 => self.fail(id, reason),
            _ => {
                self.list_if_drained(id);
                self.rearm(id);
            }
        }
    }

    /// Tells the kernel what the connection waits for, if that needs a system call: an unwanted read interest
    /// is left in place until an event shows that it matters.
    pub(crate) fn rearm(&mut self, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        let write = conn.connecting || conn.unsent() > 0;
        let read = conn.wants_read() || (conn.interest.read && !conn.connecting);
        self.set_interest(id, Interest { read, write });
    }

    /// An unwanted read was announced: no more of these until `rearm`.
    pub(crate) fn disarm_read(&mut self, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        self.set_interest(id, Interest { read: false, write: conn.interest.write });
    }

    fn set_interest(&mut self, id: ConnId, interest: Interest) {
        let Some(conn) = self.conn(id).filter(|conn| conn.interest != interest) else { return };
        match self.poller.modify(&conn.stream, id.token(), interest) {
            Ok(()) => {
                if let Some(conn) = self.conn_mut(id) {
                    conn.interest = interest;
                }
            }
            Err(error) => self.fail(id, CloseReason::Failed(error)),
        }
    }
}

/// Where the input of one read is.
pub(crate) enum Receive {
    /// In the loop's buffer, that many bytes with what was kept before.
    Shared(usize),
    /// In the connection's own.
    Own(Vec<u8>),
    /// Nothing came, for this reason.
    Nothing(Transfer),
}

fn consumed(input: &[u8], received: Received) -> usize {
    assert!(received.consumed <= input.len(), "an app consumed {} of {}", received.consumed, input.len());
    received.consumed
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
