//! The steps that are one cargo call each.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// `cargo fmt --check`.
pub(crate) fn fmt() -> Result<()> {
    call(cargo(&["fmt", "--all", "--check"]))
}

/// `cargo clippy` on everything.
pub(crate) fn clippy() -> Result<()> {
    call(cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
}

/// `cargo doc` of our crates.
pub(crate) fn doc() -> Result<()> {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    call(command)
}

/// All Rust tests; doc tests too.
pub(crate) fn test() -> Result<()> {
    call(cargo(&["test", "--workspace", "--no-fail-fast"]))
}

/// A call of the cargo that runs us.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Runs a command to its end; a failure names it.
pub(crate) fn call(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
