//! The node's tests: scripts (`tests/*.test`) against sessions in memory and against the installed memcached,
//! and whole nodes over real sockets.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod binary;
mod dump;
mod guardian;
mod leased;
mod manager;
mod memory;
mod meta;
mod replay;
mod script;
mod scripts;
mod sockets;
mod tls;
mod udp;
mod watch;
