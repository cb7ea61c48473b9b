//! The rules that no compiler checks.
//!
//! Each check returns its findings as lines `path:line: what and why`; one run prints all of them.

mod crates;
mod files;

use anyhow::{Result, bail};

/// Runs every check.
pub(crate) fn run() -> Result<()> {
    let metadata = crates::metadata()?;
    let mut findings = Vec::new();
    findings.extend(crates::graph(&metadata));
    findings.extend(crates::purity(&metadata));
    findings.extend(crates::licences(&metadata));
    findings.extend(crates::documented(&metadata)?);
    findings.extend(files::check_all()?);
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(())
}
