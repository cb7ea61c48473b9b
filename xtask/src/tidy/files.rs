//! What every source file must keep: a head, a size, no leftovers; unsafe code only where it is listed.

use std::process::Command;

use anyhow::{Context, Result};

/// Files that may hold `unsafe`.
const UNSAFE_FILES: &[&str] = &[
    "crates/store/src/arena.rs",
    "crates/store/src/index.rs",
    "crates/store/src/lane.rs",
    "crates/store/src/pool.rs",
    "crates/store/src/record.rs",
    "crates/store/tests/allocation.rs",
];

/// Lines of a file without its tests: aim under 400, look for a second subject at 600.
const FILE_LINES_MAX: usize = 600;

/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;

/// Words that must not be committed.
const LEFTOVERS: &[&str] = &["FIXME", "XXX", "todo!(", "unimplemented!(", "#[ignore"];

/// Checks every tracked or new file.
pub(crate) fn check_all() -> Result<Vec<String>> {
    let output =
        Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
    let mut findings = Vec::new();
    for path in String::from_utf8_lossy(&output.stdout).lines() {
        if !path.ends_with(".rs") || !std::path::Path::new(path).exists() {
            continue;
        }
        let text = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
        check(path, &text, &mut findings);
    }
    Ok(findings)
}

fn check(path: &str, text: &str, findings: &mut Vec<String>) {
    if !text.trim_start().starts_with("//!") {
        findings.push(format!("{path}:1: the file has no `//!` head"));
    }
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().count();
    let is_test = path.contains("/tests/");
    if lines > FILE_LINES_MAX && !is_test {
        findings
            .push(format!("{path}:{lines}: over {FILE_LINES_MAX} lines: is there a second subject inside?"));
    }
    let allows_unsafe = code.contains("(unsafe_code") && !path.starts_with("xtask/");
    if allows_unsafe && !UNSAFE_FILES.contains(&path) {
        findings.push(format!("{path}: unsafe code outside the list in xtask/src/tidy/files.rs"));
    }
    for (index, line) in text.lines().enumerate() {
        for word in LEFTOVERS.iter().filter(|word| line.contains(**word) && !path.starts_with("xtask/")) {
            findings.push(format!("{path}:{}: {word}", index + 1));
        }
    }
    if !is_test {
        long_functions(path, code, findings);
    }
}

/// A function ends at the closing brace of its own indentation; rustfmt sees to that.
fn long_functions(path: &str, code: &str, findings: &mut Vec<String>) {
    let mut open: Option<(usize, String)> = None;
    for (index, line) in code.lines().enumerate() {
        match &open {
            None if is_function_start(line) && !line.trim_end().ends_with([';', '}']) => {
                let indent = line.len() - line.trim_start().len();
                open = Some((index, format!("{}}}", " ".repeat(indent))));
            }
            Some((start, end)) if line == end => {
                let length = index - start + 1;
                if length > FUNCTION_LINES_MAX {
                    findings.push(format!("{path}:{}: a function of {length} lines", start + 1));
                }
                open = None;
            }
            _ => {}
        }
    }
}

fn is_function_start(line: &str) -> bool {
    let line = line.trim_start();
    !line.starts_with("//") && (line.starts_with("fn ") || line.contains(" fn ")) && line.contains('(')
}
