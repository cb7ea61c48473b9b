//! The kernel's floor: a server that finds the ends of requests and answers each with the same bytes. What it costs a
//! request is what any server pays for epoll, read and write.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// Bytes read at once.
const READ_SIZE: usize = 64 << 10;

/// Bytes of prepared replies: those of a whole pipeline go out in one write.
const REPLIES_LEN: usize = 256 << 10;

/// What is answered, and to what.
pub(crate) struct Reply {
    bytes: Vec<u8>,
    ends: Ends,
}

/// Where a request ends.
enum Ends {
    /// At the end of a line.
    Line,
    /// After so many bytes.
    Length(usize),
}

impl Reply {
    /// `keys` values of `len` bytes, for every line.
    pub(crate) fn values(len: usize, keys: usize) -> Self {
        let mut bytes = Vec::new();
        for key in 0..keys {
            bytes.extend_from_slice(format!("VALUE key-{key:012} 0 {len}\r\n").as_bytes());
            bytes.resize(bytes.len() + len, b'x');
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"END\r\n");
        Self { bytes, ends: Ends::Line }
    }

    /// `STORED` for every `len` bytes.
    pub(crate) fn stored(len: usize) -> Self {
        Self { bytes: b"STORED\r\n".to_vec(), ends: Ends::Length(len.max(1)) }
    }
}

struct Connection {
    stream: TcpStream,
    /// Bytes of the request that is not whole yet.
    rest: usize,
}

/// Serves until it is killed.
pub(crate) fn serve(reply: &Reply) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    let replies = reply.bytes.repeat((REPLIES_LEN / reply.bytes.len()).max(1));
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener.as_fd(), EventData::new_u64(u64::MAX), EventFlags::IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; READ_SIZE];
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let place = event.data.u64() as usize;
            if event.data.u64() == u64::MAX {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                let data = EventData::new_u64(connections.len() as u64);
                epoll::add(&epoll, stream.as_fd(), data, EventFlags::IN)?;
                connections.push(Some(Connection { stream, rest: 0 }));
            } else if let Some(connection) = &mut connections[place]
                && !answer(connection, reply, &replies, &mut buffer)
            {
                connections[place] = None;
            }
        }
    }
}

/// One read, and the replies to it; false when the connection is over. A write may block: the load reads.
fn answer(connection: &mut Connection, reply: &Reply, replies: &[u8], buffer: &mut [u8]) -> bool {
    let count = match connection.stream.read(buffer) {
        Ok(0) => return false,
        Ok(count) => count,
        Err(error) => return error.kind() == ErrorKind::Interrupted,
    };
    let requests = match reply.ends {
        Ends::Line => buffer[..count].iter().filter(|&&byte| byte == b'\n').count(),
        Ends::Length(len) => {
            let whole = connection.rest + count;
            connection.rest = whole % len;
            whole / len
        }
    };
    let mut left = requests * reply.bytes.len();
    while left > 0 {
        let part = left.min(replies.len());
        if connection.stream.write_all(&replies[..part]).is_err() {
            return false;
        }
        left -= part;
    }
    true
}
