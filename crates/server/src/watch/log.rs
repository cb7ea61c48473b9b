//! The lines of one worker that its watchers have not got yet. One thread writes and drains it.
//!
//! It is drained at the end of every turn. What does not fit until then is dropped and counted.

use std::cell::{Cell, RefCell};

use super::{Kinds, Watch, line};

/// What a session writes its lines to.
#[derive(Debug)]
pub struct Log {
    /// What is wanted, as of this batch of input.
    kinds: Cell<Kinds>,
    /// Whose input it is: the number that `stats conns` shows (`cfd`).
    conn: Cell<usize>,
    lines: RefCell<Lines>,
    len_max: usize,
}

/// Lines of a log, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    ends: Vec<End>,
    dropped: u64,
}

/// Where a line ends, and what it is.
#[derive(Clone, Copy, Debug)]
struct End {
    at: usize,
    kind: Kinds,
    number: u64,
}

/// One line.
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    pub(super) kind: Kinds,
    pub(super) number: u64,
}

impl Log {
    /// A log that takes so many bytes in a turn.
    pub fn new(len_max: usize) -> Self {
        Self { kinds: Cell::default(), conn: Cell::default(), lines: RefCell::default(), len_max }
    }

    /// What follows is the doing of this connection.
    #[inline]
    pub(crate) fn begin(&self, kinds: Kinds, conn: usize) {
        self.kinds.set(kinds);
        self.conn.set(conn);
    }

    /// What is wanted now.
    #[inline]
    pub(crate) fn kinds(&self) -> Kinds {
        self.kinds.get()
    }

    pub(crate) fn conn(&self) -> usize {
        self.conn.get()
    }

    pub(crate) fn is_empty(&self) -> bool {
        let lines = self.lines.borrow();
        lines.ends.is_empty() && lines.dropped == 0
    }

    /// Half of what fits was written.
    pub(crate) fn is_filling(&self) -> bool {
        self.lines.borrow().bytes.len() > self.len_max / 2
    }

    /// Writes a line, whose middle `write` knows.
    pub(super) fn write(&self, watch: &Watch, kind: Kinds, write: impl FnOnce(&mut Vec<u8>)) {
        let mut lines = self.lines.borrow_mut();
        let Lines { bytes, ends, dropped } = &mut *lines;
        let start = bytes.len();
        let number = watch.next_line();
        line::put_start(bytes, number);
        write(bytes);
        bytes.push(b'\n');
        if bytes.len() > self.len_max {
            bytes.truncate(start);
            *dropped += 1;
            return;
        }
        ends.push(End { at: bytes.len(), kind, number });
    }

    /// Notes lines that were lost before they could be written.
    pub(super) fn note_dropped(&self, count: u64) {
        self.lines.borrow_mut().dropped += count;
    }

    /// Hands all lines over, and is empty then.
    pub(super) fn drain(&self, take: impl FnOnce(&Lines)) {
        take(&self.lines.borrow());
        if self.kinds.get().without(Kinds::SPOKEN).is_empty() {
            // Nobody watches any more: hold nothing.
            *self.lines.borrow_mut() = Lines::default();
            return;
        }
        let mut lines = self.lines.borrow_mut();
        lines.bytes.clear();
        lines.ends.clear();
        lines.dropped = 0;
    }
}

impl Lines {
    pub(super) fn iter(&self) -> impl Iterator<Item = Line<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| end.at));
        self.ends.iter().zip(starts).map(|(end, start)| Line {
            text: self.bytes.get(start..end.at).unwrap_or_default(),
            kind: end.kind,
            number: end.number,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
