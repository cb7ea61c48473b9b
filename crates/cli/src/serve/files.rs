//! The files that a node writes about itself: its process id, and its ports.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use net::Address;
use rustix::process::{Pid, getppid, test_kill_process};

/// Names the file that gets the ports; what starts memcached in tests reads it.
const PORTS_ENV: &str = "MEMCACHED_PORT_FILENAME";

/// Writes the ports that were taken, a line each, if the environment asks for it; without a port, no file.
pub(super) fn write_ports(addresses: &[Address], udp: &[SocketAddr]) -> Result<()> {
    let ports = ports(addresses, udp);
    let Some(path) = std::env::var_os(PORTS_ENV).map(PathBuf::from).filter(|_| !ports.is_empty()) else {
        return Ok(());
    };
    write_whole(&path, "lck", &ports).with_context(|| format!("{PORTS_ENV} {}", path.display()))
}

fn ports(addresses: &[Address], udp: &[SocketAddr]) -> String {
    let line = |kind: &str, address: SocketAddr| {
        let family = if address.is_ipv4() { "INET" } else { "INET6" };
        format!("{kind} {family}: {}\n", address.port())
    };
    let tcp = addresses.iter().filter_map(|address| match address {
        Address::Tcp(address) => Some(line("TCP", *address)),
        Address::Unix(_) => None,
    });
    tcp.chain(udp.iter().map(|address| line("UDP", *address))).collect()
}

/// A written file with a process id; removed by [`PidFile::remove`].
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the id of this process, or of its guardian, to whom signals should go. A file that names another
    /// living process is replaced, as by memcached, but not silently.
    pub(super) fn write(path: &Path, guarded: bool) -> Result<Self> {
        let path = std::path::absolute(path).with_context(|| format!("--pidfile {}", path.display()))?;
        let own = rustix::process::getpid();
        let pid = if guarded { getppid().unwrap_or(own) } else { own };
        if let Some(other) = living(&path).filter(|other| *other != pid) {
            eprintln!("doled: --pidfile {}: it named the running process {other}", path.display());
        }
        write_whole(&path, "tmp", &format!("{pid}\n"))
            .with_context(|| format!("--pidfile {}", path.display()))?;
        Ok(Self(path))
    }

    /// Removes the file.
    pub(super) fn remove(&self) {
        // Gone already, or not ours any more: nothing to say about a file that only helps people.
        let _ = fs::remove_file(&self.0);
    }
}

fn living(path: &Path) -> Option<Pid> {
    let pid = Pid::from_raw(fs::read_to_string(path).ok()?.trim().parse().ok()?)?;
    test_kill_process(pid).is_ok().then_some(pid)
}

/// Nobody sees half a file.
fn write_whole(path: &Path, suffix: &str, text: &str) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{suffix}"));
    fs::write(&beside, text)?;
    fs::rename(&beside, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_as_memcached_does() {
        let addresses = ["127.0.0.1:5", "[::1]:6"].map(|text| Address::Tcp(text.parse().expect(text)));
        let udp = ["127.0.0.1:7", "[::1]:8"].map(|text| text.parse().expect(text));
        assert_eq!(ports(&addresses, &[]), "TCP INET: 5\nTCP INET6: 6\n");
        assert_eq!(ports(&addresses[..1], &udp), "TCP INET: 5\nUDP INET: 7\nUDP INET6: 8\n");
        assert_eq!(ports(&[Address::Unix("/s".into())], &[]), "");
    }
}
