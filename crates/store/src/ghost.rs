//! Who was evicted lately, and from which queue: a key found here goes straight to the main queue, and says
//! which of the queues was too short.
//!
//! For each queue sets of five 12-bit fingerprints in one word, newest first; a sixth pushes the oldest out.
//! Races between threads may lose a fingerprint, and a fingerprint may be another key's: both cost a wrong guess
//! only.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::arena::Words;
use crate::segments::Kind;

#[derive(Debug)]
pub(crate) struct Ghost {
    /// Two words for each set: one of each queue.
    words: Words,
    /// Sets in use; zero before the first eviction.
    active: AtomicUsize,
}

/// One set for so many items: ghosts of either queue for two items in five.
const ITEMS_PER_SET: u64 = 12;

const PRINT_BITS: u32 = 12;
const PRINT_COUNT: u32 = 5;
const PRINT_MASK: u64 = (1 << PRINT_BITS) - 1;
const WORD_MASK: u64 = (1 << (PRINT_BITS * PRINT_COUNT)) - 1;

impl Ghost {
    /// Room for the ghosts of `item_count_max` items; nothing is touched yet.
    pub(crate) fn new(item_count_max: u64) -> Self {
        Self { words: Words::new((item_count_max / ITEMS_PER_SET * 2) as usize), active: AtomicUsize::new(0) }
    }

    /// Fits the table to the number of items, when it is off by much. Forgets what it knew then.
    pub(crate) fn fit(&self, item_count: u64) {
        let wanted = (item_count / ITEMS_PER_SET).clamp(16, 1 << 32) as usize;
        let wanted = wanted.min(self.words.as_slice().len() / 2);
        let active = self.active.load(Ordering::Relaxed);
        if wanted > active + active / 4 || wanted < active / 2 {
            self.active.store(wanted, Ordering::Relaxed);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.active.load(Ordering::Relaxed) as u64 * 16
    }

    /// About as many items as the table was made for.
    pub(crate) fn item_count(&self) -> u64 {
        self.active.load(Ordering::Relaxed) as u64 * ITEMS_PER_SET
    }

    pub(crate) fn insert(&self, hash: u64, from: Kind) {
        if let Some((set, print)) = self.place(hash) {
            let word = &self.words.as_slice()[2 * set + from as usize];
            let old = word.load(Ordering::Relaxed);
            word.store((old << PRINT_BITS | print) & WORD_MASK, Ordering::Relaxed);
        }
    }

    /// Forgets a key; returns the queue that it was evicted from.
    pub(crate) fn take(&self, hash: u64) -> Option<Kind> {
        let (set, print) = self.place(hash)?;
        [Kind::Main, Kind::Small].into_iter().find(|from| {
            let word = &self.words.as_slice()[2 * set + *from as usize];
            let old = word.load(Ordering::Relaxed);
            let found = (0..PRINT_COUNT).find(|n| old >> (PRINT_BITS * n) & PRINT_MASK == print);
            if let Some(n) = found {
                // The older ones move up.
                let newer = (1 << (PRINT_BITS * n)) - 1;
                word.store((old >> PRINT_BITS & !newer) | (old & newer), Ordering::Relaxed);
            }
            found.is_some()
        })
    }

    fn place(&self, hash: u64) -> Option<(usize, u64)> {
        let active = self.active.load(Ordering::Relaxed);
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = (((mixed >> 32) * active as u64) >> 32) as usize;
        // Zero is an empty place.
        (active > 0).then_some((set, (mixed & PRINT_MASK).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One set, so that all hashes meet in it; their fingerprints differ.
    fn one_set() -> (Ghost, Vec<u64>) {
        let ghost = Ghost::new(64 * ITEMS_PER_SET);
        ghost.active.store(1, Ordering::Relaxed);
        let mut hashes: Vec<u64> = (1..9).collect();
        hashes.dedup_by_key(|hash| ghost.place(*hash));
        (ghost, hashes)
    }

    #[test]
    fn a_set_keeps_its_newest_and_gives_each_once() {
        let (ghost, hashes) = one_set();
        hashes.iter().for_each(|hash| ghost.insert(*hash, Kind::Small));
        ghost.insert(hashes[0], Kind::Main);
        for (n, hash) in hashes.iter().enumerate().skip(1) {
            assert_eq!(ghost.take(*hash), (n >= hashes.len() - 5).then_some(Kind::Small), "{n}");
            assert_eq!(ghost.take(*hash), None, "{n}");
        }
        assert_eq!(ghost.take(hashes[0]), Some(Kind::Main));
    }

    #[test]
    fn taking_one_keeps_the_order_of_the_others() {
        for taken in 0..5 {
            let (ghost, hashes) = one_set();
            hashes[..5].iter().for_each(|hash| ghost.insert(*hash, Kind::Main));
            assert_eq!(ghost.take(hashes[taken]), Some(Kind::Main));
            // Room for one more; a second pushes the oldest out.
            ghost.insert(hashes[5], Kind::Main);
            ghost.insert(hashes[6], Kind::Main);
            let oldest = usize::from(taken == 0);
            for (n, hash) in hashes[..7].iter().enumerate() {
                assert_eq!(ghost.take(*hash).is_some(), n != taken && n != oldest, "{n} without {taken}");
            }
        }
    }

    #[test]
    fn an_empty_table_knows_nobody() {
        let ghost = Ghost::new(1000);
        ghost.insert(5, Kind::Small);
        assert_eq!(ghost.take(5), None);
        ghost.fit(1000);
        assert_eq!(ghost.item_count() / 100, 9);
        ghost.insert(5, Kind::Small);
        assert_eq!(ghost.take(5), Some(Kind::Small));
    }
}
