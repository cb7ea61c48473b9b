//! The byte stream under a connection. TLS will be the second variant: it reads and writes through a session
//! of its own and reports the same four outcomes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

#[derive(Debug)]
pub(crate) enum Stream {
    /// A connected (or connecting) non-blocking stream socket.
    Plain(OwnedFd),
}

/// What one read or write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// That many bytes, at least one.
    Bytes(usize),
    /// Nothing now; the poller will tell.
    Blocked,
    /// The peer has ended its side.
    Ended,
    /// The stream is broken.
    Failed(Errno),
}

impl Stream {
    /// One read into a buffer that is not empty.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Transfer {
        let Self::Plain(fd) = self;
        match rustix::net::recv(&*fd, buffer, RecvFlags::empty()) {
            Ok((_, 0)) => Transfer::Ended,
            Ok((_, n)) => Transfer::Bytes(n),
            Err(Errno::AGAIN | Errno::INTR) => Transfer::Blocked,
            Err(error) => Transfer::Failed(error),
        }
    }

    /// One write of bytes that are not none.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Transfer {
        let Self::Plain(fd) = self;
        match rustix::net::send(&*fd, bytes, SendFlags::NOSIGNAL) {
            Ok(n) => Transfer::Bytes(n),
            Err(Errno::AGAIN | Errno::INTR) => Transfer::Blocked,
            Err(error) => Transfer::Failed(error),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let Self::Plain(fd) = self;
        fd.as_fd()
    }
}
