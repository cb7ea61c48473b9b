//! The servers under test as child processes: started on a free port, pinned, watched, ended.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bench::Target;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A server that does not listen after this long has failed.
const START_MAX: Duration = Duration::from_secs(10);

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    Doled,
    Memcached,
}

/// In the order of the tables.
pub(crate) const RIVALS: [Rival; 2] = [Rival::Doled, Rival::Memcached];

impl Rival {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Doled => "doled",
            Self::Memcached => "memcached",
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) doled: PathBuf,
    pub(crate) memcached: PathBuf,
    /// This program, for the floor.
    own: PathBuf,
}

impl Programs {
    /// Refuses when one is missing, or there is one processor only.
    pub(crate) fn find(doled: &Path, memcached: &Path) -> Result<Self> {
        if !doled.is_file() {
            bail!("--doled {}: no such file", doled.display());
        }
        let in_path = || {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).map(|dir| dir.join(memcached)).find(|file| file.is_file())
        };
        let found = if memcached.components().count() > 1 {
            Some(memcached.to_owned()).filter(|file| file.is_file())
        } else {
            in_path()
        };
        let Some(memcached) = found else {
            bail!(
                "--memcached {}: no such program: the comparison needs one (Debian: apt-get install memcached)",
                memcached.display()
            );
        };
        if !sched_getaffinity(None)?.is_set(0) || !sched_getaffinity(None)?.is_set(1) {
            bail!("processors 0 and 1 are needed: one for the server, one for the load");
        }
        Ok(Self { doled: doled.to_owned(), memcached, own: std::env::current_exe()? })
    }
}

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) rival: Rival,
    /// `-m` in KiB; memcached's is rounded up to whole MiB.
    pub(crate) memory_kib: u64,
    pub(crate) threads: u32,
    /// On processor 0, or on all.
    pub(crate) pinned: bool,
}

impl Setup {
    /// One thread on processor 0.
    pub(crate) const fn new(rival: Rival, memory_mib: u64) -> Self {
        Self { rival, memory_kib: memory_mib << 10, threads: 1, pinned: true }
    }

    fn command(&self, programs: &Programs, port: u16) -> Command {
        let (mut command, memory) = match self.rival {
            Rival::Doled => {
                let mut command = Command::new(&programs.doled);
                command.arg("serve");
                (command, format!("{}k", self.memory_kib))
            }
            Rival::Memcached => {
                let mut command = Command::new(&programs.memcached);
                if rustix::process::geteuid().is_root() {
                    command.args(["-u", "nobody"]);
                }
                (command, self.memory_kib.div_ceil(1024).to_string())
            }
        };
        command.args(["-l", "127.0.0.1", "-U", "0", "-c", "20000", "-I", "2m", "-m", &memory]);
        command.args(["-p", &port.to_string(), "-t", &self.threads.to_string()]);
        command
    }
}

/// A running server; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub(crate) fn start(programs: &Programs, setup: &Setup) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = setup.command(programs, port);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = spawn(&mut command, setup.pinned)?;
        let mut server = Self { child, port };
        let begun = Instant::now();
        while TcpStream::connect(server.address()).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{command:?} ended with {status}");
            }
            if begun.elapsed() > START_MAX {
                bail!("{command:?} does not listen after {} s", START_MAX.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// The floor, with the words of its subcommand.
    pub(crate) fn floor(programs: &Programs, words: &[String]) -> Result<Self> {
        let mut command = Command::new(&programs.own);
        command.arg("floor").args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = spawn(&mut command, true)?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output is a pipe")?).read_line(&mut line)?;
        let port = line.trim().parse().with_context(|| format!("{command:?} printed \"{line}\""))?;
        Ok(Self { child, port })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub(crate) fn target(&self) -> Target {
        Target::Tcp(self.address())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory now, KiB.
    pub(crate) fn rss_kib(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most that it was.
    pub(crate) fn peak_kib(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        number.with_context(|| format!("no {name} of process {}", self.pid()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to be done about either.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child inherits where its parent may run.
fn spawn(command: &mut Command, pinned: bool) -> Result<Child> {
    let all = sched_getaffinity(None)?;
    if pinned {
        let mut first = CpuSet::new();
        first.set(0);
        sched_setaffinity(None, &first)?;
    }
    let child = command.spawn().with_context(|| format!("start {command:?}"));
    sched_setaffinity(None, &all)?;
    child
}
