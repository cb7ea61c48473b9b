//! The control codec: round trips, frames in pieces, frames damaged in every way that has a name.

use stdx::Prng;

use super::*;
use crate::bucket::{BUCKET_COUNT, Bucket};
use crate::control::{Change, Dirty, Life, LockIdentity, Owned, Poll, Reply, Role};
use crate::ids::{ClusterId, Generation, Incarnation, MapVersion, NodeId, Nonce, Term};
use crate::limits::{CHANGES_MAX, MAP_TEXT_LEN_MAX, OWNED_RUNS_MAX, REFUSED_TEXT_LEN_MAX};

fn bucket(number: u16) -> Bucket {
    Bucket::new(number).unwrap()
}

fn node() -> NodeId {
    "node-1".parse().unwrap()
}

fn poll(owned: Option<Vec<Owned>>) -> Poll {
    Poll {
        cluster: ClusterId(1),
        node: node(),
        incarnation: Incarnation(u64::MAX),
        nonce: Nonce(3),
        applied: Nonce(4),
        owned,
        map_version: MapVersion::new(5, 6),
        address: "[::1]:11211".to_owned(),
        lock: LockIdentity { boot_id: u128::MAX - 7, device: 8, inode: 9 },
        pid: 10,
    }
}

fn reply(changes: Vec<Change>, map: Vec<u8>) -> Reply {
    Reply {
        cluster: ClusterId(1),
        incarnation: Incarnation(2),
        nonce: Nonce(3),
        term: Term(4),
        lease: true,
        lease_ms: 10_000,
        list_owned: false,
        changes,
        map,
    }
}

fn grant(first: u16, count: u16, role: Role) -> Change {
    let generation = Generation::new(1, 2);
    Change::Grant { first: bucket(first), count, generation, base: Generation::new(1, 1), role }
}

fn life() -> Life {
    Life { cluster: ClusterId(0), node: node(), incarnation: Incarnation(77) }
}

fn every_message() -> Vec<Message> {
    let owned = |first, count| Owned { first: bucket(first), count, generation: Generation(9) };
    let changes = vec![
        Change::Revoke { first: bucket(0), count: 32_768 },
        grant(0, 1, Role::Primary),
        grant(32_767, 1, Role::Copy),
    ];
    vec![
        Message::Poll(poll(None)),
        Message::Poll(poll(Some(vec![]))),
        Message::Poll(poll(Some(vec![owned(0, 100), owned(32_767, 1)]))),
        Message::Reply(reply(vec![], vec![])),
        Message::Reply(reply(changes, b"doled-map 1\n".to_vec())),
        Message::Dead(life()),
        Message::Release(life()),
        Message::Dirty(Dirty { cluster: ClusterId(5), bucket: bucket(32_767) }),
        Message::Done,
        Message::Refused("höchstens".to_owned()),
        Message::MapGet(MapVersion(u64::MAX)),
        Message::MapIs(vec![0, 255]),
    ]
}

fn frame(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, &mut out);
    out
}

fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![FRAME_START, VERSION];
    out.extend_from_slice(&(body.len() as u32 + 1).to_be_bytes());
    out.push(kind);
    out.extend_from_slice(body);
    out
}

#[test]
fn every_message_comes_back_whole_and_byte_by_byte() {
    for message in every_message() {
        let bytes = frame(&message);
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Ok(None), "{message:?} cut at {end}");
        }
        assert_eq!(decode(&bytes), Ok(Some((message, bytes.len()))));
    }
}

#[test]
fn frames_follow_one_another() {
    let messages = every_message();
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| encode(message, &mut bytes));
    let mut rest = &bytes[..];
    for message in messages {
        let (decoded, consumed) = decode(rest).unwrap().unwrap();
        assert_eq!(decoded, message);
        rest = &rest[consumed..];
    }
    assert!(rest.is_empty());
}

#[test]
fn a_body_cut_anywhere_or_continued_is_an_error() {
    for message in every_message() {
        let bytes = frame(&message);
        let body = &bytes[HEADER_LEN + 1..];
        for end in 0..body.len() {
            let cut = decode(&raw(message.kind(), &body[..end]));
            assert!(matches!(cut, Err(DecodeError::Truncated { .. })), "{message:?} cut at {end}: {cut:?}");
        }
        let long = [body, b"\0\0"].concat();
        assert_eq!(decode(&raw(message.kind(), &long)), Err(DecodeError::Trailing { count: 2 }));
    }
}

