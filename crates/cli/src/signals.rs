//! Waiting for the signals that end a process.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Registers for SIGINT and SIGTERM; call it before threads start work.
pub(crate) fn register() -> Result<Signals> {
    Signals::new([SIGINT, SIGTERM]).context("register signal handlers")
}

/// Blocks until one of them arrives.
pub(crate) fn wait(signals: &mut Signals) {
    let _ = signals.forever().next();
}
