//! `stats conns`: who is connected, and the sockets that listen, which memcached counts as connections too.
//!
//! Each worker enters and removes its connections; the answer reads all. The lock is taken once in a
//! connection's life and by `stats conns`, never for a request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use net::Address;
use proto::reply::put_stat;

use crate::clock::Now;
use crate::engine::{Context, Engine};

/// All connections, by worker and the connection's index there.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<BTreeMap<(usize, usize), Arc<Entry>>>);

/// One connection, a UDP socket, or one that listens.
#[derive(Debug)]
pub(crate) struct Entry {
    kind: Kind,
    /// The peer's; of a socket without one, its own.
    address: String,
    /// On the store's clock; written by the connection's worker.
    pub(crate) last_command_ms: AtomicU64,
    /// A [`ConnState`]; written by the connection's worker.
    state: AtomicU8,
}

#[derive(Debug)]
enum Kind {
    Listener,
    Udp,
    Connection { local: String },
}

/// What a connection is at, in memcached's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnState {
    /// It waits for a command.
    Read,
    /// A command is being carried out.
    Command,
    /// It waits for the rest of a data block.
    Data,
    /// It waits for the rest of a data block that nobody wants.
    Swallow,
    /// It is told what others do.
    Watch,
}

impl Entry {
    pub(crate) fn udp(address: SocketAddr, now: Now) -> Self {
        Self::new(Kind::Udp, format!("udp:{address}"), now)
    }

    pub(crate) fn listener(address: &Address, now: Now) -> Self {
        Self::new(Kind::Listener, name(Some(address)), now)
    }

    pub(crate) fn connection(peer: Option<&Address>, local: Option<&Address>, now: Now) -> Self {
        Self::new(Kind::Connection { local: name(local) }, name(peer), now)
    }

    fn new(kind: Kind, address: String, now: Now) -> Self {
        let state = ConnState::Read as u8;
        Self { kind, address, last_command_ms: now.store_ms.into(), state: state.into() }
    }

    #[inline]
    pub(crate) fn set_state(&self, state: ConnState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    fn state(&self) -> &'static str {
        if matches!(self.kind, Kind::Listener) {
            return "conn_listening";
        }
        match self.state.load(Ordering::Relaxed) {
            state if state == ConnState::Command as u8 => "conn_parse_cmd",
            state if state == ConnState::Data as u8 => "conn_nread",
            state if state == ConnState::Swallow as u8 => "conn_swallow",
            state if state == ConnState::Watch as u8 => "conn_watch",
            _ => "conn_read",
        }
    }
}

/// As memcached writes an address. A client of a unix socket has none.
fn name(address: Option<&Address>) -> String {
    match address {
        Some(Address::Tcp(address @ SocketAddr::V4(_))) => format!("tcp:{address}"),
        Some(Address::Tcp(address @ SocketAddr::V6(_))) => format!("tcp6:{address}"),
        Some(unix @ Address::Unix(_)) => unix.to_string(),
        None => "unix:".to_owned(),
    }
}

impl Registry {
    pub(crate) fn enter(&self, worker: usize, index: usize, entry: Arc<Entry>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((worker, index), entry);
    }

    pub(crate) fn remove(&self, worker: usize, index: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(worker, index));
    }
}

/// The number that a connection is known by to the outside, while it lasts. Tools want one number; descriptors
/// are the loop's business. Behind the workers and UDP come the sockets that listen.
pub(crate) fn number_of(engine: &Engine, worker: usize, index: usize) -> usize {
    index * (engine.counters.len() + 1) + worker
}

/// Enters the sockets that listen; they stay.
pub(crate) fn enter_listeners(engine: &Engine, addresses: &[Address]) {
    let now = engine.now();
    for (index, address) in addresses.iter().enumerate() {
        engine.registry.enter(engine.counters.len(), index, Arc::new(Entry::listener(address, now)));
    }
}

pub(super) fn write(cx: &Context<'_>, out: &mut Vec<u8>) {
    let entries = cx.engine.registry.0.lock().unwrap_or_else(PoisonError::into_inner);
    for (&(worker, index), entry) in entries.iter() {
        let id = number_of(cx.engine, worker, index);
        let idle_ms = cx.now.store_ms.saturating_sub(entry.last_command_ms.load(Ordering::Relaxed));
        if let Kind::Udp = entry.kind {
            put_stat(out, format_args!("{id}:UDP"), "UDP");
        }
        put_stat(out, format_args!("{id}:addr"), &entry.address);
        if let Kind::Connection { local } = &entry.kind {
            put_stat(out, format_args!("{id}:listen_addr"), local);
        }
        put_stat(out, format_args!("{id}:state"), entry.state());
        put_stat(out, format_args!("{id}:secs_since_last_cmd"), idle_ms / 1000);
    }
}
