//! How a manager is started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::log::Verbosity;

/// Options of a manager; see [`crate::Manager::start`].
#[derive(Clone, Debug)]
pub struct ManagerOptions {
    /// For control messages and HTTP alike. Port 0: any free one. Only loopback, unless `insecure_listen`.
    pub listen: SocketAddr,
    /// Allow `listen` to be an address that other machines reach, though control messages are not
    /// authenticated: whoever reaches it can take nodes' buckets away.
    pub insecure_listen: bool,
    /// Where the state is.
    pub storage: Storage,
    /// Begin a new cluster where there is no state. Without it that is an error.
    pub bootstrap: bool,
    /// Let unknown nodes in with their first poll. Without it they are refused until they are added.
    pub auto_add: bool,
    /// L: how long a node may serve after it sent a poll that was answered. 200 ms to 1 hour.
    pub lease: Duration,
    /// What goes to stderr.
    pub verbosity: Verbosity,
}

/// Where a manager's state is.
#[derive(Clone, Debug)]
pub enum Storage {
    /// One file in this directory, fsynced and locked.
    Embedded(PathBuf),
    /// In memory, gone with the process: for trials. Always a new cluster.
    Memory,
}

impl ManagerOptions {
    /// The defaults: embedded state in `data`, a lease of 10 s, nothing implicit.
    pub fn new(listen: SocketAddr, data: PathBuf) -> Self {
        Self {
            listen,
            insecure_listen: false,
            storage: Storage::Embedded(data),
            bootstrap: false,
            auto_add: false,
            lease: cluster::lease::LEASE,
            verbosity: Verbosity::Changes,
        }
    }
}
