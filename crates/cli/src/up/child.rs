//! One supervised process.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::plan::{BOOTSTRAP, Part};
use super::supervisor::Event;

/// A process that died sooner than this after its start is started again later and later.
const CRASH_WINDOW: Duration = Duration::from_secs(10);

/// The longest pause before a restart.
const RESTART_DELAY_MAX: Duration = Duration::from_secs(30);

/// A part and its process, if it runs.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) part: Part,
    pub(super) pid: Option<Pid>,
    started: Instant,
    /// Crashes in a row.
    crashes: u32,
    /// When to start it again.
    pub(super) restart_at: Option<Instant>,
}

impl Child {
    /// A part that does not run yet.
    pub(super) fn new(part: Part) -> Self {
        Self { part, pid: None, started: Instant::now(), crashes: 0, restart_at: None }
    }

    /// Starts the process; its end is reported as [`Event::Ended`] with `index`.
    pub(super) fn start(&mut self, index: usize, events: &Sender<Event>) -> Result<()> {
        let binary = std::env::current_exe().context("find this program's own file")?;
        let mut command = Command::new(&binary);
        // A process group of its own: Ctrl-C in a terminal reaches the supervisor alone, which ends all in order.
        command.args(&self.part.args).stdin(Stdio::null()).process_group(0);
        crate::parent::tie(&mut command);
        let mut process =
            command.spawn().with_context(|| format!("start {} ({})", self.part.name, binary.display()))?;
        self.pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        self.started = Instant::now();
        self.restart_at = None;
        let events = events.clone();
        std::thread::Builder::new().name(format!("wait-{}", self.part.name)).spawn(move || {
            let status = process.wait().ok();
            // The receiver is gone only when the supervisor itself ends.
            let _ = events.send(Event::Ended { index, status });
        })?;
        Ok(())
    }

    /// Notes the end of the process and decides when to start it again; returns the delay.
    pub(super) fn ended(&mut self, now: Instant) -> Duration {
        self.pid = None;
        // What began a cluster once finds its state from now on, or says that it is lost.
        self.part.args.retain(|arg| arg != BOOTSTRAP);
        self.crashes = if now.duration_since(self.started) < CRASH_WINDOW { self.crashes + 1 } else { 0 };
        let doublings = self.crashes.saturating_sub(1).min(10);
        let delay = self.part.restart_delay.saturating_mul(1 << doublings).min(RESTART_DELAY_MAX);
        self.restart_at = Some(now + delay);
        delay
    }

    /// Sends a signal, if the process runs.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // It may have ended in this moment; its wait thread reports that.
            let _ = kill_process(pid, signal);
        }
    }
}

/// How a process ended, in words.
pub(super) fn describe(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "in an unknown way".to_owned(), |status| format!("with {status}"))
}
