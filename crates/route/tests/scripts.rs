//! Routing as scripts: every `tests/*.test` drives one router with explicit time, command by command, and shows what
//! it says. `UPDATE_EXPECT=1` writes what comes out.
//!
//! A block is commands, `----`, and what came of them. `map` takes the rest of its block as the map's text. Times are
//! milliseconds; `at` moves the clock. A started request goes by its key, or by the name behind `as`.

#![allow(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

mod world;

use std::fmt::Write as _;
use std::path::Path;

use world::World;

#[test]
fn scripts() {
    testkit::check_scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), run);
}

/// Runs a script and returns it with the outputs that really came.
fn run(text: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        writeln!(out, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut block = vec![line];
        while let Some(next) = lines.next_if(|next| *next != "----" && !next.is_empty()) {
            writeln!(out, "{next}").unwrap();
            block.push(next);
        }
        if lines.next_if(|next| *next == "----").is_some() {
            while lines.next_if(|next| !next.is_empty()).is_some() {}
        }
        let results = run_block(&mut world, &block);
        if !results.is_empty() {
            out.push_str("----\n");
            out.push_str(&results);
        }
    }
    out
}

fn run_block(world: &mut World, block: &[&str]) -> String {
    let mut out = String::new();
    for (index, line) in block.iter().enumerate() {
        if *line == "map" {
            let text: String = block[index + 1..].iter().map(|line| format!("{line}\n")).collect();
            out.push_str(&world.map(text.as_bytes()));
            break;
        }
        out.push_str(&world.run(line));
    }
    out
}
