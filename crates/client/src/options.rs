//! How a client is set up.

use route::RouteOptions;

/// Options of a client.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Time-outs and thresholds. `replicas` must be 1: the library does not replicate yet.
    pub route: RouteOptions,
    /// Largest value in bytes; a longer one is not sent, and a server that announces one is disconnected. Servers have
    /// a limit of their own (`-I`).
    pub value_len_max: usize,
}

impl Default for ClientOptions {
    /// memcached's 1 MiB, and the defaults of routing.
    fn default() -> Self {
        Self { route: RouteOptions::default(), value_len_max: 1 << 20 }
    }
}

/// What a client speaks to.
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
