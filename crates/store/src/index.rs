//! Which item is where: for each bucket a run of 64-byte lines of eight slots, so that a bucket's items are
//! found side by side.
//!
//! A slot is `place / 4 + 1` in its high 36 bits and 28 bits of the hash (the tag); zero is free. The tag also
//! says in which two lines of the run the slot may be, so a longer run is filled without looking at items.
//! A new slot goes to the emptier of its two lines; when both are full the run grows by an eighth.
//!
//! Slots and runs change under the bucket's lock only and are read without it. A slot never moves within its
//! run, so a reader finds every key that is there all the time; one that still reads the old run after it grew
//! sees the bucket as it was then, which is after the reader began.
#![allow(unsafe_code, reason = "runs of lines lie in the arena")]

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::{self, Arena};
use crate::export::Exports;
use crate::item::{Hint, Key};
use crate::limits::{EXPORT_ITEMS_AHEAD, ITEM_LINES_AHEAD, SPARSE_LINES};
use crate::readers::Pin;
use crate::record::Record;
use crate::rights::Rights;

pub(crate) const SLOTS_PER_LINE: usize = 8;
pub(crate) const LINE_LEN: usize = 64;
const TAG_BITS: u32 = 28;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;

/// Tags are below this.
pub(crate) const TAG_END: u64 = 1 << TAG_BITS;

#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Bucket {
    /// The bucket's lock.
    pub(crate) writes: Mutex<Writes>,
    /// The run, packed.
    run: AtomicU64,
    pub(crate) rights: Rights,
}

/// What only the holder of the lock sees.
#[derive(Debug)]
pub(crate) struct Writes {
    /// Of the last write.
    pub(crate) seq: Cell<u64>,
    /// Slots in use.
    pub(crate) count: Cell<u32>,
    /// Streams of the bucket; `None` as long as it never had one.
    pub(crate) exports: Option<Box<Exports>>,
}

// Another line would make every look-up slower.
const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    pub(crate) fn new(start: u64) -> Self {
        Self {
            writes: Mutex::new(Writes { seq: Cell::new(start), count: Cell::new(0), exports: None }),
            run: AtomicU64::new(0),
            rights: Rights::new(start),
        }
    }

    #[inline]
    pub(crate) fn run(&self) -> Run {
        Run::unpack(self.run.load(Ordering::SeqCst))
    }

    /// The slots for a reader. The pin was there before they are looked at, so what they name stays as long.
    #[inline]
    pub(crate) fn pinned<'a>(&self, arena: &'a Arena, _pin: &'a Pin<'_>) -> Slots<'a> {
        // SAFETY: the run is the bucket's, and the pin keeps it for `'a` should it be replaced.
        unsafe { self.run().slots(arena) }
    }

    /// The slots for the holder of the lock, whose callers drop them before they replace the run.
    #[inline]
    pub(crate) fn locked<'a>(&self, arena: &'a Arena, _writes: &'a Writes) -> Slots<'a> {
        // SAFETY: the run is the bucket's, and is replaced under the lock only.
        unsafe { self.run().slots(arena) }
    }

    /// Called under the lock, with a run that is filled.
    pub(crate) fn set_run(&self, run: Run) {
        self.run.store(run.pack(), Ordering::SeqCst);
    }
}

/// Where a bucket's lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) at: u64,
    pub(crate) line_count: usize,
}

impl Run {
    pub(crate) const EMPTY: Self = Self { at: 0, line_count: 0 };

    /// Longest run that can be named.
    pub(crate) const LINE_COUNT_MAX: usize = (1 << 14) - 1;

    fn pack(self) -> u64 {
        (self.at / LINE_LEN as u64) << 16 | self.line_count as u64
    }

    #[inline]
    fn unpack(packed: u64) -> Self {
        Self { at: (packed >> 16) * LINE_LEN as u64, line_count: (packed & 0xffff) as usize }
    }

    /// Its slots.
    ///
    /// # Safety
    /// During `'a` the run is a bucket's, or was when a pin that lasts as long was already held, or belongs to
    /// the caller alone.
    #[inline]
    unsafe fn slots(self, arena: &Arena) -> Slots<'_> {
        if self.line_count == 0 {
            return Slots { arena, words: &[] };
        }
        // SAFETY: memory of a run is accessed as words until it is released, which the caller rules out.
        let words = unsafe { arena.words(self.at, self.line_count * SLOTS_PER_LINE) };
        Slots { arena, words }
    }

    /// Puts every slot of a bucket into this run, which was just taken from the pool and is no bucket's yet;
    /// false when one finds no place.
    pub(crate) fn fill_from(self, old: Slots<'_>) -> bool {
        // SAFETY: nobody else knows the run.
        let new = unsafe { self.slots(old.arena) };
        new.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        old.words.iter().map(|word| word.load(Ordering::Relaxed)).filter(|word| *word != 0).all(|word| {
            let slot = new.free_by_tag(word & TAG_MASK);
            if let Some(slot) = slot {
                new.words[slot].store(word, Ordering::Relaxed);
            }
            slot.is_some()
        })
    }

    #[inline]
    pub(crate) fn prefetch(self, arena: &Arena, hash: u64) {
        if self.line_count > 0 {
            for line in lines_of(tag_of(hash), self.line_count) {
                arena.prefetch(self.at + (line * LINE_LEN) as u64);
            }
        }
    }
}

