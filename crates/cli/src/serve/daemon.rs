//! `-d`: the node in the background.
//!
//! A process with threads can't be forked without unsafe code, so the process that was started runs this program
//! again, detached, and waits for its word that it listens. The daemon shares standard error until then: a node
//! that does not start says why where it was started. With a guardian, the guardian is the daemon and its node
//! gives the word.

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

/// What a daemon's node writes to its standard output, a pipe, when it listens.
const LISTENING: [u8; 1] = *b"!";

/// This program once more, under the name and with the arguments that it was started with.
pub(super) fn this_program() -> Result<Command> {
    let mut args = env::args_os();
    let mut command = Command::new(env::current_exe().context("find this program's own file")?);
    if let Some(name) = args.next() {
        // The name decides what the arguments mean.
        command.arg0(name);
    }
    command.args(args);
    Ok(command)
}

/// In the process that was started: starts the daemon, and ends as soon as it listens or has failed.
pub(super) fn start() -> Result<ExitCode> {
    let mut command = this_program()?;
    command.arg("--daemon-child").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut daemon = command.spawn().context("--daemon: start the daemon")?;
    let mut word = [0; LISTENING.len()];
    let pipe = daemon.stdout.as_mut().context("--daemon: the daemon's output")?;
    if pipe.read_exact(&mut word).is_ok() && word == LISTENING {
        return Ok(ExitCode::SUCCESS);
    }
    // It has closed its output without the word, and said why on standard error.
    let status = daemon.wait().context("--daemon: wait for the daemon")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// In the daemon, before anything else: leaves the terminal.
pub(super) fn leave_terminal() -> Result<()> {
    rustix::process::setsid().context("--daemon: a session of its own")?;
    Ok(())
}

/// In the daemon's node, when it listens: gives the word and lets go of the starter's streams and directory.
pub(super) fn listening(keep: &Keep) -> Result<()> {
    let mut out = io::stdout().lock();
    // A starter that was killed meanwhile is no reason to stop.
    let _ = out.write_all(&LISTENING).and_then(|()| out.flush());
    drop(out);
    keep.let_go()
}

/// In a daemon that is a guardian: gives its streams and directory to the node, and lets go of them itself.
pub(super) fn hand_over(command: &mut Command, keep: &Keep) -> Result<()> {
    command
        .current_dir(env::current_dir().context("--daemon: this directory")?)
        .stdout(io::stdout().as_fd().try_clone_to_owned()?)
        .stderr(io::stderr().as_fd().try_clone_to_owned()?);
    keep.let_go()
}

/// What a daemon does not let go of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// Standard error, for `-v`.
    pub(super) errors: bool,
    /// The directory, where core files are written.
    pub(super) directory: bool,
}

impl Keep {
    fn let_go(self) -> Result<()> {
        let null = File::options().read(true).write(true).open("/dev/null").context("/dev/null")?;
        rustix::stdio::dup2_stdout(&null)?;
        if !self.errors {
            rustix::stdio::dup2_stderr(&null)?;
        }
        if !self.directory {
            env::set_current_dir("/").context("--daemon: leave the directory")?;
        }
        Ok(())
    }
}
