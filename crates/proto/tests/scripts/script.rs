//! A script's form: cases divided by empty lines, comments with `#`.

use std::fmt::Write;
use std::path::Path;

use crate::bytes;

/// Runs every case of a script, and compares or rewrites.
#[track_caller]
pub(crate) fn run(path: &Path, run_case: impl Fn(&str, &[u8]) -> String) {
    let text = std::fs::read_to_string(path).expect("the script can be read");
    let mut rewritten = String::new();
    let mut failures = String::new();
    for block in text.trim_end().split("\n\n") {
        if !rewritten.is_empty() {
            rewritten.push('\n');
        }
        let Some((head, expect)) = block.split_once("\n----") else {
            assert!(block.lines().all(|line| line.starts_with('#')), "a case without ----:\n{block}");
            writeln!(rewritten, "{block}").expect("a String");
            continue;
        };
        let mut lines = head.lines().skip_while(|line| line.starts_with('#'));
        let command = lines.next().expect("a command");
        let input = bytes::from_script(&lines.collect::<String>());
        let actual = run_case(command, &input);
        write!(rewritten, "{head}\n----\n{actual}").expect("a String");
        if actual.trim_end() != expect.trim() {
            write!(failures, "\n{head}\n---- expected\n{}\n---- actual\n{actual}", expect.trim())
                .expect("a String");
        }
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, rewritten).expect("the script can be written");
    } else {
        assert!(failures.is_empty(), "{}: {failures}", path.display());
    }
}