/// The slots of one bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots<'a> {
    arena: &'a Arena,
    words: &'a [AtomicU64],
}

/// A slot in use: where it is and what it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    slot: usize,
    pub(crate) at: u64,
}

impl<'a> Slots<'a> {
    /// The slot of this hash whose item fits.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut fits: impl FnMut(Record<'a>) -> bool) -> Option<Found> {
        self.find_place(hash, |at| fits(self.record_at(at)))
    }

    /// The slot of this hash that names this place.
    pub(crate) fn find_at(&self, hash: u64, at: u64) -> Option<Found> {
        self.find_place(hash, |place| place == at)
    }

    /// The item of a slot in use.
    #[inline]
    pub(crate) fn record(&self, found: Found) -> Record<'a> {
        self.record_at(found.at)
    }

    #[inline]
    fn record_at(&self, at: u64) -> Record<'a> {
        // SAFETY: a place gets into a slot when its record is complete, and the record's memory is not used
        // again as long as the pin or lock behind `'a` lasts.
        unsafe { Record::new(self.arena, at) }
    }

    /// The slot of the hint, if it still says the same and its item fits. An item that has moved is elsewhere;
    /// one that is not even in this run has another slot.
    #[inline]
    pub(crate) fn find_hinted(&self, hint: Hint, fits: impl FnOnce(Record<'a>) -> bool) -> Option<Found> {
        let slot = hint.slot as usize;
        let word = self.words.get(slot)?.load(Ordering::SeqCst);
        let same = word == hint.word && word != 0;
        (same && fits(self.record_at(place(word)))).then(|| Found { slot, at: place(word) })
    }

    /// Asks for the items that a look-up of this hash will read, and says where the first is; of a long one it
    /// asks for the start, whose successors the processor then fetches by itself.
    #[inline]
    pub(crate) fn prefetch_items(&self, hash: u64) -> Hint {
        let mut hint = Hint::default();
        self.find_word(hash, |slot, word| {
            let at = place(word);
            (0..ITEM_LINES_AHEAD).for_each(|line| self.arena.prefetch(at + line * LINE_LEN as u64));
            if hint.word == 0 {
                hint = Hint { slot: slot as u32, word };
            }
            false
        });
        hint
    }

    #[inline]
    fn find_place(&self, hash: u64, mut fits: impl FnMut(u64) -> bool) -> Option<Found> {
        self.find_word(hash, |_, word| fits(place(word)))
    }

    /// The first slot in use with this hash's tag that fits. All tags are compared before the first branch
    /// depends on one: where a key lies in its lines cannot be predicted.
    #[inline]
    fn find_word(&self, hash: u64, mut fits: impl FnMut(usize, u64) -> bool) -> Option<Found> {
        if self.words.is_empty() {
            return None;
        }
        let tag = tag_of(hash);
        let [a, b] = lines_of(tag, self.line_count());
        let mut hits = self.hits(a, tag);
        if b != a {
            hits |= self.hits(b, tag) << SLOTS_PER_LINE;
        }
        while hits != 0 {
            let n = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            let line = if n < SLOTS_PER_LINE { a } else { b };
            let slot = line * SLOTS_PER_LINE + n % SLOTS_PER_LINE;
            // Read again: what counts is what it says now.
            let word = self.words[slot].load(Ordering::SeqCst);
            if word & TAG_MASK == tag && word >> TAG_BITS != 0 && fits(slot, word) {
                return Some(Found { slot, at: place(word) });
            }
        }
        None
    }

    /// A bit for each slot of a line that has this tag.
    #[inline]
    fn hits(&self, line: usize, tag: u64) -> u32 {
        let first = line * SLOTS_PER_LINE;
        let slots = self.words[first..first + SLOTS_PER_LINE].iter().enumerate();
        slots.fold(0, |hits, (n, word)| hits | u32::from(word.load(Ordering::SeqCst) & TAG_MASK == tag) << n)
    }

    /// A free slot for this hash.
    pub(crate) fn free(&self, hash: u64) -> Option<usize> {
        if self.words.is_empty() {
            return None;
        }
        self.free_by_tag(tag_of(hash))
    }

    fn free_by_tag(&self, tag: u64) -> Option<usize> {
        let count = |line: usize| {
            let first = line * SLOTS_PER_LINE;
            let free = |word: &&AtomicU64| word.load(Ordering::Relaxed) == 0;
            self.words[first..first + SLOTS_PER_LINE].iter().filter(free).count()
        };
        let [a, b] = lines_of(tag, self.line_count());
        let line = if count(a) >= count(b) { a } else { b };
        let first = line * SLOTS_PER_LINE;
        (first..first + SLOTS_PER_LINE).find(|slot| self.words[*slot].load(Ordering::Relaxed) == 0)
    }

    /// Called under the lock, when the record at `at` is complete.
    pub(crate) fn set(&self, slot: usize, hash: u64, at: u64) {
        self.words[slot].store((at / 4 + 1) << TAG_BITS | tag_of(hash), Ordering::SeqCst);
    }

    /// Called under the lock.
    pub(crate) fn replace(&self, found: Found, hash: u64, at: u64) {
        self.set(found.slot, hash, at);
    }

    /// Called under the lock.
    pub(crate) fn clear(&self, found: Found) {
        self.words[found.slot].store(0, Ordering::SeqCst);
    }

    /// All items.
    pub(crate) fn records(self) -> impl Iterator<Item = Record<'a>> {
        let places =
            move || self.words.iter().map(|word| word.load(Ordering::SeqCst)).filter(|word| *word != 0);
        places().for_each(|word| self.arena.prefetch(place(word)));
        places().map(move |word| self.record_at(place(word)))
    }

    /// All items whose key has this hash, of which there is hardly ever more than one.
    pub(crate) fn each_of_hash(self, hash: u64, mut visit: impl FnMut(Record<'a>)) {
        self.find(hash, |record| {
            if Key::of(record.key()).hash == hash {
                visit(record);
            }
            false
        });
    }

    /// The items whose tag is not below `first`, by tag.
    pub(crate) fn by_tag(self, first: u64) -> impl Iterator<Item = (u64, Record<'a>)> {
        let words = self.words.iter().map(|word| word.load(Ordering::SeqCst));
        let used = words.filter(|word| *word != 0).map(|word| (word & TAG_MASK, place(word)));
        let mut found: Vec<(u64, u64)> = used.filter(|(tag, _)| *tag >= first).collect();
        found.sort_unstable();
        found.iter().take(EXPORT_ITEMS_AHEAD).for_each(|(_, at)| self.arena.prefetch(*at));
        found.into_iter().map(move |(tag, at)| (tag, self.record_at(at)))
    }

    /// One of the slots that are in the way of this hash: the one to give up when no line may be added.
    pub(crate) fn rival(&self, hash: u64) -> Option<Found> {
        let [line, _] = lines_of(tag_of(hash), self.line_count().max(1));
        let slot = line * SLOTS_PER_LINE + (hash % SLOTS_PER_LINE as u64) as usize;
        let word = self.words.get(slot)?.load(Ordering::SeqCst);
        (word != 0).then(|| Found { slot, at: place(word) })
    }

    #[inline]
    fn line_count(&self) -> usize {
        self.words.len() / SLOTS_PER_LINE
    }
}

