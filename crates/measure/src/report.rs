//! What a section found: tables for people, raw figures as JSON, and the part of docs/performance.md that shows them.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

/// The page with the tables; the section's part stands between two comments.
const PAGE: &str = "docs/performance.md";

/// Raw results of full runs, and of quick ones.
const RESULTS: &str = "docs/results";
const QUICK_RESULTS: &str = "target/bench-results";

#[derive(Debug, Default, Serialize)]
pub(crate) struct Section {
    name: String,
    machine: String,
    seconds: f64,
    command: String,
    tables: Vec<Table>,
    /// One object for each run.
    raw: Vec<Value>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Table {
    title: String,
    note: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: &str, note: &str, header: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            note: note.to_owned(),
            header: header.iter().map(|&cell| cell.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        eprintln!("    {}", cells.join(" | "));
        self.rows.push(cells);
    }
}

impl Section {
    pub(crate) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    pub(crate) fn raw(&mut self, value: Value) {
        self.raw.push(value);
    }

    /// What only the whole run knows.
    pub(crate) fn finish(&mut self, name: &str, machine: &str, flags: &str, took: Duration) {
        name.clone_into(&mut self.name);
        machine.clone_into(&mut self.machine);
        self.seconds = took.as_secs_f64().round();
        self.command = format!("cargo xtask bench node --only {name}{flags}");
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "### {}\n\n{}\n", table.title, table.note);
            let _ = writeln!(text, "| {} |", table.header.join(" | "));
            let _ = writeln!(text, "|---|{}", "--:|".repeat(table.header.len().saturating_sub(1)));
            for row in &table.rows {
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
            text.push('\n');
        }
        let _ = writeln!(text, "*{}. `{}`, {:.0} s.*", self.machine, self.command, self.seconds);
        text
    }

    /// Writes the raw results, and after a full run the page.
    pub(crate) fn store(&self, quick: bool) -> Result<()> {
        let dir = if quick { QUICK_RESULTS } else { RESULTS };
        fs::create_dir_all(dir)?;
        let path = format!("{dir}/{}.json", self.name);
        // One run a line: small, and a difference shows what changed.
        let raw: Vec<String> = self.raw.iter().map(|value| format!("  {value}")).collect();
        let text = format!(
            "{{\"section\": {}, \"machine\": {}, \"command\": {}, \"seconds\": {}, \"runs\": [\n{}\n]}}\n",
            Value::from(self.name.clone()),
            Value::from(self.machine.clone()),
            Value::from(self.command.clone()),
            self.seconds,
            raw.join(",\n")
        );
        fs::write(&path, text).with_context(|| path.clone())?;
        eprintln!("    {path}");
        if quick { Ok(()) } else { self.update_page() }
    }

    fn update_page(&self) -> Result<()> {
        let page = fs::read_to_string(PAGE).context(PAGE)?;
        let (begin, end) = (format!("<!-- begin {} -->\n", self.name), format!("<!-- end {} -->", self.name));
        let place = |mark: &str| {
            page.find(mark).with_context(|| format!("{PAGE}: the line \"{}\" is missing", mark.trim()))
        };
        let (from, to) = (place(&begin)? + begin.len(), place(&end)?);
        let text = format!("{}{}{}", &page[..from], self.markdown(), &page[to..]);
        fs::write(PAGE, text).context(PAGE)
    }
}

/// Median, lowest, highest.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) && middle > 0 {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Self { median, low: sorted[0], high: sorted[sorted.len() - 1] }
    }

    pub(crate) fn show(&self, digits: usize) -> String {
        let Self { median, low, high } = self;
        format!("{median:.digits$} ({low:.digits$}–{high:.digits$})")
    }
}
