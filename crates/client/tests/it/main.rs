//! The client against real nodes and a real manager, in this process, on any free ports.

#![allow(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

mod commands;
mod failures;
mod servers;
