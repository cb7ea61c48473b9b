//! How a node is set up: plain values, checked by whoever read them from flags or files.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use proto::{Incarnation, NodeId};
use stdx::ByteSize;

use crate::auth_file::AuthFile;
use crate::discovery::Discovery;
use crate::session::Credentials;
use crate::tls::{ListenerTls, Tls};

/// A node's options; the default is memcached's, on any free port of loopback.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen on TCP; port 0 takes any free one.
    pub listen: Vec<SocketAddr>,
    /// Where to receive UDP datagrams (`-U`); port 0 takes any free one. Never every address.
    pub udp: Vec<SocketAddr>,
    /// A unix socket to listen on.
    pub unix_socket: Option<UnixSocket>,
    /// Connections that may wait to be accepted (`-b`).
    pub backlog: u32,
    /// Memory for items (`-m`).
    pub memory: ByteSize,
    /// Largest item as memcached counts it (`-I`).
    pub item_size_max: ByteSize,
    /// False: answer errors when memory is full (`-M`).
    pub evict: bool,
    /// Worker threads (`-t`), at least 1.
    pub threads: usize,
    /// Connections at the same time (`-c`), of all listeners.
    pub max_connections: usize,
    /// True: a connection too many gets an error; false: it waits (`-o no_maxconns_fast`).
    pub reject_when_full: bool,
    /// Whether `stats` names what memcached counts of its crawler (not `-o no_lru_crawler`).
    pub crawler_stats: bool,
    /// Whether `stats` names what memcached counts of its LRU lists (not `-o no_lru_maintainer`).
    pub lru_stats: bool,
    /// What connections may speak (`-B`).
    pub protocol: Protocol,
    /// Those of `listen` and `udp` that speak something else.
    pub listen_protocols: Vec<(SocketAddr, Protocol)>,
    /// Requests of one connection before others have their turn (`-R`), at least 1.
    pub requests_per_turn: usize,
    /// How much is said on standard error (`-v`).
    pub verbosity: u8,
    /// Connections that send nothing for so long are closed; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Allows the command `shutdown` (`-A`).
    pub shutdown_enabled: bool,
    /// Allows the command `flush_all` (not `-F`).
    pub flush_enabled: bool,
    /// Allows `lru_crawler metadump` and `mgdump` (not `-X`).
    pub dump_enabled: bool,
    /// Counts from the start by the part of a key before this byte (`-D`); `None`: before `:`, when `stats detail on`
    /// asks for it.
    pub prefix_delimiter: Option<u8>,
    /// Allows the command `watch` (not `-W`).
    pub watch_enabled: bool,
    /// What a watcher's lines may take that it was not sent yet; more are skipped (`-o watcher_logbuf_size`).
    pub watcher_log_len: ByteSize,
    /// What a worker's lines for watchers may take in one turn; more are dropped (`-o worker_logbuf_size`).
    pub worker_log_len: ByteSize,
    /// Answers `stats sizes` from the start (`-o track_sizes`).
    pub track_sizes: bool,
    /// Allows the command `debugtime`, for tests of clients: it makes items expire early.
    pub debug_time_enabled: bool,
    /// Answers `config get cluster`; `None`: answered as memcached does, which has no such word.
    pub discovery: Option<Discovery>,
    /// Who may use the node: with it nothing is spoken but the binary protocol, and there nothing is done before
    /// SASL PLAIN. `None`: everybody.
    pub sasl: Option<Credentials>,
    /// Who may use the node (`-Y`): with it nothing is spoken but the text protocol, and nothing is done on any
    /// connection before a password was shown. `None`: everybody.
    pub auth_file: Option<AuthFile>,
    /// TLS on the TCP addresses of `listen` (`-Z`); `None`: plain.
    pub tls: Option<Tls>,
    /// Those of `listen` with a rule of their own.
    pub listen_tls: Vec<(SocketAddr, ListenerTls)>,
    /// Items are written there when the node ends gracefully, and taken back from there at the start (`-e`).
    pub memory_file: Option<PathBuf>,
    /// `None`: a memcached. Else only owned buckets are served.
    pub managed: Option<ManagedOptions>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            udp: Vec::new(),
            unix_socket: None,
            backlog: 1024,
            memory: ByteSize::mib(64),
            item_size_max: ByteSize::mib(1),
            evict: true,
            threads: 4,
            max_connections: 1024,
            reject_when_full: true,
            crawler_stats: true,
            lru_stats: true,
            protocol: Protocol::Auto,
            listen_protocols: Vec::new(),
            requests_per_turn: crate::limits::REQUESTS_PER_TURN,
            verbosity: 0,
            idle_timeout: None,
            shutdown_enabled: false,
            flush_enabled: true,
            dump_enabled: true,
            prefix_delimiter: None,
            watch_enabled: true,
            watcher_log_len: ByteSize::kib(256),
            worker_log_len: ByteSize::kib(64),
            track_sizes: false,
            debug_time_enabled: false,
            discovery: None,
            sasl: None,
            auth_file: None,
            tls: None,
            listen_tls: Vec::new(),
            memory_file: None,
            managed: None,
        }
    }
}

/// What connections may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Each connection's first byte tells.
    Auto,
    /// Text only.
    Ascii,
    /// Binary only.
    Binary,
}

impl ServerOptions {
    /// What is spoken at an address, as `listen` or `udp` names it.
    pub(crate) fn protocol_at(&self, address: SocketAddr) -> Protocol {
        let own = self.listen_protocols.iter().find(|(listed, _)| *listed == address);
        own.map_or(self.protocol, |(_, protocol)| *protocol)
    }
}

/// A unix socket to listen on.
#[derive(Clone, Debug)]
pub struct UnixSocket {
    /// Its path.
    pub path: PathBuf,
    /// Permission bits, such as `0o700`.
    pub mode: u32,
}

/// Two ways to own buckets.
#[derive(Clone, Debug)]
pub enum ManagedOptions {
    /// By `own` and `disown` on a listener of their own: without a lease, so without the promise.
    ByHand {
        /// Where `own` and `disown` are understood; port 0 takes any free one.
        admin: SocketAddr,
        /// The name that the handshake tells.
        node: NodeId,
    },
    /// Under a manager's lease.
    Leased(Leased),
}

/// How a node is a member of a cluster.
#[derive(Clone, Debug)]
pub struct Leased {
    /// `host:port` of each manager, at least one; names are resolved at each attempt.
    pub managers: Vec<String>,
    /// Unique in the cluster.
    pub node: NodeId,
    /// Directory with the lock that proves this life; made if missing. `None`: no lock, which proves nothing.
    pub data: Option<PathBuf>,
    /// Where clients reach the node, `host:port`; `None`: the first address listened on.
    pub advertise: Option<String>,
    /// Chosen by the guardian, who reports the death of exactly this life; `None`: random, and no guardian.
    pub incarnation: Option<Incarnation>,
}
