//! Runs the scripts in `tests/*.test`: a command and its input, `----`, what must come out.
//!
//! `UPDATE_EXPECT=1 cargo test -p doled-proto` writes what came out into the scripts; read the diff then.
//!
//! ```text
//! request                  reply values
//! get a\r\n                END\r\n
//! ----                     ----
//! 7: get a                 5: values
//! ```
//!
//! Input lines are joined without a line end; `\r`, `\n`, `\s` (space), `\xNN`, `\\` are what they are
//! elsewhere, and `{a*251}` is `a` 251 times. Each input is also fed in pieces: that must change nothing.

mod bytes;
mod replies;
mod requests;
mod script;

use std::path::PathBuf;

#[track_caller]
fn check(file: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
    script::run(&path, |command, input| {
        let (name, argument) = command.split_once(' ').unwrap_or((command, ""));
        match name {
            "request" => requests::run(input),
            "reply" => replies::run(argument, input),
            _ => panic!("unknown command {command:?}"),
        }
    });
}

#[test]
fn lines() {
    check("lines.test");
}

#[test]
fn classic_requests() {
    check("classic.test");
}

#[test]
fn managed_requests() {
    check("managed.test");
}

#[test]
fn meta_requests() {
    check("meta.test");
}

#[test]
fn classic_replies() {
    check("replies.test");
}

#[test]
fn meta_replies() {
    check("meta_replies.test");
}
