//! A real manager on ephemeral ports of loopback: nodes poll it, HTTP clients ask it, it is stopped and
//! started again on its file.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod fake_node;
mod harness;
mod hostile;
mod http;
mod ledger;
mod ownership;
mod restart;
mod start;
