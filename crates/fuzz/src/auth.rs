//! A file of users and a node behind it: any bytes are a file or a told mistake; every user of a file gets in with
//! the password, and nobody who was not asked for one is answered anything but refusals.

use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};
use server::AuthFile;

use crate::input::Input;
use crate::session::answers_behind_door;

/// Answers of a connection that has not shown a password.
const REFUSALS: &[&str] = &["CLIENT_ERROR"];

/// How much of the bytes is the file, two bytes for the cuts, the file, what a connection sends.
pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (file_len, seed) = (input.short() % 1024, input.short() as u64);
    let text = input.bytes(file_len);
    let sent = input.rest();
    let Some(file) = open(text) else {
        assert!(!is_certainly_right(text), "refused: {:?}", String::from_utf8_lossy(text));
        return;
    };
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let users: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    let answers = answers_behind_door(file.clone(), sent, seed);
    let shown = |user: &[u8]| {
        let mut token = user.to_vec();
        let colon = token.iter().position(|byte| *byte == b':').expect("a user has one");
        token[colon] = b' ';
        token
    };
    if !users.iter().any(|user| contains(sent, &shown(user))) {
        for line in answers.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let is_refusal = REFUSALS.iter().any(|refusal| line.starts_with(refusal.as_bytes()));
            assert!(is_refusal, "nobody is answered {:?}", String::from_utf8_lossy(line));
        }
    }
    if let Some(user) = users.get(sent.len() % users.len().max(1)) {
        let token = shown(user);
        let mut sent = Vec::new();
        write!(sent, "set a 0 0 {}\r\n", token.len()).expect("memory");
        sent.extend_from_slice(&token);
        sent.extend_from_slice(b"\r\nmn\r\n");
        let answers = answers_behind_door(file, &sent, seed);
        assert_eq!(answers.bytes, b"STORED\r\nMN\r\n", "{:?}", String::from_utf8_lossy(user));
    }
}

/// Users as in every handbook.
fn is_certainly_right(text: &[u8]) -> bool {
    let Some(lines) = text.strip_suffix(b"\n") else { return false };
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    lines.len() <= 8
        && lines.iter().all(|line| {
            let parts: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
            let is_word =
                |part: &&[u8]| (1..=100).contains(&part.len()) && part.iter().all(u8::is_ascii_alphanumeric);
            parts.len() == 2 && parts.iter().all(is_word)
        })
}

fn open(text: &[u8]) -> Option<AuthFile> {
    let mut file = std::fs::File::from(memfd_create("users", MemfdFlags::CLOEXEC).expect("a file in memory"));
    file.write_all(text).expect("memory");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    AuthFile::open(&path).ok()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
