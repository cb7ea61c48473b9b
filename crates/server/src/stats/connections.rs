//! `stats conns`: who is connected, and the UDP sockets, which memcached counts as connections too.
//!
//! Each worker enters and removes its connections; the answer reads all. The lock is taken once in a
//! connection's life and by `stats conns`, never for a request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proto::reply::put_stat;

use crate::clock::Now;
use crate::engine::{Context, Engine};

/// All connections, by worker and the connection's index there.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<BTreeMap<(usize, usize), Arc<Entry>>>);

/// One connection, or a UDP socket.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Of a UDP socket, its own address.
    pub(crate) peer: String,
    /// `None` for a UDP socket.
    pub(crate) local: Option<String>,
    /// On the store's clock; written by the connection's worker.
    pub(crate) last_command_ms: AtomicU64,
}

impl Entry {
    pub(crate) fn udp(address: SocketAddr, now: Now) -> Self {
        Self { peer: format!("udp:{address}"), local: None, last_command_ms: now.store_ms.into() }
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
/// are the loop's business.
pub(crate) fn number_of(engine: &Engine, worker: usize, index: usize) -> usize {
    index * engine.counters.len() + worker
}

pub(super) fn write(cx: &Context<'_>, out: &mut Vec<u8>) {
    let entries = cx.engine.registry.0.lock().unwrap_or_else(PoisonError::into_inner);
    for (&(worker, index), entry) in entries.iter() {
        let id = number_of(cx.engine, worker, index);
        let idle_ms = cx.now.store_ms.saturating_sub(entry.last_command_ms.load(Ordering::Relaxed));
        if entry.local.is_none() {
            put_stat(out, format_args!("{id}:UDP"), "UDP");
        }
        put_stat(out, format_args!("{id}:addr"), &entry.peer);
        match &entry.local {
            Some(local) => {
                put_stat(out, format_args!("{id}:listen_addr"), local);
                put_stat(out, format_args!("{id}:state"), "conn_parse_cmd");
            }
            None => put_stat(out, format_args!("{id}:state"), "conn_read"),
        }
        put_stat(out, format_args!("{id}:secs_since_last_cmd"), idle_ms / 1000);
    }
}
