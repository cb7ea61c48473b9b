//! The event loop of node and proxy: one epoll loop for each worker thread, connections, buffers, timers.
//!
//! An [`App`] is what a loop runs: it is told of opened connections, received bytes, messages and time-outs,
//! and acts through [`Io`]. [`Workers::start`] spawns the loops and an acceptor thread that hands new
//! connections to them in turn. A listener may speak TLS ([`TlsAcceptor`]): the app sees plain bytes all the same. `App` is a trait because node and proxy are two real implementations; it is
//! monomorphised, so nothing is boxed or called through a table per event.
//!
//! **Invariants**: a connection belongs to one loop for its whole life. In one turn of the loop a connection
//! is read at most once, its input is handed to the app at most twice, and its output is written at most once.
//! Whoever does not read its replies is not read from. Datagrams have no connections and so no place in the
//! loops: [`Datagrams`] serves them on a thread of its own. Everything has a limit ([`limits`]). Nothing here
//! knows of memcached.

pub mod acceptor;
pub mod address;
pub mod app;
mod conn;
pub mod datagrams;
mod event_loop;
pub mod io;
pub mod limits;
pub mod listener;
pub mod mailbox;
mod poller;
mod pool;
pub mod stats;
mod stream;
pub mod tls;
pub mod workers;

pub use acceptor::AcceptorOptions;
pub use address::Address;
pub use app::{App, CloseReason, Next, Origin, Received};
pub use conn::ConnId;
pub use datagrams::{DatagramSocket, Datagrams, Outlet};
pub use io::Io;
pub use listener::{BindError, Listener};
pub use mailbox::{Mailbox, MailboxFull};
pub use stats::{ConnectionStats, LoopStats};
pub use tls::{TlsAcceptor, TlsFault};
pub use workers::{Workers, WorkersOptions};
