//! What a watcher's lines look like: memcached's words in memcached's order, but for the microseconds of `ts`,
//! which memcached writes without leading zeros, so that no program can order its lines by them.

use std::io::Write;
use std::net::SocketAddr;

use stdx::clock;
use store::Absent;

/// What became of a storage command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) status: &'static str,
    pub(crate) command: &'static str,
    /// Of the new item, on the store's clock; zero: never.
    pub(crate) exptime_ms: u64,
    /// Of the new value.
    pub(crate) value_len: usize,
}

pub(super) fn put_start(out: &mut Vec<u8>, number: u64) {
    let micros = clock::unix_micros();
    put(out, format_args!("ts={}.{:06} gid={number} ", micros / 1_000_000, micros % 1_000_000));
}

/// `found`: the length of the value.
pub(super) fn put_get(out: &mut Vec<u8>, key: &[u8], found: Result<usize, Absent>, conn: usize) {
    let status = match found {
        Ok(_) => "found",
        Err(Absent::Missing) => "not_found",
        Err(Absent::Flushed) => "flushed",
        Err(Absent::Expired) => "expired",
    };
    let (class, len) = (class(found.is_ok()), found.unwrap_or(0));
    out.extend_from_slice(b"type=item_get key=");
    put_key(out, key);
    put(out, format_args!(" status={status} clsid={class} cfd={conn} size={len}"));
}

/// `now_ms` is on the store's clock.
pub(super) fn put_store(out: &mut Vec<u8>, key: &[u8], stored: Stored, now_ms: u64, conn: usize) {
    let Stored { status, command, exptime_ms, value_len } = stored;
    let ttl_s = (exptime_ms.saturating_sub(now_ms) + 500) / 1000;
    let class = class(!matches!(status, "too_large" | "no_memory"));
    out.extend_from_slice(b"type=item_store key=");
    put_key(out, key);
    put(
        out,
        format_args!(" status={status} cmd={command} ttl={ttl_s} clsid={class} cfd={conn} size={value_len}"),
    );
}

pub(super) fn put_deletion(out: &mut Vec<u8>, key: &[u8], command: &str, value_len: usize) {
    out.extend_from_slice(b"type=deleted key=");
    put_key(out, key);
    put(out, format_args!(" cmd={command} clsid={} size={value_len}", class(true)));
}

/// `now_ms` is on the store's clock.
pub(super) fn put_eviction(out: &mut Vec<u8>, item: &store::Evicted, now_ms: u64) {
    let fetch = if item.fetched { "yes" } else { "no" };
    let idle_s = now_ms.saturating_sub(item.last_access_ms) / 1000;
    out.extend_from_slice(b"type=eviction key=");
    put_key(out, &item.key);
    put(out, format_args!(" fetch={fetch} ttl="));
    match item.exptime_ms {
        0 => out.extend_from_slice(b"-1"),
        at_ms => put(out, format_args!("{}", at_ms.saturating_sub(now_ms) / 1000)),
    }
    put(out, format_args!(" la={idle_s} clsid={} size={}", class(true), item.value_len));
}

/// `peer`: `None` behind a unix socket. `reason`: why it ended; `None` when it is new.
pub(super) fn put_connection(out: &mut Vec<u8>, peer: Option<SocketAddr>, reason: Option<&str>, conn: usize) {
    put(out, format_args!("type={}", if reason.is_some() { "conn_close" } else { "conn_new" }));
    match peer {
        Some(peer) => put(out, format_args!(" rip={} rport={} transport=tcp", peer.ip(), peer.port())),
        None => put(out, format_args!(" rip=unix rport=0 transport=local")),
    }
    if let Some(reason) = reason {
        put(out, format_args!(" reason={reason}"));
    }
    put(out, format_args!(" cfd={conn}"));
}

/// The key, every byte that is not an unreserved one of a URI as `%XX`.
pub(crate) fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    for &byte in key {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ => out.extend_from_slice(&[b'%', hex(byte >> 4), hex(byte & 15)]),
        }
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        0..=9 => b'0' + digit,
        _ => b'A' + digit - 10,
    }
}

/// The one class that this node shows; none where there is no item.
const fn class(is_there: bool) -> u8 {
    is_there as u8
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}
