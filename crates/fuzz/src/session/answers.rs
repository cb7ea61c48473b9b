//! What may be put out: lines that some command has, values as long as their line says, whole binary frames.

use proto::binary::{HEADER_LEN, REPLY_MAGIC};
use stdx::ByteSize;

/// First words of the lines without a block behind them.
const WORDS: &[&str] = &[
    "END",
    "STORED",
    "NOT_STORED",
    "EXISTS",
    "NOT_FOUND",
    "DELETED",
    "TOUCHED",
    "OK",
    "RESET",
    "ERROR",
    "CLIENT_ERROR",
    "SERVER_ERROR",
    "VERSION",
    "STAT",
    "ITEM",
    "PREFIX",
    "HD",
    "EN",
    "NF",
    "NS",
    "EX",
    "MN",
    "ME",
    "OWNED",
    "DISOWNED",
    "CLOCK",
    "NODE",
    "ERROR_NOT_OWNER",
    "ERROR_EXPIRED",
    "BADCLASS",
    "SERVER_ERROR:",
    "MEMLIMIT_TOO_SMALL",
    "MEMLIMIT_ADJUST_FAILED",
    "mg",
];

/// The answers without those numbers of `stats` that say how long the process has been computing.
pub(super) fn repeatable(bytes: &[u8]) -> Vec<u8> {
    let mut left = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let time =
            [&b"rusage_user"[..], b"rusage_system"].into_iter().find_map(|name| rest.strip_prefix(name));
        if let Some(time) = time {
            let digits = time.iter().take_while(|byte| b" .0123456789".contains(byte)).count();
            rest = &time[digits..];
            continue;
        }
        left.push(*first);
        rest = behind;
    }
    left
}

/// Panics where these are not whole answers of the text protocol.
pub(super) fn check_text(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n').expect("an answer ends with a line end");
        let (line, rest) = bytes.split_at(end + 1);
        bytes = rest;
        if line.starts_with(b"key=") {
            assert!(line.ends_with(b" \n"), "{}", String::from_utf8_lossy(line));
            continue;
        }
        let line =
            line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(line)));
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let block = match words[0] {
            b"VALUE" => Some((words[3], 0)),
            b"VA" => Some((words[1], 0)),
            b"MAP" => Some((words[2], 0)),
            b"CONFIG" => Some((words[3], 0)),
            _ => None,
        };
        match block {
            Some((len, extra)) => bytes = after_block(bytes, number(len) + extra),
            None => check_line(line, words[0]),
        }
    }
}

fn check_line(line: &[u8], word: &[u8]) {
    let is_number = line.iter().all(u8::is_ascii_digit) && line.len() <= 20 && !line.is_empty();
    let is_known = WORDS.iter().any(|known| known.as_bytes() == word);
    assert!(is_number || is_known, "no answer: {:?}", String::from_utf8_lossy(line));
}

fn number(word: &[u8]) -> usize {
    std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).expect("a length")
}

fn after_block(bytes: &[u8], len: usize) -> &[u8] {
    let (_, rest) = bytes.split_at_checked(len).expect("a whole block");
    rest.strip_prefix(b"\r\n").expect("a block ends where its line says")
}

/// Panics where these are not whole replies of the binary protocol.
pub(super) fn check_binary(mut bytes: &[u8]) {
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() {
        assert_eq!(header[0], REPLY_MAGIC);
        let key_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let body_len = u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize;
        assert!(usize::from(header[4]) + key_len <= body_len, "{header:?}");
        assert!(body_len as u64 <= ByteSize::mib(2).0, "{header:?}");
        bytes = rest.get(body_len..).expect("a whole reply");
    }
    assert!(bytes.is_empty(), "half a header: {bytes:?}");
}
