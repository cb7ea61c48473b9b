//! Processes started by `doled up` end with it, however it ends.
//!
//! The kernel sends the signal when the parent's thread dies; a parent that died before the request is seen by
//! comparing its pid.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Set by the parent: its pid.
const PARENT_ENV: &str = "DOLED_PARENT_PID";

/// Marks a command so that its process ends when this one does.
pub(crate) fn tie(command: &mut Command) {
    command.env(PARENT_ENV, std::process::id().to_string());
}

/// In the child: asks the kernel for a SIGTERM when the parent dies. Does nothing in an untied process.
pub(crate) fn die_with_parent() -> Result<()> {
    let Ok(value) = env::var(PARENT_ENV) else { return Ok(()) };
    let parent: i32 =
        value.parse().with_context(|| format!("{PARENT_ENV}=\"{value}\" is not a process id"))?;
    if getppid().map(rustix::process::Pid::as_raw_pid) == Some(parent) {
        set_parent_process_death_signal(Some(Signal::TERM)).context("tie to the parent process")?;
    }
    // A grandchild (the node under its guardian) inherits the variable and has another parent: it is tied by its
    // guardian. Only a process whose parent is gone for good must end.
    if getppid().map(rustix::process::Pid::as_raw_pid) == Some(1) && parent != 1 {
        bail!("the process {parent} that started this one is gone");
    }
    Ok(())
}
