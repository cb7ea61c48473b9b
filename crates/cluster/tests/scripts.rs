//! The protocol as scripts: every `tests/scripts/*.test` is a list of commands to a small world of one manager,
//! its store and some nodes, with the messages that come of each. `UPDATE_EXPECT=1` writes what comes out.

#![allow(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

mod world;

use std::fmt::Write as _;
use std::path::Path;

use world::World;

#[test]
fn scripts() {
    testkit::check_scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts"), run);
}

/// Runs a script and returns it with the outputs that really came.
fn run(text: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            writeln!(out, "{line}").unwrap();
            continue;
        }
        writeln!(out, "{line}").unwrap();
        let mut commands = vec![line];
        while let Some(next) = lines.next_if(|next| *next != "----" && !next.is_empty()) {
            writeln!(out, "{next}").unwrap();
            commands.push(next);
        }
        if lines.next_if(|next| *next == "----").is_some() {
            while lines.next_if(|next| !next.is_empty()).is_some() {}
        }
        out.push_str("----\n");
        for command in commands {
            let result = world.run(command);
            out.push_str(if result.is_empty() { "ok\n" } else { &result });
        }
    }
    out
}
