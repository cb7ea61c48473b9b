//! A running node: everything bound and started, and its orderly end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use cluster::node::NodeOptions;
use net::{
    AcceptorOptions, Address, BindError, DatagramSocket, Datagrams, Listener, TlsAcceptor, Workers,
    WorkersOptions,
};
use proto::control::LockIdentity;
use proto::reply::text;
use proto::{ClusterId, Incarnation, NodeId};
use stdx::clock;

use crate::clock::Start;
use crate::control::Control;
use crate::engine::{Engine, Network, WatchNews, store_options};
use crate::guardian::{self, GuardianGone};
use crate::lock_file::{LockError, LockFile};
use crate::managed::Managed;
use crate::memory_file::{MemoryFile, MemoryFileError, Moment};
use crate::options::{Leased, ManagedOptions, Protocol, ServerOptions};
use crate::stats::connections::enter_listeners;
use crate::tls::ListenerTls;
use crate::udp;
use crate::verbose;
use crate::worker::{ADMIN_LISTENER, Worker, data_tag};

pub use crate::stop::StopReason;

/// A running node. It runs until [`Node::wait`] returns; dropping it does not stop it.
#[derive(Debug)]
pub struct Node {
    engine: Arc<Engine>,
    workers: Workers<WatchNews>,
    udp: Option<Datagrams>,
    control: Option<Control>,
    addresses: Vec<Address>,
    udp_addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    memory_file: Option<MemoryFile>,
    /// Held while the process lives.
    _lock: Option<LockFile>,
}

/// Why a node does not start. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No address, no unix socket.
    #[error("there is nothing to listen on: no address and no unix socket")]
    NothingToListenOn,
    /// No worker.
    #[error("0 worker threads cannot serve; at least 1 is needed")]
    NoThreads,
    /// An address that can't be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Clients can't be told where the node is.
    #[error(
        "{0} is no address that clients can connect to: say where they reach this node (--advertise HOST:PORT)"
    )]
    NoAdvertise(String),
    /// Nobody could speak to it.
    #[error("a managed node speaks text only, so it can be neither binary only nor ask for a password")]
    ManagedBinary,
    /// A password that nobody could show.
    #[error("a password can be asked for in the binary protocol only, and the node is to speak text only")]
    SaslAscii,
    /// A password that nobody could show.
    #[error(
        "an auth file asks for a password in the text protocol, which this node is not to speak (SASL, binary only)"
    )]
    AuthBinary,
    /// Proxies and clients of a cluster show no password.
    #[error("a managed node can't ask for a password: nobody in a cluster could show one")]
    ManagedAuth,
    /// A password that a datagram would not have shown.
    #[error("a node that asks for a password serves no UDP: each datagram stands for itself")]
    UdpPassword,
    /// Datagrams are plain.
    #[error(
        "a node with TLS serves no UDP: datagrams would be plain, and nobody would have to show a certificate"
    )]
    UdpTls,
    /// Datagrams can come late or twice.
    #[error("a managed node serves no UDP: a datagram can come late or twice, and bring an old value back")]
    UdpManaged,
    /// Who forges a sender could make it send to whomever he wants.
    #[error("{0} is every address of this machine: UDP is served on addresses that are named")]
    UdpEverywhere(SocketAddr),
    /// Proxies and clients of a cluster speak no TLS.
    #[error("a managed node can't ask for TLS: nobody in a cluster speaks it yet")]
    ManagedTls,
    /// An address with a TLS rule of its own on a node without TLS, or client certificates that nobody could judge.
    #[error("{address}: {reason}")]
    ListenerTls {
        /// The address.
        address: SocketAddr,
        /// What is missing.
        reason: String,
    },
    /// Its items would be from a time before others owned its buckets.
    #[error(
        "-e (--memory-file): a managed node can't keep its items over a restart: it owns nothing when it starts"
    )]
    ManagedMemoryFile,
    /// The file for the items.
    #[error(transparent)]
    MemoryFile(#[from] MemoryFileError),
    /// A leased node without managers.
    #[error("a leased node needs the address of at least one manager")]
    NoManagers,
    /// The process that watches over this one has ended.
    #[error(transparent)]
    Guardian(#[from] GuardianGone),
    /// Threads or descriptors.
    #[error("cannot start the workers: {0}")]
    Threads(#[from] io::Error),
}

impl Node {
    /// Binds every address and starts to serve. A leased node owns nothing until its manager says so.
    pub fn start(options: ServerOptions) -> Result<Self, StartError> {
        if options.threads == 0 {
            return Err(StartError::NoThreads);
        }
        check_protocol(&options)?;
        check_udp(&options)?;
        let lock = take_lock(&options)?;
        let memory_file = take_memory_file(&options)?;
        let (mut listeners, admin) = bind(&options)?;
        let udp_sockets =
            options.udp.iter().map(|&address| DatagramSocket::udp(address)).collect::<Result<Vec<_>, _>>()?;
        let udp_addresses: Vec<SocketAddr> = udp_sockets.iter().map(DatagramSocket::address).collect();
        let addresses: Vec<Address> = listeners.iter().map(|listener| listener.address().clone()).collect();
        let engine = Arc::new(make_engine(options, memory_file.as_ref()));
        let control = match &engine.options.managed {
            Some(ManagedOptions::Leased(leased)) => {
                let node = node_options(&engine, leased, lock.as_ref(), &addresses)?;
                Some(Control::new(Arc::clone(&engine), node, leased.managers.clone()))
            }
            _ => None,
        };
        let admin_address = admin.as_ref().map(|listener| listener.address().clone());
        listeners.extend(admin);
        verbose::listening(&engine, listeners.iter());
        let workers = start_workers(&engine, listeners)?;
        let udp = if udp_sockets.is_empty() { None } else { Some(udp::start(&engine, udp_sockets)?) };
        let udp_stats = udp.iter().map(|udp| Arc::clone(udp.stats()));
        engine.set_network(Network {
            connections: Arc::clone(workers.connection_stats()),
            loops: workers.loop_stats().iter().cloned().chain(udp_stats).collect(),
            ports: addresses.iter().filter_map(tcp).collect(),
            udp_ports: udp_addresses.clone(),
            mailboxes: (0..workers.count()).filter_map(|number| workers.mailbox(number).cloned()).collect(),
        });
        enter_listeners(&engine, &addresses);
        if let Some(control) = &control {
            control.start()?;
        }
        let admin = admin_address.as_ref().and_then(tcp);
        Ok(Self { engine, workers, udp, control, addresses, udp_addresses, admin, memory_file, _lock: lock })
    }

    /// Where it listens, in the order of the options, the unix socket last.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Where it receives datagrams, in the order of the options.
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        &self.udp_addresses
    }

    /// The first TCP address, with the port that was chosen.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.addresses.iter().find_map(tcp)
    }

    /// Where `own` and `disown` are understood, on a node that is owned by hand.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// This life of a managed node.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.engine.managed.as_ref().map(|managed| managed.incarnation)
    }

    /// What all workers share, for figures and tests.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Asks the node to stop, from any thread.
    pub fn stop_handle(&self) -> crate::StopHandle {
        self.engine.stop.clone()
    }

    /// Asks the node to stop; [`Node::wait`] does it.
    pub fn stop(&self) {
        self.engine.stop.stop();
    }

    /// Waits until the node is asked to stop, and stops it: everything owned is disowned at once and given
    /// back to the manager, then the connections are flushed and closed, and the items written, if asked for.
    pub fn wait(self) -> StopReason {
        let reason = self.engine.stop.wait();
        if let Some(control) = &self.control {
            control.release();
        }
        self.workers.stop();
        if let Some(udp) = &self.udp {
            udp.stop();
        }
        self.workers.join();
        if let Some(udp) = self.udp {
            udp.join();
        }
        match self.memory_file {
            Some(file) if reason == StopReason::Gracefully => file.save(&self.engine),
            Some(file) => file.give_up(),
            None => {}
        }
        reason
    }
}

