//! Listening sockets.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, ipproto, sockopt};

use crate::Address;
use crate::tls::TlsAcceptor;

/// A bound, listening, non-blocking socket. Dropping it removes a unix socket's path.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    /// With the port that the kernel chose.
    address: Address,
    tag: u32,
    /// `None`: plain connections.
    tls: Option<TlsAcceptor>,
}

/// Why an address can't be listened on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The address that was asked for.
    pub address: Address,
    /// The kernel's reason.
    pub reason: Errno,
}

impl Listener {
    /// Listens on an IP address; port 0 lets the kernel choose. `tag` comes back in [`crate::Origin`].
    pub fn tcp(address: SocketAddr, backlog: u32, tag: u32) -> Result<Self, BindError> {
        bind_tcp(address, backlog)
            .map(|(fd, bound)| Self { fd, address: Address::Tcp(bound), tag, tls: None })
            .map_err(|reason| BindError { address: Address::Tcp(address), reason })
    }

    /// Listens on a unix socket with these permission bits. A socket file that nobody listens on any more is
    /// replaced; one that answers, and anything that is not a socket, is left alone.
    pub fn unix(path: &Path, mode: u32, backlog: u32, tag: u32) -> Result<Self, BindError> {
        bind_unix(path, mode, backlog)
            .map(|fd| Self { fd, address: Address::Unix(path.to_owned()), tag, tls: None })
            .map_err(|reason| BindError { address: Address::Unix(path.to_owned()), reason })
    }

    /// Its connections speak TLS; plain ones are told so and closed.
    #[must_use]
    pub fn with_tls(self, tls: TlsAcceptor) -> Self {
        let mut listener = self;
        listener.tls = Some(tls);
        listener
    }

    /// Where it listens, with the port that the kernel chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn tag(&self) -> u32 {
        self.tag
    }

    pub(crate) fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            // Gone already, or not ours to remove: nothing to do about either.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_tcp(address: SocketAddr, backlog: u32) -> Result<(OwnedFd, SocketAddr), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = stream_socket(family)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    // Accepted sockets inherit these on Linux, which saves two system calls for each of them.
    sockopt::set_socket_keepalive(&fd, true)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    rustix::net::bind(&fd, &address)?;
    rustix::net::listen(&fd, backlog_arg(backlog))?;
    let bound = SocketAddr::try_from(rustix::net::getsockname(&fd)?).map_err(|_| Errno::AFNOSUPPORT)?;
    Ok((fd, bound))
}

fn bind_unix(path: &Path, mode: u32, backlog: u32) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(path)?;
    remove_dead_socket(path, &address)?;
    let fd = stream_socket(AddressFamily::UNIX)?;
    rustix::net::bind(&fd, &address)?;
    // Between bind and listen nobody can connect, so the mode is in force before the first connection.
    let done = rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())
        .and_then(|()| rustix::net::listen(&fd, backlog_arg(backlog)));
    if let Err(error) = done {
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(fd)
}

fn remove_dead_socket(path: &Path, address: &SocketAddrUnix) -> Result<(), Errno> {
    let Ok(stat) = rustix::fs::lstat(path) else { return Ok(()) };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(Errno::EXIST);
    }
    let probe = stream_socket(AddressFamily::UNIX)?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(PathBuf::from(path))
            .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)),
        _ => Err(Errno::ADDRINUSE),
    }
}

pub(crate) fn stream_socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = if family == AddressFamily::UNIX { None } else { Some(ipproto::TCP) };
    rustix::net::socket_with(family, SocketType::STREAM, flags, protocol)
}

fn backlog_arg(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}
