//! However bytes arrive - whole, in random pieces, one by one - decode says the same; and for bytes that
//! nobody should send it says something, consumes what it says, and goes on.
//!
//! Seeds are fixed: a failure prints its seed and comes again.

use doled_proto::limits::LINE_LEN_MAX;
use doled_proto::meta::{MetaCode, MetaLine, MetaReply};
use doled_proto::reply::{self, DecodedReply, Reply, ReplyKind, Value, decode_reply};
use doled_proto::request::{Decoded, Request, Then, decode, single_get};
use stdx::Prng;

const SEEDS: u64 = 200;

/// Key, flags, value, cas.
type Item = (Vec<u8>, u32, Vec<u8>, Option<u64>);

const KINDS: [ReplyKind; 14] = [
    ReplyKind::Values,
    ReplyKind::Storage,
    ReplyKind::Arith,
    ReplyKind::Delete,
    ReplyKind::Touch,
    ReplyKind::Ok,
    ReplyKind::Version,
    ReplyKind::Stats,
    ReplyKind::Own,
    ReplyKind::Disown,
    ReplyKind::Clock,
    ReplyKind::Node,
    ReplyKind::Map,
    ReplyKind::Meta,
];

/// The short cut says what decode says, for exactly the gets of one key that are written with one space.
fn check_single_get(buf: &[u8], decoded: &Decoded<'_>) {
    let single = match decoded {
        Decoded::Request { consumed, request: Request::Get(get) } if !get.with_cas => {
            get.keys.single().map(|key| (key, *consumed))
        }
        _ => None,
    };
    match single_get(buf) {
        Some(short) => assert_eq!(Some(short), single),
        None => assert!(single.is_none_or(|(key, len)| {
            !buf.starts_with(&[&b"get "[..], key, b"\r\n"].concat()) || len != key.len() + 6
        })),
    }
}

/// What a connection is: bytes kept, and how many of the coming ones are a data block.
#[derive(Default)]
struct Connection {
    kept: Vec<u8>,
    skip: usize,
    closed: bool,
    seen: Vec<String>,
}

impl Connection {
    fn receive(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        while !self.closed && self.step() {}
    }

    fn step(&mut self) -> bool {
        let skipped = self.skip.min(self.kept.len());
        self.kept.drain(..skipped);
        self.skip -= skipped;
        if self.skip > 0 || self.kept.is_empty() {
            return false;
        }
        let decoded = decode(&self.kept);
        check_single_get(&self.kept, &decoded);
        let (consumed, skip) = match &decoded {
            Decoded::NeedMore => return false,
            Decoded::Request { consumed, request: Request::Storage(storage) } => {
                (*consumed, storage.value_len + 2)
            }
            Decoded::Request { consumed, request: Request::Ms(ms) } => (*consumed, ms.value_len + 2),
            Decoded::Request { consumed, .. } => (*consumed, 0),
            Decoded::Refuse { consumed, then: Then::Swallow(len), .. } => (*consumed, *len),
            Decoded::Refuse { consumed, then, .. } => {
                self.closed = *then == Then::Close;
                (*consumed, 0)
            }
        };
        assert!(consumed > 0 && consumed <= self.kept.len(), "{consumed} of {}", self.kept.len());
        // How much of a line is dropped with its connection is nobody's business.
        self.seen.push(match &decoded {
            Decoded::Refuse { reply, then: Then::Close, .. } => format!("close {reply:?}"),
            _ => format!("{decoded:?}"),
        });
        self.kept.drain(..consumed);
        self.skip = skip;
        true
    }
}

