//! The protocol as scripts: every `tests/scripts/*.test` is a list of commands to a small world of one manager,
//! its store and some nodes, with the messages that come of each. `UPDATE_EXPECT=1` writes what comes out.

#![allow(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

mod world;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use world::World;

#[test]
fn scripts() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let rewrite = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", directory.display());
    let mut failures = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "test")) {
        let text = fs::read_to_string(path).unwrap();
        let actual = run(&text);
        if rewrite {
            fs::write(path, actual).unwrap();
        } else if actual != text {
            failures.push(format!("{}:\n{}", path.display(), difference(&text, &actual)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
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

fn difference(expected: &str, actual: &str) -> String {
    let pairs = expected.lines().zip(actual.lines()).enumerate();
    let first = pairs.into_iter().find(|(_, (a, b))| a != b).map_or(0, |(index, _)| index);
    let from = first.saturating_sub(6);
    let shown = |text: &str| text.lines().skip(from).take(20).collect::<Vec<_>>().join("\n    ");
    format!("line {}\n  expected\n    {}\n  actual\n    {}", first + 1, shown(expected), shown(actual))
}
