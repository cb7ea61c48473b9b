//! A client for filling and counting: pipelined sets, multi-key gets, stats. Checks every reply.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::server::Server;

/// Sets in one pipeline, and the bytes at which it is cut.
const SETS: usize = 64;
const OUTPUT_MAX: usize = 256 << 10;

/// Keys of a get.
const KEYS: usize = 32;

/// An item to store.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) key: Vec<u8>,
    pub(crate) len: usize,
    pub(crate) ttl_s: u32,
}

/// What is still there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readable {
    pub(crate) items: u64,
    /// Keys and values, bytes.
    pub(crate) payload: u64,
}

pub(crate) struct Client {
    writer: TcpStream,
    reader: BufReader<TcpStream>,
    output: Vec<u8>,
    filler: Vec<u8>,
    line: Vec<u8>,
    /// Replies that the output will bring.
    due: usize,
}

impl Client {
    pub(crate) fn connect(server: &Server) -> Result<Self> {
        let writer = TcpStream::connect(server.address())?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(Duration::from_secs(30)))?;
        let reader = BufReader::with_capacity(256 << 10, writer.try_clone()?);
        Ok(Self { writer, reader, output: Vec::new(), filler: vec![b'x'; 1 << 20], line: Vec::new(), due: 0 })
    }

    /// Stores an item, at the latest with the next [`Self::flush`].
    pub(crate) fn set(&mut self, item: &Item) -> Result<()> {
        self.output.extend_from_slice(b"set ");
        self.output.extend_from_slice(&item.key);
        write!(self.output, " 0 {} {}\r\n", item.ttl_s, item.len)?;
        self.output.extend_from_slice(&self.filler[..item.len]);
        self.output.extend_from_slice(b"\r\n");
        self.queued()
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.output.extend_from_slice(b"delete ");
        self.output.extend_from_slice(key);
        self.output.extend_from_slice(b"\r\n");
        self.queued()
    }

    fn queued(&mut self) -> Result<()> {
        self.due += 1;
        if self.due >= SETS || self.output.len() >= OUTPUT_MAX { self.flush() } else { Ok(()) }
    }

    /// Sends what is queued and awaits its replies.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.writer.write_all(&self.output)?;
        self.output.clear();
        for _ in 0..std::mem::take(&mut self.due) {
            self.read_line()?;
            // memcached refuses a few sets while its threads that move pages lag behind the writes.
            let refused = b"SERVER_ERROR out of memory storing object";
            let known = [&b"STORED"[..], b"DELETED", b"NOT_FOUND", refused];
            if !known.contains(&self.line.as_slice()) {
                bail!("the server answered \"{}\"", String::from_utf8_lossy(&self.line));
            }
        }
        Ok(())
    }

    /// Gets every key and adds up what is there.
    pub(crate) fn readable(&mut self, keys: impl Iterator<Item = Vec<u8>>) -> Result<Readable> {
        self.flush()?;
        let mut found = Readable::default();
        let mut keys = keys.peekable();
        while keys.peek().is_some() {
            self.output.extend_from_slice(b"get");
            for key in keys.by_ref().take(KEYS) {
                self.output.push(b' ');
                self.output.extend_from_slice(&key);
            }
            self.output.extend_from_slice(b"\r\n");
            self.writer.write_all(&self.output)?;
            self.output.clear();
            self.add_values(&mut found)?;
        }
        Ok(found)
    }

    fn add_values(&mut self, found: &mut Readable) -> Result<()> {
        loop {
            self.read_line()?;
            if self.line == b"END" {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&self.line).into_owned();
            let words: Vec<&str> = text.split(' ').collect();
            let ["VALUE", key, _, len, ..] = words.as_slice() else {
                bail!("the server answered \"{text}\"")
            };
            let len: u64 = len.parse().with_context(|| text.clone())?;
            std::io::copy(&mut self.reader.by_ref().take(len + 2), &mut std::io::sink())?;
            found.items += 1;
            found.payload += key.len() as u64 + len;
        }
    }

    /// A number of `stats`.
    pub(crate) fn stat(&mut self, name: &str) -> Result<u64> {
        self.flush()?;
        self.writer.write_all(b"stats\r\n")?;
        let mut found = None;
        loop {
            self.read_line()?;
            if self.line == b"END" {
                return found.with_context(|| format!("no {name} in stats"));
            }
            let text = String::from_utf8_lossy(&self.line);
            let mut words = text.split(' ').skip(1);
            if words.next() == Some(name) {
                found = words.next().and_then(|number| number.parse().ok());
            }
        }
    }

    fn read_line(&mut self) -> Result<()> {
        self.line.clear();
        if self.reader.read_until(b'\n', &mut self.line)? == 0 {
            bail!("the server closed the connection");
        }
        self.line.truncate(self.line.trim_ascii_end().len());
        Ok(())
    }
}

/// A key of `len` bytes.
pub(crate) fn key(number: u64, len: usize) -> Vec<u8> {
    let mut key = vec![b'k'; len];
    let (mut rest, mut at) = (number, len);
    while at > 1 {
        at -= 1;
        key[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}
