//! The node: a memcached server, alone or owning buckets of a cluster.
//!
//! [`Node::start`] binds every address, starts the workers (`net`) over one [`engine::Engine`], and on a leased
//! node the control thread that polls the manager. A worker gives each connection a [`session::Session`], which
//! turns received bytes into replies and does no I/O; tests drive it in memory.
//!
//! **Invariants**: no key command of a managed node runs without the check of bucket, lease and generation, and
//! a mutation makes it under the lock of its bucket; the clock of that check is read after the bytes were
//! received; a refused data block is swallowed. The rules of ownership live in `cluster::node`.

pub mod auth_file;
pub mod clock;
pub mod control;
pub mod counters;
pub mod discovery;
pub mod engine;
mod exptime;
pub mod guardian;
pub mod limits;
mod lock_file;
mod log;
pub mod managed;
mod memory_file;
mod node;
pub mod options;
pub mod session;
mod stats;
mod stop;
mod sync;
pub mod tls;
mod udp;
mod verbose;
pub mod watch;
mod worker;

pub use auth_file::{AuthContentError, AuthFile, AuthFileError};
pub use discovery::{Discovery, DiscoveryError, ListError};
pub use memory_file::MemoryFileError;
pub use node::{Node, StartError, StopReason};
pub use options::{Leased, ManagedOptions, Protocol, ServerOptions, UnixSocket};
pub use session::{Credentials, CredentialsError};
pub use stop::StopHandle;
pub use tls::{ClientAuth, KeyFormat, ListenerTls, Tls, TlsError, TlsOptions};

pub use proto::VERSION;
