//! The door of a node with an auth file (`-Y`): a connection that has not shown a user and its password gets
//! here with every byte it sends, and nothing of it is taken for a command.
//!
//! What opens it is `set <any> <any> <any> <len>`, and a data block `user pass`, so that clients need no new
//! word. It stands before the decode of all protocols and for all listeners, since it is asked by the
//! connection's first byte and never left but through the right password.
//!
//! **Invariant**: what waits for more bytes is at most one line and one token, each within its limit.

use proto::binary::REQUEST_MAGIC;
use proto::limits::LINE_LEN_MAX;
use proto::reply::text;

use super::Step;
use crate::auth_file::AuthFile;
use crate::engine::Context;
use crate::limits::AUTH_TOKEN_LEN_MAX;

/// A connection that is not yet somebody.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// Length of the token whose line has come.
    token_len: Option<usize>,
    is_open: bool,
}

impl Door {
    /// Whether the password was shown.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn step(
        &mut self,
        cx: &Context<'_>,
        users: &AuthFile,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        match self.token_len.take() {
            Some(len) => self.token(cx, users, len, input, out),
            None => self.line(input, out),
        }
    }

    fn line(&mut self, input: &[u8], out: &mut Vec<u8>) -> Step {
        if input.first() == Some(&REQUEST_MAGIC) {
            // The binary protocol can't show a text password; to wait for a line end would be to wait forever.
            return Step::Close(input.len());
        }
        let Some(end) = input.iter().take(LINE_LEN_MAX + 1).position(|byte| *byte == b'\n') else {
            return if input.len() > LINE_LEN_MAX { Step::Close(input.len()) } else { Step::More(0) };
        };
        match announced(input.get(..end).unwrap_or_default()) {
            None => out.extend_from_slice(text::UNAUTHENTICATED),
            Some(len) if len > AUTH_TOKEN_LEN_MAX => {
                // It is not waited for; line for line, what follows is refused as well.
                out.extend_from_slice(text::AUTH_TOKEN_TOO_LONG);
            }
            len => self.token_len = len,
        }
        Step::Done(end + 1)
    }

    fn token(
        &mut self,
        cx: &Context<'_>,
        users: &AuthFile,
        len: usize,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        let whole = len + b"\r\n".len();
        let Some(block) = input.get(..whole) else {
            self.token_len = Some(len);
            return Step::More(0);
        };
        let reply = match block.strip_suffix(b"\r\n").map(words) {
            None => text::BAD_AUTH_TERMINATION,
            Some(None) => text::BAD_AUTH_TOKEN,
            Some(Some((user, password))) => {
                cx.counters.auth_cmds.count();
                self.is_open = users.has(user, password);
                if self.is_open {
                    text::STORED
                } else {
                    cx.counters.auth_errors.count();
                    text::AUTH_FAILURE
                }
            }
        };
        out.extend_from_slice(reply);
        Step::Done(whole)
    }
}

/// The length that `set <any> <any> <any> <len> …` announces. More digits than a number holds are too many.
fn announced(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let is_set = words.next() == Some(b"set");
    let len = words.nth(3).filter(|_| is_set)?;
    if !len.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: usize, digit: &u8| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
    Some(len.iter().fold(0, add))
}

/// User and password of a token; what follows them is not looked at.
fn words(token: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = token.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.next().zip(words.next())
}
