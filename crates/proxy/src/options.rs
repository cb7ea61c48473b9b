//! How a proxy is set up: plain values, checked by whoever read them from flags or files.

use std::net::SocketAddr;

use route::RouteOptions;

/// A proxy's options.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Where to listen; port 0 takes any free one.
    pub listen: Vec<SocketAddr>,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// Client connections at the same time.
    pub max_connections: usize,
    /// What stands behind it.
    pub target: Target,
    /// Time-outs, thresholds, replicas.
    pub route: RouteOptions,
    /// How much is said on standard error.
    pub verbosity: u8,
}

/// What stands behind a proxy.
#[derive(Clone, Debug)]
pub enum Target {
    /// A cluster, found through its managers' `host:port`.
    Managed {
        /// At least one.
        managers: Vec<String>,
    },
    /// A static list of memcached servers' `host:port`; their order matters.
    Pool {
        /// At least one.
        servers: Vec<String>,
    },
}
