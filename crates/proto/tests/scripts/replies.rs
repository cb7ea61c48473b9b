//! `reply <kind>`: decodes reply after reply to commands of one kind.

use std::fmt::Write;

use doled_proto::reply::{DecodedReply, Reply, ReplyKind, decode_reply};

use crate::bytes::show;

pub(crate) fn run(kind: &str, input: &[u8]) -> String {
    let kind = kind_named(kind);
    let mut out = String::new();
    let mut rest = input;
    while !rest.is_empty() {
        match decode_reply(kind, rest) {
            DecodedReply::NeedMore { at_least } => {
                assert!(at_least > rest.len(), "at_least {at_least} of {} is no progress", rest.len());
                let guess =
                    if at_least == rest.len() + 1 { String::new() } else { format!(", {at_least} at least") };
                return out + &format!("need more{guess}\n");
            }
            DecodedReply::Bad => return out + "bad\n",
            DecodedReply::Reply { consumed, reply } => {
                check_pieces(kind, rest, consumed, &reply);
                writeln!(out, "{consumed}: {}", show_reply(&reply)).expect("a String");
                rest = &rest[consumed..];
            }
        }
    }
    out
}

/// Nothing comes out before the end of a reply, and what is said to be needed never passes its end.
fn check_pieces(kind: ReplyKind, buf: &[u8], consumed: usize, whole: &Reply<'_>) {
    for end in 0..consumed {
        match decode_reply(kind, &buf[..end]) {
            DecodedReply::NeedMore { at_least } => {
                assert!(at_least > end && at_least <= consumed, "cut at {end}");
            }
            other => panic!("cut at {end}: {other:?}"),
        }
    }
    let alone = decode_reply(kind, &buf[..consumed]);
    assert_eq!(alone, DecodedReply::Reply { consumed, reply: whole.clone() }, "without what follows");
}

fn kind_named(name: &str) -> ReplyKind {
    match name {
        "values" => ReplyKind::Values,
        "storage" => ReplyKind::Storage,
        "arith" => ReplyKind::Arith,
        "delete" => ReplyKind::Delete,
        "touch" => ReplyKind::Touch,
        "ok" => ReplyKind::Ok,
        "version" => ReplyKind::Version,
        "stats" => ReplyKind::Stats,
        "own" => ReplyKind::Own,
        "disown" => ReplyKind::Disown,
        "clock" => ReplyKind::Clock,
        "node" => ReplyKind::Node,
        "map" => ReplyKind::Map,
        "meta" => ReplyKind::Meta,
        _ => panic!("unknown kind of reply {name:?}"),
    }
}

fn show_reply(reply: &Reply<'_>) -> String {
    match reply {
        Reply::Values(values) => values.fold("values".to_owned(), |text, item| {
            let cas = item.cas.map(|cas| format!(" cas={cas}")).unwrap_or_default();
            format!("{text} [{} flags={} {}{cas}]", show(item.key), item.flags, show(item.value))
        }),
        Reply::Stats(lines) => lines.fold("stats".to_owned(), |text, stat| {
            format!("{text} [{}={}]", show(stat.name), show(stat.value))
        }),
        Reply::Map(map) => format!("map version={} {}", map.version, show(map.text)),
        Reply::Version(text) => format!("version {}", show(text)),
        Reply::Error(text) => format!("error {}", show(text)),
        Reply::ClientError(text) => format!("client error {}", show(text)),
        Reply::ServerError(text) => format!("server error {}", show(text)),
        Reply::Meta(meta) => {
            let value = meta.value.map(|value| format!(" {}", show(value))).unwrap_or_default();
            let flags: Vec<String> =
                meta.flags.map(|flag| format!("{}{}", flag.letter as char, show(flag.token))).collect();
            format!("{:?}{value} [{}]", meta.code, flags.join(" "))
        }
        other => format!("{other:?}"),
    }
}
