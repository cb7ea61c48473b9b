//! What a node tells its operator: lines on standard error. A cache is quiet; only what needs a person is said
//! without `-v`.

use std::io::Write;

/// Writes one line. Standard error that is gone is no reason to fail.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "doled: {text}");
}