/// A line from words that commands are made of, right and wrong, with the data block that it announces or not.
fn push_command(prng: &mut Prng, out: &mut Vec<u8>) {
    const WORDS: [&str; 26] = [
        "get",
        "gets",
        "gat",
        "gats",
        "set",
        "add",
        "append",
        "cas",
        "incr",
        "decr",
        "delete",
        "touch",
        "flush_all",
        "stats",
        "version",
        "bg",
        "own",
        "map",
        "mg",
        "ms",
        "md",
        "ma",
        "me",
        "mn",
        "verbosity",
        "bogus",
    ];
    const ARGUMENTS: [&str; 24] = [
        "k",
        "key",
        "0",
        "1",
        "5",
        "-1",
        "4294967296",
        "18446744073709551615",
        "x",
        "noreply",
        "1:1",
        "1:2:3",
        "Zm9v",
        "b",
        "v",
        "k",
        "q",
        "T60",
        "Oabc",
        "MA",
        "C5",
        "\u{1}",
        "HTTP/1.1",
        "",
    ];
    let mut pick = |from: &[&'static str]| from[prng.below(from.len() as u64) as usize];
    let mut line = pick(&WORDS).to_owned();
    for _ in 0..pick(&["0", "1", "2", "3", "4", "5", "6", "25"]).parse().unwrap_or(0) {
        line = line + " " + pick(&ARGUMENTS);
    }
    line += pick(&["\r\n", "\r\n", "\n", "\r\r\n"]);
    out.extend_from_slice(line.as_bytes());
    if prng.chance(1, 3) {
        out.extend_from_slice(b"\r\n");
    }
    if prng.chance(1, 20) {
        out.extend((0..prng.below(20)).map(|_| prng.next_u64() as u8));
    }
    if prng.chance(1, 50) {
        out.extend_from_slice(b"get ");
        out.extend((0..prng.below(400)).flat_map(|_| *b"some-key "));
        out.extend_from_slice(b"\r\n");
    }
}

fn in_pieces(prng: &mut Prng, input: &[u8], piece_max: u64) -> Connection {
    let mut connection = Connection::default();
    let mut rest = input;
    while !rest.is_empty() {
        let len = (1 + prng.below(piece_max) as usize).min(rest.len());
        connection.receive(&rest[..len]);
        rest = &rest[len..];
    }
    connection
}

#[test]
fn requests_are_the_same_in_pieces() {
    for seed in 0..SEEDS {
        let mut prng = Prng::new(seed);
        let mut input = Vec::new();
        for _ in 0..20 {
            push_command(&mut prng, &mut input);
        }
        let whole = in_pieces(&mut prng, &input, u64::MAX);
        for piece_max in [1, 3, 50, LINE_LEN_MAX as u64] {
            let pieces = in_pieces(&mut prng, &input, piece_max);
            assert_eq!(pieces.seen, whole.seen, "seed {seed}, pieces up to {piece_max}");
            assert_eq!((pieces.closed, pieces.skip), (whole.closed, whole.skip), "seed {seed}");
        }
    }
}

/// Bytes from a small alphabet, so that line ends and words come about.
fn noise(prng: &mut Prng) -> Vec<u8> {
    const LIKELY: &[u8] = b" \r\n  :0159bgkmsvetaVALUEND-_STERROR\xff\0";
    let len = prng.below(200);
    (0..len).map(|_| LIKELY[prng.below(LIKELY.len() as u64) as usize]).collect()
}

#[test]
fn noise_is_taken_without_panic() {
    for seed in 0..SEEDS * 10 {
        let mut prng = Prng::new(seed);
        let bytes = noise(&mut prng);
        let mut connection = Connection::default();
        connection.receive(&bytes);
        for kind in KINDS {
            check_reply_progress(kind, &bytes);
        }
    }
}

fn check_reply_progress(kind: ReplyKind, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match decode_reply(kind, rest) {
            DecodedReply::Reply { consumed, .. } => {
                assert!(consumed > 0);
                rest = &rest[consumed..];
            }
            DecodedReply::NeedMore { at_least } => return assert!(at_least > rest.len()),
            DecodedReply::Bad => return,
        }
    }
}

fn random_bytes(prng: &mut Prng, len_max: u64) -> Vec<u8> {
    let len = prng.below(len_max + 1);
    (0..len).map(|_| prng.next_u64() as u8).collect()
}

fn random_key(prng: &mut Prng) -> Vec<u8> {
    let mut key = random_bytes(prng, 249);
    key.push(b'k');
    key.iter_mut().for_each(|byte| *byte = if matches!(byte, b' ' | b'\n' | b'\r') { b'_' } else { *byte });
    key
}

