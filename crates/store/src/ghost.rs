//! Who was evicted lately without a use: a key found here goes straight to the main queue.
//!
//! Sets of four 16-bit fingerprints in one word, newest first; a fifth pushes the oldest out. Races between
//! threads may lose a fingerprint, and a fingerprint may be another key's: both cost a wrong guess only.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::arena::Words;

#[derive(Debug)]
pub(crate) struct Ghost {
    words: Words,
    /// Sets in use; zero before the first eviction.
    active: AtomicUsize,
}

/// One set of four fingerprints for so many items: half as many ghosts as items.
const ITEMS_PER_SET: u64 = 8;

impl Ghost {
    /// Room for the ghosts of `item_count_max` items; nothing is touched yet.
    pub(crate) fn new(item_count_max: u64) -> Self {
        Self { words: Words::new((item_count_max / ITEMS_PER_SET) as usize), active: AtomicUsize::new(0) }
    }

    /// Fits the table to the number of items, when it is off by much. Forgets what it knew then.
    pub(crate) fn fit(&self, item_count: u64) {
        let wanted = (item_count / ITEMS_PER_SET).clamp(16, 1 << 32) as usize;
        let wanted = wanted.min(self.words.as_slice().len());
        let active = self.active.load(Ordering::Relaxed);
        if wanted > active + active / 4 || wanted < active / 2 {
            self.active.store(wanted, Ordering::Relaxed);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.active.load(Ordering::Relaxed) as u64 * 8
    }

    pub(crate) fn insert(&self, hash: u64) {
        if let Some((set, print)) = self.place(hash) {
            let word = &self.words.as_slice()[set];
            let old = word.load(Ordering::Relaxed);
            word.store(old << 16 | print, Ordering::Relaxed);
        }
    }

    pub(crate) fn contains(&self, hash: u64) -> bool {
        let Some((set, print)) = self.place(hash) else { return false };
        let word = self.words.as_slice()[set].load(Ordering::Relaxed);
        (0..4).any(|lane| word >> (16 * lane) & 0xffff == print)
    }

    fn place(&self, hash: u64) -> Option<(usize, u64)> {
        let active = self.active.load(Ordering::Relaxed);
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = (((mixed >> 32) * active as u64) >> 32) as usize;
        // Zero is an empty place.
        (active > 0).then_some((set, (mixed & 0xffff).max(1)))
    }
}
