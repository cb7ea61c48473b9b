//! The client against real nodes and a real manager, in this process, on any free ports.

#![allow(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

mod by_hand;
mod commands;
mod failures;
mod fake_manager;
mod servers;