/// The reply in `bytes` comes out at its last byte, not before, and what damage makes of it is survived.
#[track_caller]
fn check_reply(prng: &mut Prng, kind: ReplyKind, bytes: &[u8], expect: impl FnOnce(&Reply<'_>)) {
    for end in 0..bytes.len() {
        match decode_reply(kind, &bytes[..end]) {
            DecodedReply::NeedMore { at_least } => {
                assert!(at_least > end && at_least <= bytes.len());
            }
            other => panic!("cut at {end}: {other:?}"),
        }
    }
    let followed = [bytes, &random_bytes(prng, 10)].concat();
    let DecodedReply::Reply { consumed, reply } = decode_reply(kind, &followed) else { panic!("no reply") };
    assert_eq!(consumed, bytes.len());
    expect(&reply);
    let mut damaged = bytes.to_vec();
    for _ in 0..10 {
        let at = prng.below(damaged.len() as u64) as usize;
        damaged[at] = prng.next_u64() as u8;
        KINDS.iter().for_each(|&kind| check_reply_progress(kind, &damaged));
    }
}

#[test]
fn values_come_back() {
    for seed in 0..SEEDS / 4 {
        let mut prng = Prng::new(seed);
        let with_cas = prng.chance(1, 2);
        let items: Vec<Item> = (0..prng.below(4))
            .map(|_| {
                let cas = with_cas.then(|| prng.next_u64());
                (random_key(&mut prng), prng.next_u64() as u32, random_bytes(&mut prng, 300), cas)
            })
            .collect();
        let mut bytes = Vec::new();
        for (key, flags, value, cas) in &items {
            reply::put_value(&mut bytes, key, *flags, value, *cas);
        }
        bytes.extend_from_slice(reply::text::END);
        check_reply(&mut prng, ReplyKind::Values, &bytes, |reply| {
            let Reply::Values(values) = reply else { panic!("{reply:?}") };
            let expect =
                items.iter().map(|(key, flags, value, cas)| Value { key, flags: *flags, value, cas: *cas });
            assert!(Iterator::eq(*values, expect), "seed {seed}");
        });
    }
}

#[test]
fn meta_replies_come_back() {
    for seed in 0..SEEDS {
        let mut prng = Prng::new(seed);
        let (value, key, opaque) =
            (random_bytes(&mut prng, 300), random_key(&mut prng), random_key(&mut prng));
        let cas = prng.next_u64();
        let has_value = prng.chance(1, 2);
        let mut bytes = Vec::new();
        let mut line = if has_value {
            MetaLine::value(&mut bytes, value.len())
        } else {
            MetaLine::start(&mut bytes, MetaCode::Hd)
        };
        line.token(b'k', &key);
        line.number(b'c', cas);
        line.token(b'O', &opaque);
        line.ttl(None);
        line.flag(b'W');
        line.end();
        if has_value {
            bytes.extend_from_slice(&value);
            bytes.extend_from_slice(b"\r\n");
        }
        check_reply(&mut prng, ReplyKind::Meta, &bytes, |reply| {
            let Reply::Meta(MetaReply { code, value: decoded, flags }) = reply else { panic!("{reply:?}") };
            assert_eq!(*code == MetaCode::Va, has_value);
            assert_eq!(*decoded, has_value.then_some(&value[..]));
            assert_eq!(flags.token(b'k'), Some(&key[..]), "seed {seed}");
            assert_eq!(flags.token(b'c'), Some(cas.to_string().as_bytes()));
            assert_eq!(flags.token(b'O'), Some(&opaque[..]));
            assert_eq!(flags.map(|flag| flag.letter).collect::<Vec<u8>>(), b"kcOtW");
        });
    }
}

#[test]
fn managed_replies_come_back() {
    use doled_proto::{ClusterId, Incarnation, MapVersion};
    for seed in 0..SEEDS / 4 {
        let mut prng = Prng::new(seed);
        let (cluster, incarnation) = (ClusterId(prng.next_u64()), Incarnation(prng.next_u64()));
        let (version, ms) = (MapVersion(prng.next_u64()), prng.next_u64());
        let name: doled_proto::NodeId = "node-1.rack_2".parse().unwrap();
        let mut bytes = Vec::new();
        reply::put_clock(&mut bytes, incarnation, ms);
        check_reply(&mut prng, ReplyKind::Clock, &bytes, |reply| {
            assert_eq!(*reply, Reply::Clock(reply::Clock { incarnation, ms }));
        });
        bytes.clear();
        reply::put_node(&mut bytes, cluster, &name, incarnation);
        check_reply(&mut prng, ReplyKind::Node, &bytes, |reply| {
            assert_eq!(*reply, Reply::Node(reply::Node { cluster, name: name.clone(), incarnation }));
        });
        bytes.clear();
        let text = random_bytes(&mut prng, 500);
        reply::put_map(&mut bytes, version, &text);
        check_reply(&mut prng, ReplyKind::Map, &bytes, |reply| {
            assert_eq!(*reply, Reply::Map(reply::Map { version, text: &text }));
        });
        bytes.clear();
        reply::put_stat(&mut bytes, "pid", ms);
        reply::put_stat(&mut bytes, format_args!("items:{}:age", 1), "x y");
        bytes.extend_from_slice(reply::text::END);
        check_reply(&mut prng, ReplyKind::Stats, &bytes, |reply| {
            let Reply::Stats(lines) = reply else { panic!("{reply:?}") };
            let names: Vec<&[u8]> = lines.map(|stat| stat.name).collect();
            assert_eq!(names, [&b"pid"[..], b"items:1:age"]);
        });
    }
}

/// Refusals and misses echo what the request asked to be echoed, in its order, and nothing else.
#[test]
fn refusals_of_meta_commands_echo_key_and_opaque() {
    #[track_caller]
    fn check(request: &[u8], expect: &[u8]) {
        let Decoded::Request { request: Request::Mg(mg), .. } = decode(request) else { panic!("no mg") };
        let mut out = Vec::new();
        MetaLine::put_echo(&mut out, MetaCode::NotOwner, &mg.key, mg.flags);
        assert_eq!(out.escape_ascii().to_string(), expect.escape_ascii().to_string());
    }
    check(b"mg foo v\r\n", b"ERROR_NOT_OWNER\r\n");
    check(b"mg foo Oab v k t\r\n", b"ERROR_NOT_OWNER Oab kfoo\r\n");
    check(b"mg Zm9v k b O1\r\n", b"ERROR_NOT_OWNER kZm9v b O1\r\n");
}
