//! A running proxy.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use net::{AcceptorOptions, Address, BindError, ConnectionStats, Listener, Workers, WorkersOptions};
use proto::ClusterId;
use proto::reply::text;
use route::{PoolError, Router};
use stdx::{Instant, clock};

use crate::control::{Ask, Control, News};
use crate::counters::Counters;
use crate::limits::{NAME_TTL, REPORTS_MAX};
use crate::options::{ProxyOptions, Target};
use crate::worker::Worker;

/// A running proxy. Dropping it does not stop it.
#[derive(Debug)]
pub struct Proxy {
    workers: Workers<News>,
    addresses: Vec<Address>,
}

/// Why a proxy does not start. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No worker.
    #[error("0 worker threads cannot serve; at least 1 is needed")]
    NoThreads,
    /// No manager.
    #[error("a managed cluster needs the address of at least one manager")]
    NoManagers,
    /// Managed buckets have no copies.
    #[error("{0} replicas: managed buckets have no copies yet; only a static pool replicates")]
    ManagedReplicas(usize),
    /// The list of servers.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// An address that can't be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Threads or descriptors.
    #[error("cannot start the workers: {0}")]
    Threads(#[from] io::Error),
}

/// What all threads of a proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) started: Instant,
    pub(crate) counters: Vec<Arc<Counters>>,
    verbosity: u8,
    connections: OnceLock<Arc<ConnectionStats>>,
    /// Zero until the first map.
    cluster: AtomicU64,
    /// Resolved names of backends, and until when they are believed: a node may come back with another address.
    names: Mutex<HashMap<String, (SocketAddr, Instant)>>,
}

impl Proxy {
    /// Binds every address and starts to serve. Until the first map has come, reads miss and writes wait.
    pub fn start(options: &ProxyOptions) -> Result<Self, StartError> {
        let managers = check(options)?;
        let mut listeners = Vec::new();
        for address in &options.listen {
            listeners.push(Listener::tcp(*address, options.backlog, 0)?);
        }
        let addresses = listeners.iter().map(|listener| listener.address().clone()).collect();
        let shared = Arc::new(Shared::new(options));
        let (asking, asks) = sync_channel::<Ask>(REPORTS_MAX);
        let mut routers = routers(options)?;
        let loops = WorkersOptions {
            name: "proxy",
            threads: options.threads,
            acceptor: AcceptorOptions {
                max_connections: options.max_connections,
                reject_text: text::TOO_MANY_CONNECTIONS,
                wait_when_full: false,
            },
            idle_timeout: None,
        };
        let workers = Workers::start(loops, listeners, |number| {
            let router = routers.pop().expect("a router was made for each worker");
            Worker::new(number, router, Arc::clone(&shared), asking.clone())
        })?;
        // Set once, here.
        let _ = shared.connections.set(Arc::clone(workers.connection_stats()));
        if !managers.is_empty() {
            let mailboxes =
                (0..workers.count()).filter_map(|number| workers.mailbox(number).cloned()).collect();
            let control = Control::new(managers, asks, mailboxes, shared);
            std::thread::Builder::new().name("proxy-control".to_owned()).spawn(move || control.run())?;
        }
        Ok(Self { workers, addresses })
    }

    /// Where it listens, with the ports that were chosen.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The first TCP address.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.addresses.iter().find_map(|address| match address {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        })
    }

    /// Stops: no new connections, and what is written is sent.
    pub fn stop(self) {
        self.workers.stop();
        self.workers.join();
    }
}

impl Shared {
    pub(crate) fn new(options: &ProxyOptions) -> Self {
        Self {
            started: clock::now(),
            counters: (0..options.threads).map(|_| Arc::default()).collect(),
            verbosity: options.verbosity,
            connections: OnceLock::new(),
            cluster: AtomicU64::new(0),
            names: Mutex::default(),
        }
    }

    /// Client connections now, if that is known.
    pub(crate) fn connections(&self) -> Option<u64> {
        self.connections.get().map(|stats| stats.current.load(Ordering::Relaxed))
    }

    /// The cluster, once a map has come.
    pub(crate) fn cluster(&self) -> ClusterId {
        ClusterId(self.cluster.load(Ordering::Relaxed))
    }

    pub(crate) fn set_cluster(&self, cluster: ClusterId) {
        self.cluster.store(cluster.0, Ordering::Relaxed);
    }

    /// The socket address of a `host:port`, for a new connection. A name is resolved by the thread that needs it first,
    /// which may take a moment, and others do not wait for that; a name that could not be resolved is tried again with
    /// the next connection.
    pub(crate) fn resolve(&self, address: &str) -> Option<SocketAddr> {
        if let Ok(address) = address.parse() {
            return Some(address);
        }
        let names = || self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names().get(address).copied().filter(|(_, until)| *until > clock::now());
        if let Some((found, _)) = known {
            return Some(found);
        }
        let found = address.to_socket_addrs().ok()?.next()?;
        names().insert(address.to_owned(), (found, clock::now() + NAME_TTL));
        Some(found)
    }

    /// A line for the operator.
    pub(crate) fn log(&self, line: std::fmt::Arguments<'_>) {
        if self.verbosity > 0 {
            use std::io::Write;
            // Nobody to tell when standard error is gone.
            let _ = writeln!(io::stderr(), "proxy: {line}");
        }
    }
}

fn check(options: &ProxyOptions) -> Result<Vec<String>, StartError> {
    if options.threads == 0 {
        return Err(StartError::NoThreads);
    }
    match &options.target {
        Target::Pool { .. } => Ok(Vec::new()),
        Target::Managed { .. } if options.route.replicas > 1 => {
            Err(StartError::ManagedReplicas(options.route.replicas))
        }
        Target::Managed { managers } if managers.is_empty() => Err(StartError::NoManagers),
        Target::Managed { managers } => Ok(managers.clone()),
    }
}

fn routers(options: &ProxyOptions) -> Result<Vec<Router>, StartError> {
    let make = |_| {
        let seed = clock::random_u64();
        match &options.target {
            Target::Managed { .. } => Ok(Router::managed(options.route, seed)),
            Target::Pool { servers } => Ok(Router::pool(options.route, servers, seed)?),
        }
    };
    (0..options.threads).map(make).collect()
}
