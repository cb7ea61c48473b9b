//! Lines for stderr, one for each transition: `ts=… event=… key=value …`.
//!
//! A thread of its own writes them. Invariant: nobody waits for stderr; what it cannot take is dropped, and
//! the next line says how many.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::limits::LOG_LINES_MAX;

/// What goes to stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Only what needs somebody: failing commits, a halt.
    Quiet,
    /// Every transition: terms, nodes coming and going, buckets moving, commands.
    #[default]
    Changes,
    /// Refused polls and ended connections, too.
    Everything,
}

/// A way to the log, shared by all.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    verbosity: Verbosity,
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Starts the thread that writes; it ends with the last clone.
    pub(crate) fn start(verbosity: Verbosity) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(LOG_LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let log = Self { verbosity, lines, dropped: Arc::clone(&dropped) };
        thread::Builder::new().name("doled-log".into()).spawn(move || write_lines(&waiting, &dropped))?;
        Ok(log)
    }

    /// Logs `event` with its `key=value` pairs, if `level` is wanted.
    pub(crate) fn line(&self, level: Verbosity, event: &str, pairs: fmt::Arguments<'_>) {
        if level > self.verbosity {
            return;
        }
        let ms = stdx::clock::unix_millis();
        let line = format!("ts={}.{:03} event={event} {pairs}", ms / 1000, ms % 1000);
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A text as a value of a pair: in quotes, with quotes and control characters escaped.
pub(crate) fn quoted(text: &impl ToString) -> String {
    format!("{:?}", text.to_string())
}

fn write_lines(lines: &Receiver<String>, dropped: &AtomicU64) {
    while let Ok(line) = lines.recv() {
        let mut stderr = io::stderr().lock();
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(stderr, "event=log-lost lines={lost}");
        }
        // Without a stderr there is nobody to tell.
        let _ = writeln!(stderr, "{line}");
    }
}
