//! A static list of servers. A server that is down keeps its keys: they miss, and go nowhere else.

use crate::ketama::Ketama;
use crate::limits::POOL_SERVERS_MAX;

use super::BackendId;

/// Why a list of servers is no pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// No server.
    #[error("a pool needs at least one server")]
    Empty,
    /// More than [`POOL_SERVERS_MAX`].
    #[error("{0} servers: a pool has at most {POOL_SERVERS_MAX}")]
    TooMany(usize),
    /// The same server twice.
    #[error("{0} stands twice in the pool")]
    Duplicate(String),
    /// Not `host:port`.
    #[error("\"{0}\" is not host:port")]
    Address(String),
    /// More places than servers, or none.
    #[error("{replicas} replicas over {servers} servers: 1 to {servers}")]
    Replicas {
        /// Asked for.
        replicas: usize,
        /// There.
        servers: usize,
    },
}

#[derive(Debug)]
pub(super) struct Pool {
    ring: Ketama,
    len: usize,
    replicas: usize,
}

impl Pool {
    pub(super) fn new(servers: &[String], replicas: usize) -> Result<Self, PoolError> {
        match servers.len() {
            0 => return Err(PoolError::Empty),
            len if len > POOL_SERVERS_MAX => return Err(PoolError::TooMany(len)),
            len if !(1..=len).contains(&replicas) => {
                return Err(PoolError::Replicas { replicas, servers: len });
            }
            _ => {}
        }
        let mut ring = Vec::new();
        for (index, server) in servers.iter().enumerate() {
            if servers[..index].contains(server) {
                return Err(PoolError::Duplicate(server.clone()));
            }
            let parts = server.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            let parsed = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?, 1)));
            ring.push(parsed.ok_or_else(|| PoolError::Address(server.clone()))?);
        }
        Ok(Self { ring: Ketama::new(&ring), len: servers.len(), replicas })
    }

    /// The server of the key's hash, and the next ones of the list that hold its copies.
    pub(super) fn places(&self, key: &[u8]) -> impl Iterator<Item = BackendId> + use<> {
        let (first, len) = (if self.len == 1 { 0 } else { self.ring.server(key) }, self.len);
        (0..self.replicas).map(move |place| BackendId(((first + place) % len) as u32))
    }
}
