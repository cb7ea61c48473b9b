//! Peers that send anything: the manager closes what is of no use, and goes on.

use std::io::{Read, Write};
use std::net::TcpStream;

use proto::control::{Dirty, Message, codec};
use proto::{Bucket, ClusterId, MapVersion};

use crate::fake_node::{Control, PATIENCE, ask};
use crate::harness::Harness;

fn frame(message: &Message) -> Vec<u8> {
    let mut frame = Vec::new();
    codec::encode(message, &mut frame);
    frame
}

/// Everything that the manager says to `bytes` until it closes.
#[track_caller]
fn answer_to(harness: &Harness, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(harness.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The manager may have closed already.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("it neither answers nor closes")
        }
        _ => answer,
    }
}

#[test]
fn broken_frames_end_their_connection() {
    let harness = Harness::start();
    let good = frame(&Message::MapGet(MapVersion::NONE));
    let mut version = good.clone();
    version[1] = 9;
    let mut kind = good.clone();
    kind[6] = 250;
    let long = [&[codec::FRAME_START, codec::VERSION][..], &u32::MAX.to_be_bytes(), &[1]].concat();
    let empty = [&[codec::FRAME_START, codec::VERSION][..], &0u32.to_be_bytes()].concat();
    for bytes in [version, kind, long, empty, frame(&Message::Done), frame(&Message::Refused("x".into()))] {
        assert_eq!(answer_to(&harness, &bytes), b"", "{bytes:?}");
    }
    assert_eq!(harness.get("/v1/status").0, 200);
}

#[test]
fn answers_before_a_broken_frame_are_given() {
    let harness = Harness::start();
    let bytes = [frame(&Message::MapGet(MapVersion::NONE)), b"GET / HTTP/1.1\r\n".to_vec()].concat();
    let answer = answer_to(&harness, &bytes);
    assert!(
        matches!(codec::decode(&answer), Ok(Some((Message::MapIs(_), length))) if length == answer.len())
    );
}

#[test]
fn a_frame_may_come_byte_by_byte_and_many_at_once() {
    let harness = Harness::start();
    let mut control = Control::connect(harness.address());
    for byte in frame(&Message::MapGet(MapVersion::NONE)) {
        control.stream.write_all(&[byte]).unwrap();
    }
    assert!(matches!(control.receive(), Some(Message::MapIs(_))));
    control.stream.write_all(&frame(&Message::MapGet(MapVersion::NONE)).repeat(100)).unwrap();
    for _ in 0..100 {
        assert!(matches!(control.receive(), Some(Message::MapIs(_))));
    }
}

#[test]
fn a_poll_that_nobody_waits_for_is_no_harm() {
    let harness = Harness::start();
    for _ in 0..20 {
        let node = harness.node("a");
        node.wait("a reply", |view| view.replies > 0);
        // In the middle of its next poll, which is held.
        let life = node.kill().life.unwrap();
        assert_eq!(ask(harness.address(), &Message::Dead(life)), Message::Done);
    }
    assert_eq!(harness.get("/v1/status").0, 200);
}

#[test]
fn what_is_neither_control_nor_http_is_answered_as_bad_http() {
    let harness = Harness::start();
    for bytes in [b"\0\0\0\0\r\n\r\n".as_slice(), b"set a 0 0 1\r\n\r\n", &[0xff; 100]] {
        let answer = answer_to(&harness, bytes);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'a'; 100_000]].concat();
    let answer = answer_to(&harness, &endless);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(harness.get("/v1/status").0, 200);
}

#[test]
fn an_end_in_the_middle_is_an_end() {
    let harness = Harness::start();
    let whole = frame(&Message::MapGet(MapVersion::NONE));
    for cut in 0..whole.len() {
        let mut stream = TcpStream::connect(harness.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&whole[..cut]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
    }
}

#[test]
fn what_comes_behind_a_held_poll_waits_for_its_turn() {
    let harness = Harness::start();
    harness.node("a").wait("a reply", |view| view.replies > 0);
    let mut control = Control::connect(harness.address());
    let dirty = Dirty { cluster: ClusterId(0), bucket: Bucket::new(1).unwrap() };
    let mut bytes = frame(&Message::Dirty(dirty));
    let count = 10_000;
    bytes.extend(frame(&Message::MapGet(MapVersion(u64::MAX))).repeat(count));
    // More than the manager reads ahead, from a thread, since it is read only as answers go out.
    let mut writer = control.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    assert!(matches!(control.receive(), Some(Message::Done | Message::Refused(_))));
    for _ in 0..count {
        assert_eq!(control.receive(), Some(Message::MapIs(Vec::new())));
    }
    writing.join().unwrap();
}
