//! The proxy over real sockets: before real nodes and a real manager, and before backends that do what a test says.

#![allow(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

mod cluster;
mod commands;
mod fake;
mod pool;
mod promise;
mod scripts;
mod servers;
mod socket;

/// The form of the node's scripts.
#[path = "../../../server/tests/node/script.rs"]
#[allow(dead_code, reason = "the proxy needs no substitution of clocks, and finds its scripts itself")]
mod script;
