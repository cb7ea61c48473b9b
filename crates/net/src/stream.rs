//! The byte stream under a connection: a socket, or a TLS session over one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::tls::scratch::Scratch;
use crate::tls::stream::TlsStream;

#[derive(Debug)]
pub(crate) enum Stream {
    /// A connected (or connecting) non-blocking stream socket.
    Plain(OwnedFd),
    /// TLS over one. Boxed: plain connections are many.
    Tls(Box<TlsStream>),
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
    /// One read into a buffer that is not empty, and for TLS has room for the longest record.
    pub(crate) fn read(&mut self, buffer: &mut [u8], scratch: &mut Scratch) -> Transfer {
        match self {
            Self::Plain(fd) => read_plain(fd, buffer),
            Self::Tls(tls) => tls.read(buffer, scratch.buffer()),
        }
    }

    /// One write of bytes that are not none, or of what the stream itself holds back.
    pub(crate) fn write(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Transfer {
        match self {
            Self::Plain(fd) => write_plain(fd, bytes),
            Self::Tls(tls) => tls.write(bytes, scratch.buffer()),
        }
    }

    /// Before the close of a stream that is flushed: what its protocol wants to be said.
    pub(crate) fn finish(&mut self, scratch: &mut Scratch) {
        if let Self::Tls(tls) = self {
            tls.finish(scratch.buffer());
        }
    }

    /// Bytes that were written to the stream and that it holds back.
    pub(crate) fn unsent(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(tls) => tls.unsent(),
        }
    }

    /// It takes no output yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls().is_some_and(TlsStream::is_handshaking)
    }

    pub(crate) fn tls(&self) -> Option<&TlsStream> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(tls),
        }
    }

    pub(crate) fn tls_mut(&mut self) -> Option<&mut TlsStream> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(tls),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(fd) => fd.as_fd(),
            Self::Tls(tls) => tls.as_fd(),
        }
    }
}

/// One read of a socket into a buffer that is not empty.
pub(crate) fn read_plain(fd: &OwnedFd, buffer: &mut [u8]) -> Transfer {
    match rustix::net::recv(fd, buffer, RecvFlags::empty()) {
        Ok((_, 0)) => Transfer::Ended,
        Ok((_, n)) => Transfer::Bytes(n),
        Err(Errno::AGAIN | Errno::INTR) => Transfer::Blocked,
        Err(error) => Transfer::Failed(error),
    }
}

/// One write to a socket of bytes that are not none.
pub(crate) fn write_plain(fd: &OwnedFd, bytes: &[u8]) -> Transfer {
    match rustix::net::send(fd, bytes, SendFlags::NOSIGNAL) {
        Ok(n) => Transfer::Bytes(n),
        Err(Errno::AGAIN | Errno::INTR) => Transfer::Blocked,
        Err(error) => Transfer::Failed(error),
    }
}
