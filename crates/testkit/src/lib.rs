//! What tests of several crates share: scripts in files, compared with what comes out, or rewritten by it.
//!
//! A script holds its expected output: running it yields the same text again, or the test fails and shows where.
//! `UPDATE_EXPECT=1` writes what came out into the files; read the difference before it is committed.

#![expect(clippy::unwrap_used, reason = "for tests: what fails here fails the test")]

use std::fs;
use std::path::Path;

/// Lines shown around the first difference.
const SHOWN_BEFORE: usize = 6;
const SHOWN: usize = 20;

/// Runs every `*.test` of a directory: `run` takes a script and returns it with the output that really came.
///
/// # Panics
/// If a script yields something else than it says, or there is none.
#[track_caller]
pub fn check_scripts(directory: &Path, run: impl Fn(&str) -> String) {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", directory.display());
    let mut failures = Vec::new();
    for path in &paths {
        let text = fs::read_to_string(path).unwrap();
        let actual = run(&text);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(path, actual).unwrap();
        } else if actual != text {
            failures.push(format!("{}:{}", path.display(), difference(&text, &actual)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn difference(expected: &str, actual: &str) -> String {
    let same =
        expected.lines().zip(actual.lines()).take_while(|(expected, actual)| expected == actual).count();
    let shown = |text: &str| {
        let lines = text.lines().skip(same.saturating_sub(SHOWN_BEFORE)).take(SHOWN);
        lines.collect::<Vec<_>>().join("\n    ")
    };
    format!("{}\n  expected\n    {}\n  actual\n    {}", same + 1, shown(expected), shown(actual))
}