fn take_memory_file(options: &ServerOptions) -> Result<Option<MemoryFile>, StartError> {
    if options.memory_file.is_some() && options.managed.is_some() {
        return Err(StartError::ManagedMemoryFile);
    }
    Ok(options.memory_file.as_deref().map(MemoryFile::take).transpose()?)
}

/// With the items of an earlier process, if there are any.
fn make_engine(options: ServerOptions, memory_file: Option<&MemoryFile>) -> Engine {
    let seed = clock::random_u64();
    let now = Moment::now();
    let store_options = store_options(&options, seed);
    if let Some(loaded) = memory_file.and_then(|file| file.load(&store_options, &now, options.verbosity > 0))
    {
        let start = Start::resumed(now.lease, now.unix_ms, loaded.store_ms);
        let engine = Engine::with_store(options, None, start, loaded.store);
        engine.flush.later(loaded.flush_at_ms);
        return engine;
    }
    let start = Start::now();
    let managed = options.managed.as_ref().map(|managed| make_managed(managed, start));
    Engine::new(options, managed, start, seed)
}

fn check_protocol(options: &ServerOptions) -> Result<(), StartError> {
    let own = options.listen_protocols.iter().map(|(_, protocol)| *protocol);
    own.chain([options.protocol]).try_for_each(|protocol| check_one_protocol(options, protocol))
}

fn check_one_protocol(options: &ServerOptions, protocol: Protocol) -> Result<(), StartError> {
    let is_binary_only = protocol == Protocol::Binary || options.sasl.is_some();
    match protocol {
        _ if is_binary_only && options.auth_file.is_some() => Err(StartError::AuthBinary),
        _ if options.tls.is_some() && options.managed.is_some() => Err(StartError::ManagedTls),
        _ if options.auth_file.is_some() && options.managed.is_some() => Err(StartError::ManagedAuth),
        _ if is_binary_only && options.managed.is_some() => Err(StartError::ManagedBinary),
        Protocol::Ascii if options.sasl.is_some() => Err(StartError::SaslAscii),
        _ => Ok(()),
    }
}

