//! `cargo xtask bench node`: builds the node and the measuring program in release mode and runs the latter.

use std::process::Command;

use anyhow::Result;

use crate::steps::{call, cargo};

/// All flags are the measuring program's.
pub(crate) fn node(flags: &[&str]) -> Result<()> {
    call(cargo(&["build", "--release", "--quiet", "--package", "doled-cli", "--package", "doled-measure"]))?;
    let mut measure = Command::new("target/release/measure");
    measure.arg("node").args(flags);
    call(measure)
}
