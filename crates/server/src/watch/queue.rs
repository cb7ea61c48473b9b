//! What one watcher has not been sent yet: whole lines, bounded in bytes.
//!
//! When lines had to be skipped, the next one that fits stands behind a line that says how many.

use std::io::Write;

use crate::limits::WATCH_SKIPPED_LEN_MAX;

#[derive(Debug)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    len_max: usize,
    /// Lines that did not fit since the last one that did.
    skipped: u64,
}

impl Queue {
    pub(super) fn new(len_max: usize) -> Self {
        Self { bytes: Vec::new(), len_max, skipped: 0 }
    }

    /// False when it does not fit.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        if self.bytes.len() + line.len() + WATCH_SKIPPED_LEN_MAX > self.len_max {
            self.skipped += 1;
            return false;
        }
        if self.skipped > 0 {
            let skipped = std::mem::take(&mut self.skipped);
            writeln!(self.bytes, "skipped={skipped}").expect("a vector takes everything");
        }
        self.bytes.extend_from_slice(line);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Moves at most `room` bytes to `out`; true when some are left.
    pub(super) fn take(&mut self, room: usize, out: &mut Vec<u8>) -> bool {
        if self.bytes.len() <= room {
            out.append(&mut self.bytes);
            // An idle watcher holds nothing.
            self.bytes = Vec::new();
            return false;
        }
        out.extend(self.bytes.drain(..room));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_said_before_the_next_line() {
        let mut queue = Queue::new(2 * WATCH_SKIPPED_LEN_MAX);
        let line = [b'x'; WATCH_SKIPPED_LEN_MAX / 2];
        assert!(queue.push(&line) && queue.push(&line));
        assert!(!queue.push(&line) && !queue.push(&line) && !queue.push(b"y\n"));
        let mut out = Vec::new();
        assert!(queue.take(1, &mut out), "half a line is left");
        assert!(!queue.push(&line));
        assert!(!queue.take(1 << 20, &mut out));
        assert_eq!(out.len(), 2 * line.len());
        out.clear();
        assert!(queue.push(b"z\n") && queue.push(b"z\n"));
        assert!(!queue.take(1 << 20, &mut out));
        assert_eq!(out, b"skipped=4\nz\nz\n");
    }
}
