//! `request`: decodes command after command, data blocks left out.

use std::fmt::Write;

use doled_proto::limits::LINE_LEN_MAX;
use doled_proto::meta::{Flags, KeyScratch, MetaKey};
use doled_proto::request::{Decoded, Request, Then, decode};

use crate::bytes::show;

/// Commands in one script input at most: decode must always consume.
const COMMANDS_MAX: usize = 100;

pub(crate) fn run(input: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = input;
    for _ in 0..COMMANDS_MAX {
        if rest.is_empty() {
            return out;
        }
        let decoded = decode(rest);
        let (consumed, block_len, line) = match &decoded {
            Decoded::NeedMore => return out + "need more\n",
            Decoded::Request { consumed, request } => (*consumed, block_len(request), show_request(request)),
            Decoded::Refuse { consumed, reply, then } => {
                let swallowed = if let Then::Swallow(len) = then { *len } else { 0 };
                (*consumed, swallowed, format!("refuse \"{}\" {then:?}", show(reply)))
            }
        };
        check_pieces(rest, consumed, &decoded);
        writeln!(out, "{consumed}: {line}").expect("a String");
        if matches!(
            decoded,
            Decoded::Refuse { then: Then::Close, .. } | Decoded::Request { request: Request::Quit, .. }
        ) {
            return out;
        }
        rest = &rest[(consumed + block_len).min(rest.len())..];
    }
    panic!("more than {COMMANDS_MAX} commands:\n{out}");
}

/// However the line arrives, nothing comes out before its end, and the same then. Of a long line only the
/// start and the end are looked at.
fn check_pieces(buf: &[u8], consumed: usize, whole: &Decoded<'_>) {
    if !matches!(whole, Decoded::Refuse { then: Then::Close, .. }) {
        for end in (0..consumed).filter(|end| *end <= LINE_LEN_MAX || consumed - *end < 10) {
            assert_eq!(decode(&buf[..end]), Decoded::NeedMore, "cut at {end}");
        }
    }
    assert_eq!(&decode(&buf[..consumed]), whole, "without what follows");
}

fn block_len(request: &Request<'_>) -> usize {
    match request {
        Request::Storage(storage) => storage.value_len + 2,
        Request::Ms(ms) => ms.value_len + 2,
        _ => 0,
    }
}

fn show_request(request: &Request<'_>) -> String {
    match request {
        Request::Get(get) => format!("get{} {}", cas_mark(get.with_cas), show_keys(get.keys.clone())),
        Request::Gat(gat) => {
            format!("gat{} exptime={} {}", cas_mark(gat.with_cas), gat.exptime, show_keys(gat.keys.clone()))
        }
        Request::Storage(storage) => format!(
            "{:?} key={} flags={} exptime={} value_len={}{}",
            storage.verb,
            show(storage.key),
            storage.flags,
            storage.exptime,
            storage.value_len,
            noreply(storage.noreply)
        ),
        Request::Arith(arith) => {
            format!(
                "{:?} key={} delta={}{}",
                arith.verb,
                show(arith.key),
                arith.delta,
                noreply(arith.noreply)
            )
        }
        Request::Delete(delete) => format!("delete key={}{}", show(delete.key), noreply(delete.noreply)),
        Request::Touch(touch) => {
            format!("touch key={} exptime={}{}", show(touch.key), touch.exptime, noreply(touch.noreply))
        }
        Request::Stats(stats) => format!("stats {}", show_keys(stats.args)),
        Request::Mg(mg) => show_meta(&format!("{mg:?}"), &mg.key, mg.flags),
        Request::Ms(ms) => show_meta(&format!("{ms:?}"), &ms.key, ms.flags),
        Request::Md(md) => show_meta(&format!("{md:?}"), &md.key, md.flags),
        Request::Ma(ma) => show_meta(&format!("{ma:?}"), &ma.key, ma.flags),
        Request::Me(me) => show_meta(&format!("{me:?}"), &me.key, me.flags),
        other => format!("{other:?}"),
    }
}

fn cas_mark(with_cas: bool) -> &'static str {
    if with_cas { "(cas)" } else { "" }
}

fn noreply(noreply: bool) -> &'static str {
    if noreply { " noreply" } else { "" }
}

fn show_keys<'a>(keys: impl Iterator<Item = &'a [u8]>) -> String {
    let keys: Vec<String> = keys.map(show).collect();
    match keys.len() {
        0..10 => keys.join(" "),
        count => format!("{} ...({count} keys)", keys[0]),
    }
}

/// Key and flags as text, between them whatever the command's `Debug` says and is not plain absence.
fn show_meta(debug: &str, key: &MetaKey<'_>, flags: Flags<'_>) -> String {
    let verb = debug.split(' ').next().unwrap_or_default().to_lowercase();
    let fields = debug.split_once("}, ").map_or("", |(_, fields)| fields);
    let fields = fields.split_once("flags: Flags").map_or("", |(fields, _)| fields);
    let told: Vec<&str> = fields
        .split(", ")
        .filter(|field| !field.is_empty() && !field.ends_with(": None") && !field.ends_with(": false"))
        .collect();
    let mut scratch: KeyScratch = [0; _];
    let flags: Vec<String> =
        flags.map(|flag| format!("{}{}", flag.letter as char, show(flag.token))).collect();
    format!("{verb} key={} {{{}}} [{}]", show(key.bytes(&mut scratch)), told.join(", "), flags.join(" "))
}
