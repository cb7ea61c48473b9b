//! `stats detail`: gets, hits, sets and deletes by the part of a key before its first delimiter.
//!
//! Off until it is asked for, by the command or with the delimiter (`-D`). While it is on, every classic get, set and delete of a key with a prefix takes
//! one lock, as in memcached; the meta commands and incr, decr, touch are not counted, as there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::reply::text;

use crate::limits::PREFIXES_MAX;

/// What ends a prefix, unless another byte is chosen.
const DELIMITER: u8 = b':';

/// The counts by prefix, of all workers.
#[derive(Debug)]
pub(crate) struct Prefixes {
    delimiter: u8,
    on: AtomicBool,
    counts: Mutex<BTreeMap<Box<[u8]>, Counts>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    gets: u64,
    hits: u64,
    sets: u64,
    deletes: u64,
}

impl Prefixes {
    /// Counts from the start if a delimiter was chosen.
    pub(crate) fn new(delimiter: Option<u8>) -> Self {
        Self {
            delimiter: delimiter.unwrap_or(DELIMITER),
            on: AtomicBool::new(delimiter.is_some()),
            counts: Mutex::default(),
        }
    }

    pub(super) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// A get of a key, found or not.
    #[inline]
    pub(crate) fn count_get(&self, key: &[u8], found: bool) {
        self.count(key, |counts| {
            counts.gets += 1;
            counts.hits += u64::from(found);
        });
    }

    /// A storage command, whatever came of it.
    #[inline]
    pub(crate) fn count_set(&self, key: &[u8]) {
        self.count(key, |counts| counts.sets += 1);
    }

    /// A delete, whatever came of it.
    #[inline]
    pub(crate) fn count_delete(&self, key: &[u8]) {
        self.count(key, |counts| counts.deletes += 1);
    }

    #[inline]
    fn count(&self, key: &[u8], change: impl FnOnce(&mut Counts)) {
        if self.is_on() {
            self.change(key, change);
        }
    }

    #[cold]
    fn change(&self, key: &[u8], change: impl FnOnce(&mut Counts)) {
        let Some(end) = key.iter().position(|&byte| byte == self.delimiter) else { return };
        let (prefix, _) = key.split_at(end);
        let mut counts = self.lock();
        if let Some(counts) = counts.get_mut(prefix) {
            change(counts);
        } else if counts.len() < PREFIXES_MAX {
            change(counts.entry(prefix.into()).or_default());
        }
    }

    /// Forgets all counts.
    pub(crate) fn reset(&self) {
        self.lock().clear();
    }

    /// Answers `stats detail <word>`.
    pub(super) fn detail(&self, word: Option<&[u8]>, out: &mut Vec<u8>) {
        match word {
            Some(b"on") => self.on.store(true, Ordering::Relaxed),
            Some(b"off") => self.on.store(false, Ordering::Relaxed),
            Some(b"dump") => return self.dump(out),
            _ => return out.extend_from_slice(text::DETAIL_USAGE),
        }
        out.extend_from_slice(text::OK);
    }

    fn dump(&self, out: &mut Vec<u8>) {
        for (prefix, counts) in &*self.lock() {
            out.extend_from_slice(b"PREFIX ");
            out.extend_from_slice(prefix);
            out.extend_from_slice(format!("{counts}\r\n").as_bytes());
        }
        out.extend_from_slice(text::END);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<[u8]>, Counts>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " get {} hit {} set {} del {}", self.gets, self.hits, self.sets, self.deletes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_beyond_the_limit_are_not_counted() {
        let prefixes = Prefixes::new(None);
        prefixes.detail(Some(b"on"), &mut Vec::new());
        for number in 0..=PREFIXES_MAX {
            prefixes.count_set(format!("{number:05}:x").as_bytes());
        }
        prefixes.count_set(b"00000:y");
        let mut out = Vec::new();
        prefixes.detail(Some(b"dump"), &mut out);
        let text = String::from_utf8(out).expect("ASCII");
        assert_eq!(text.lines().count(), PREFIXES_MAX + 1);
        assert!(text.starts_with("PREFIX 00000 get 0 hit 0 set 2 del 0\r\n"));
    }

    #[test]
    fn a_chosen_delimiter_counts_from_the_start() {
        let prefixes = Prefixes::new(Some(b'/'));
        prefixes.count_set(b"a:b/c");
        prefixes.count_set(b"a:b");
        let mut out = Vec::new();
        prefixes.detail(Some(b"dump"), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "PREFIX a:b get 0 hit 0 set 1 del 0\r\nEND\r\n");
    }
}