fn check_udp(options: &ServerOptions) -> Result<(), StartError> {
    if options.udp.is_empty() {
        return Ok(());
    }
    if options.sasl.is_some() || options.auth_file.is_some() {
        return Err(StartError::UdpPassword);
    }
    if options.tls.is_some() {
        return Err(StartError::UdpTls);
    }
    if options.managed.is_some() {
        return Err(StartError::UdpManaged);
    }
    let everywhere = options.udp.iter().find(|address| address.ip().is_unspecified());
    everywhere.map_or(Ok(()), |address| Err(StartError::UdpEverywhere(*address)))
}

fn take_lock(options: &ServerOptions) -> Result<Option<LockFile>, StartError> {
    let Some(ManagedOptions::Leased(leased)) = &options.managed else { return Ok(None) };
    if leased.managers.is_empty() {
        return Err(StartError::NoManagers);
    }
    if leased.incarnation.is_some() {
        guardian::tie_to_guardian()?;
    }
    Ok(leased.data.as_deref().map(LockFile::take).transpose()?)
}

/// Data listeners, and the admin listener if there is one.
fn bind(options: &ServerOptions) -> Result<(Vec<Listener>, Option<Listener>), StartError> {
    let mut listeners = Vec::new();
    for &address in &options.listen {
        let tls = listener_tls(options, address)?;
        let listener = Listener::tcp(address, options.backlog, data_tag(options.protocol_at(address)))?;
        listeners.push(match tls {
            Some(tls) => listener.with_tls(tls),
            None => listener,
        });
    }
    if let Some(socket) = &options.unix_socket {
        listeners.push(Listener::unix(
            &socket.path,
            socket.mode,
            options.backlog,
            data_tag(options.protocol),
        )?);
    }
    if listeners.is_empty() && options.udp.is_empty() {
        return Err(StartError::NothingToListenOn);
    }
    let admin = match options.managed {
        Some(ManagedOptions::ByHand { admin, .. }) => {
            Some(Listener::tcp(admin, options.backlog, ADMIN_LISTENER)?)
        }
        _ => None,
    };
    Ok((listeners, admin))
}

/// What connections to an address speak TLS from, if they do.
fn listener_tls(options: &ServerOptions, address: SocketAddr) -> Result<Option<TlsAcceptor>, StartError> {
    let rule = options.listen_tls.iter().find(|(listed, _)| *listed == address).map(|(_, rule)| *rule);
    let failed = |reason| StartError::ListenerTls { address, reason };
    match (&options.tls, rule) {
        (Some(tls), rule) => tls.acceptor(rule).map_err(|error| failed(error.to_string())),
        (None, None | Some(ListenerTls::Off)) => Ok(None),
        (None, Some(_)) => Err(failed("TLS is not enabled".to_owned())),
    }
}

fn make_managed(options: &ManagedOptions, start: Start) -> Managed {
    let random = Incarnation(clock::random_u64().max(1));
    let (node, incarnation, by_hand): (&NodeId, Incarnation, bool) = match options {
        ManagedOptions::ByHand { node, .. } => (node, random, true),
        ManagedOptions::Leased(leased) => (&leased.node, leased.incarnation.unwrap_or(random), false),
    };
    Managed::new(node.clone(), incarnation, by_hand, start, clock::random_u64())
}

fn node_options(
    engine: &Engine,
    leased: &Leased,
    lock: Option<&LockFile>,
    addresses: &[Address],
) -> Result<NodeOptions, StartError> {
    let address = match (&leased.advertise, addresses.iter().find_map(tcp)) {
        (Some(address), _) => address.clone(),
        (None, Some(bound)) if !bound.ip().is_unspecified() => bound.to_string(),
        (None, Some(bound)) => return Err(StartError::NoAdvertise(bound.to_string())),
        (None, None) => return Err(StartError::NoAdvertise("a unix socket".to_owned())),
    };
    let incarnation = engine.managed.as_ref().expect("a leased node is managed").incarnation;
    Ok(NodeOptions {
        node: leased.node.clone(),
        incarnation,
        cluster: ClusterId(0),
        address,
        lock: lock.map_or_else(LockIdentity::default, LockFile::identity),
        pid: std::process::id(),
    })
}

fn start_workers(engine: &Arc<Engine>, listeners: Vec<Listener>) -> io::Result<Workers<WatchNews>> {
    let options = WorkersOptions {
        name: "doled",
        threads: engine.options.threads,
        acceptor: AcceptorOptions {
            max_connections: engine.options.max_connections,
            reject_text: text::TOO_MANY_CONNECTIONS,
            wait_when_full: !engine.options.reject_when_full,
        },
        idle_timeout: engine.options.idle_timeout,
    };
    Workers::start(options, listeners, |number| Worker::new(Arc::clone(engine), number))
}

fn tcp(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    }
}