/// How many lines to try next, when `count` items do not fit into `line_count` lines; none when there is room
/// enough already.
pub(crate) fn longer(line_count: usize, count: u32, line_count_max: usize) -> Option<usize> {
    let sparse = line_count * SLOTS_PER_LINE > (count as usize + SLOTS_PER_LINE) * SPARSE_LINES;
    let next = line_count + (line_count / 8).max(1);
    (!sparse && next <= line_count_max).then_some(next)
}

/// How many lines would do, when far fewer than `line_count` would.
pub(crate) fn shorter(line_count: usize, count: u32) -> Option<usize> {
    let slots = line_count * SLOTS_PER_LINE;
    let enough = if count == 0 { 0 } else { count as usize / 6 + 1 };
    (2 * (count as usize) < slots && enough < line_count).then_some(enough)
}

#[inline]
pub(crate) fn prefetch_bucket(bucket: &Bucket) {
    arena::prefetch(std::ptr::from_ref(bucket));
}

#[inline]
fn place(word: u64) -> u64 {
    ((word >> TAG_BITS) - 1) * 4
}

/// The 28 bits below the bucket's.
#[inline]
pub(crate) fn tag_of(hash: u64) -> u64 {
    hash >> (49 - TAG_BITS) & TAG_MASK
}

/// The two lines of a tag; the same one twice when there is only one.
#[inline]
fn lines_of(tag: u64, line_count: usize) -> [usize; 2] {
    let (high, low) = (tag >> 14, tag & 0x3fff);
    let first = ((high * line_count as u64) >> 14) as usize;
    if line_count == 1 {
        return [0, 0];
    }
    let second = first + ((low * (line_count as u64 - 1)) >> 14) as usize + 1;
    [first, if second >= line_count { second - line_count } else { second }]
}