#[test]
fn what_is_no_frame_is_said_at_once() {
    assert_eq!(decode(b"G"), Err(DecodeError::NotControl(b'G')));
    assert_eq!(decode(&[0xD0, 2]), Err(DecodeError::Version(2)));
    assert_eq!(decode(&[0xD0, 1, 0, 0, 0, 0]), Err(DecodeError::Truncated { wanted: 1, left: 0 }));
    assert_eq!(decode(&[0xD0, 1, 0, 0, 0, 1, 0]), Err(DecodeError::Kind(0)));
    assert_eq!(decode(&[0xD0, 1, 0, 0, 0, 9, 64]), Err(DecodeError::Kind(64)));
    let max = CONTROL_FRAME_LEN_MAX;
    assert_eq!(decode(&[0xD0, 1, 255, 0, 0, 0]), Err(DecodeError::FrameTooLong { length: 255 << 24, max }));
    let max = CONTROL_SMALL_FRAME_LEN_MAX;
    assert_eq!(decode(&[0xD0, 1, 0, 1, 0, 0, 6]), Err(DecodeError::FrameTooLong { length: 1 << 16, max }));
}

#[test]
fn illegal_fields_are_named() {
    let illegal_run = |first: u16, count: u16| {
        let change = [&[0][..], &first.to_be_bytes(), &count.to_be_bytes()].concat();
        let Message::Reply(empty) = Message::Reply(reply(vec![], vec![])) else { unreachable!() };
        let mut body = frame(&Message::Reply(empty))[HEADER_LEN + 1..].to_vec();
        let count_at = body.len() - 8;
        body[count_at + 3] = 1;
        body.splice(count_at + 4..count_at + 4, change);
        assert_eq!(decode(&raw(2, &body)), Err(DecodeError::BadRun { first, count }));
    };
    illegal_run(0, 0);
    illegal_run(32_768, 1);
    illegal_run(32_767, 2);
    illegal_run(1, 32_768);
    illegal_run(u16::MAX, u16::MAX);

    let dirty = [&1_u64.to_be_bytes()[..], &32_768_u16.to_be_bytes()].concat();
    assert_eq!(decode(&raw(5, &dirty)), Err(DecodeError::BadBucket(32_768)));
    assert_eq!(decode(&raw(7, &[0, 0, 0, 1, 0xff])), Err(DecodeError::NotText { what: "refusal" }));
    let long = DecodeError::TooLong { what: "refusal", length: 1025, max: REFUSED_TEXT_LEN_MAX };
    assert_eq!(decode(&raw(7, &1025_u32.to_be_bytes())), Err(long));
    let nameless = [&1_u64.to_be_bytes()[..], &[0, 0, 0, 1, b' '], &2_u64.to_be_bytes()].concat();
    assert!(matches!(decode(&raw(3, &nameless)), Err(DecodeError::NodeName(_))));
    let mut flag = frame(&Message::Poll(poll(None)))[HEADER_LEN + 1..].to_vec();
    flag[8 + 4 + 6 + 24] = 2;
    assert_eq!(decode(&raw(1, &flag)), Err(DecodeError::BadTag { what: "flag", value: 2 }));
}

#[test]
fn the_largest_messages_fit() {
    let all: Vec<Bucket> = Bucket::all().collect();
    let owned: Vec<Owned> =
        all.iter().map(|&first| Owned { first, count: 1, generation: Generation(u64::MAX) }).collect();
    assert_eq!(owned.len(), OWNED_RUNS_MAX);
    let changes: Vec<Change> =
        (0..CHANGES_MAX).map(|number| grant((number % BUCKET_COUNT) as u16, 1, Role::Primary)).collect();
    let large = reply(changes, vec![b'm'; MAP_TEXT_LEN_MAX]);
    for message in [Message::Poll(poll(Some(owned))), Message::Reply(large)] {
        let bytes = frame(&message);
        assert_eq!(decode(&bytes).unwrap().unwrap().0, message);
    }
}

#[test]
fn a_long_refusal_is_cut_at_a_character() {
    let (message, _) = decode(&frame(&Message::Refused("é".repeat(600) + "x"))).unwrap().unwrap();
    assert_eq!(message, Message::Refused("é".repeat(512)));
}

#[test]
#[should_panic(expected = "exceeds its limit")]
fn what_nobody_would_take_is_not_sent() {
    frame(&Message::MapIs(vec![0; CONTROL_FRAME_LEN_MAX]));
}

/// Damage anywhere: never a panic, and what still decodes has exactly these bytes as its encoding.
#[test]
fn damaged_frames_decode_to_what_they_say_or_to_an_error() {
    let mut prng = Prng::new(1);
    for message in every_message() {
        let bytes = frame(&message);
        for _ in 0..2_000 {
            let mut damaged = bytes.clone();
            let at = prng.below(bytes.len() as u64) as usize;
            damaged[at] = prng.next_u64() as u8;
            if let Ok(Some((decoded, consumed))) = decode(&damaged) {
                assert_eq!(frame(&decoded), damaged[..consumed]);
            }
        }
    }
}
