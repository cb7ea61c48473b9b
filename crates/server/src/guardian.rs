//! The guardian: a small parent process that proves the death of the node below it.
//!
//! A manager may give a dead node's buckets away at once only when the death is proven; a parent that waited
//! for the process can prove it. So `serve --managed` under a manager is two processes: this one starts the
//! node, waits, and tells the managers. It passes signals on and exits as its child did.
//!
//! **Invariants**: the word `Dead` names a life only after its process was waited for; the node never outlives
//! its guardian (the kernel kills it), or nobody would wait for it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::thread;

use proto::control::{Life, Message};
use rustix::process::{
    Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal, set_parent_process_death_signal,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::control::report;
use crate::limits::{DEATH_REPORT_BUDGET, RELEASED_REPORT_BUDGET};
use crate::log;

/// Tells the child who its guardian is.
const GUARDIAN_ENV: &str = "DOLED_GUARDIAN_PID";

/// A started node process.
#[derive(Debug)]
pub struct Guardian {
    child: Child,
    pidfd: Arc<OwnedFd>,
}

/// Sends signals to the node process, from any thread and at any time: never to another process that got its
/// number later.
#[derive(Clone, Debug)]
pub struct Forward(Arc<OwnedFd>);

/// The guardian ended before the node had started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardianGone {
    /// Nobody started this process as its guardian: the incarnation was copied, and may be another process's.
    #[error("an incarnation is given to a node by its guardian, and this process has none: leave it out")]
    None,
    /// The parent is another process than the one that started this.
    #[error("the guardian process {0} that started this node is gone")]
    Gone(String),
    /// The kernel refused.
    #[error("cannot tie this node to its guardian: {0}")]
    Tie(rustix::io::Errno),
}

/// What the guardian process does with its life: starts the node, passes signals on, waits for the end,
/// reports it, and ends as the node did (128 plus the number of a signal, as shells count).
///
/// Call it on the main thread: the kernel kills the node when the calling thread ends.
pub fn run(command: Command, life: Life, managers: &[String]) -> io::Result<ExitCode> {
    // Before the start, so that no signal falls between; the child has its own handlers after its exec.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGHUP])?;
    let guardian = Guardian::start(command)?;
    let forward = guardian.forward();
    thread::Builder::new().name("doled-signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            forward.send(match signal {
                SIGINT => Signal::INT,
                SIGUSR1 => Signal::USR1,
                SIGHUP => Signal::HUP,
                _ => Signal::TERM,
            });
        }
    })?;
    let status = guardian.wait(life, managers)?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

impl Guardian {
    /// Starts the node. Call it on the thread that will wait: the kernel kills the child when the thread that
    /// started it ends.
    pub fn start(mut command: Command) -> io::Result<Self> {
        command.env(GUARDIAN_ENV, std::process::id().to_string());
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the node's process id is no process id"))?;
        // Nobody else waits for the child, so the number is still its.
        let pidfd = Arc::new(pidfd_open(pid, PidfdFlags::empty())?);
        Ok(Self { child, pidfd })
    }

    /// The node's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The way to pass signals on.
    pub fn forward(&self) -> Forward {
        Forward(Arc::clone(&self.pidfd))
    }

    /// Waits for the node's end and reports it to the managers, one after the other until one has taken it or
    /// there is no use any more.
    pub fn wait(mut self, life: Life, managers: &[String]) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        let budget = if status.success() { RELEASED_REPORT_BUDGET } else { DEATH_REPORT_BUDGET };
        let node = life.node.clone();
        if !report(managers, &Message::Dead(life), budget) && !status.success() {
            log::line(&format!("no manager heard of the end of node {node}; its buckets wait for its lease"));
        }
        Ok(status)
    }
}

impl Forward {
    /// Sends a signal; one to a process that has ended goes nowhere.
    pub fn send(&self, signal: Signal) {
        let _ = pidfd_send_signal(&*self.0, signal);
    }
}

/// In a node that was given its incarnation: asks the kernel to end it with its guardian.
pub fn tie_to_guardian() -> Result<(), GuardianGone> {
    let Ok(guardian) = std::env::var(GUARDIAN_ENV) else { return Err(GuardianGone::None) };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(GuardianGone::Tie)?;
    // A guardian that died before that line is not the parent any more.
    let parent = getppid().map(|pid| pid.as_raw_pid().to_string());
    if parent.as_ref() == Some(&guardian) { Ok(()) } else { Err(GuardianGone::Gone(guardian)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_without_a_guardian_is_refused() {
        assert_eq!(tie_to_guardian(), Err(GuardianGone::None));
    }
}
