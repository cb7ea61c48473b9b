//! What `-vv` and `-vvv` write to standard error, for people who debug a client: its commands and the replies, in
//! memcached's words (`<26 get foo`, `>26 END`), and with `-vvv` what became of each look-up.
//!
//! The number is that of `stats conns`. Unlike memcached, bytes that are not printable are escaped, and what is
//! not wanted as a reply is not shown. Data blocks and passwords never are.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd};

use proto::binary::REQUEST_MAGIC;
use proto::tokens::{Tokens, unsigned};
use store::Absent;

use crate::engine::Engine;
use crate::limits::VERBOSE_LINE_LEN_MAX;
use crate::options::Protocol;
use crate::watch::{Kinds, Log};

/// Bytes of a binary header, of requests and replies.
const BINARY_HEAD_LEN: usize = 24;

/// The node listens.
pub(crate) fn listening<'a>(engine: &Engine, listeners: impl Iterator<Item = &'a net::Listener>) {
    if !engine.watch.wanted().has(Kinds::EXCHANGES) {
        return;
    }
    let protocol = match engine.options.protocol {
        Protocol::Auto => "auto-negotiate",
        Protocol::Ascii => "ascii",
        Protocol::Binary => "binary",
    };
    for listener in listeners {
        write(&format!("<{} server listening ({protocol})\n", listener.as_fd().as_raw_fd()));
    }
}

/// A connection began.
pub(crate) fn connection(engine: &Engine, log: &Log) {
    if !log.kinds().has(Kinds::EXCHANGES) {
        return;
    }
    let conn = log.conn();
    write(&match engine.options.protocol {
        Protocol::Auto => format!("<{conn} new auto-negotiating client connection\n"),
        Protocol::Ascii => format!("<{conn} new ascii client connection.\n"),
        Protocol::Binary => format!("<{conn} new binary client connection.\n"),
    });
}

/// A connection ended.
pub(crate) fn disconnection(log: &Log, reason: &str) {
    if log.kinds().has(Kinds::EXCHANGES) {
        let conn = log.conn();
        let idle = if reason == "idle_timeout" { format!("Closing idle fd {conn}\n") } else { String::new() };
        write(&format!("{idle}<{conn} connection closed.\n"));
    }
}

/// A key was looked up.
pub(crate) fn look_up(key: &[u8], absent: Option<Absent>) {
    let (found, end) = match absent {
        None => ("FOUND KEY", ""),
        Some(Absent::Missing) => ("NOT FOUND", ""),
        Some(Absent::Flushed) => ("FOUND KEY", " -nuked by flush"),
        Some(Absent::Expired) => ("FOUND KEY", " -nuked by expire"),
    };
    let mut text = format!("> {found} ");
    put_bytes(&mut text, key);
    write(&(text + end + "\n"));
}

/// What a client sent: the head of a binary request, or else the first line.
pub(crate) fn request(log: &Log, input: &[u8]) {
    let conn = log.conn();
    if input.first() == Some(&REQUEST_MAGIC) {
        if let Some(head) = input.get(..BINARY_HEAD_LEN) {
            write(&head_dump(&format!("<{conn} Read binary protocol data:"), &format!("\n<{conn}   "), head));
        }
        return;
    }
    if let Some(end) = input.iter().position(|&byte| byte == b'\n') {
        let line = input.get(..end).unwrap_or_default();
        write_line(&format!("<{conn} "), line.strip_suffix(b"\r").unwrap_or(line));
    }
}

/// What it was answered.
pub(crate) fn replies(log: &Log, replies: &[u8], is_binary: bool) {
    let conn = log.conn();
    if is_binary { binary_replies(conn, replies) } else { text_replies(conn, replies) }
}

fn binary_replies(conn: usize, mut rest: &[u8]) {
    while let Some((head, behind)) = rest.split_first_chunk::<BINARY_HEAD_LEN>() {
        write(&head_dump(&format!(">{conn} Writing bin response:"), &format!("\n>{conn}  "), head));
        let body_len = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        rest = behind.get(body_len as usize..).unwrap_or_default();
    }
}

fn text_replies(conn: usize, mut rest: &[u8]) {
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let (line, behind) = rest.split_at(end + 1);
        rest = behind;
        let line = line.trim_ascii_end();
        let mut words = Tokens::new(line);
        // What has data behind it ends with its length, or with a cas behind that.
        let data_len = match words.next() {
            Some(b"VALUE") => {
                write_line(&format!(">{conn} sending key "), words.next().unwrap_or_default());
                words.nth(1).and_then(unsigned)
            }
            Some(b"VA") => {
                write_line(&format!(">{conn} "), line);
                words.next().and_then(unsigned)
            }
            // Long lists, as in memcached.
            Some(b"STAT" | b"ITEM" | b"PREFIX" | b"CONFIG" | b"MAP") => return,
            Some(word) if word.starts_with(b"key=") => return,
            _ => {
                write_line(&format!(">{conn} "), line);
                continue;
            }
        };
        let data_len = data_len.and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
        rest = rest.get(data_len + b"\r\n".len()..).unwrap_or_default();
    }
}

fn head_dump(title: &str, line_start: &str, head: &[u8]) -> String {
    let mut text = title.to_owned();
    for (index, byte) in head.iter().enumerate() {
        if index % 4 == 0 {
            text.push_str(line_start);
        }
        write!(text, " {byte:#04x}").expect("a string takes everything");
    }
    text + "\n"
}

fn write_line(start: &str, line: &[u8]) {
    let mut text = start.to_owned();
    put_bytes(&mut text, line.get(..VERBOSE_LINE_LEN_MAX).unwrap_or(line));
    write(&(text + "\n"));
}

fn put_bytes(text: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a string takes everything"),
        }
    }
}

/// Standard error that is gone is no reason to fail.
fn write(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
