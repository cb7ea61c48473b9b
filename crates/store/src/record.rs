//! How an item lies in memory.
//!
//! ```text
//!  0  exptime      u32  in steps of EXPTIME_STEP_MS; 0 never, MAX always past   changes, atomic
//!  4  facts        u32  bits 0-15 last access in seconds, 16-17 frequency,      changes, atomic
//!                       18 fetched, 19 stale, 20 won; 21 binary key,
//!                       22 has flags, 23 has a cas of its own, 24-31 key length
//!  8  seq and len  u64  bits 0-47 seq, 48-63 length of the value; LARGE: it has a block of its own
//! 16  [flags u32] [cas u64] key, value  or  [flags u32] [cas u64] block address u64, length u64, key
//! ```
//! Records begin at multiples of four. All but the first two fields is written before the record's place gets
//! into the index and never again.
#![allow(unsafe_code, reason = "reads records in the arena")]

use std::sync::atomic::{AtomicU32, Ordering};

use crate::arena::{Arena, Block};
use crate::item::{ItemView, Marks, Put};
use crate::limits::EXPTIME_STEP_MS;

const HEADER_LEN: usize = 16;
const BLOCK_LEN: usize = 16;
const LARGE: u64 = 0xffff;
/// Write sequence numbers are not above this.
pub(crate) const SEQ_MASK: u64 = (1 << 48) - 1;

/// Longest value that lies in its record.
pub(crate) const INLINE_LEN_MAX: usize = LARGE as usize - 1;

/// Frequency stops counting here.
pub(crate) const FREQUENCY_MAX: u32 = 3;

/// An exptime that is past at any time.
pub(crate) const ALWAYS_PAST: u32 = u32::MAX;

const FETCHED: u32 = 1 << 18;
const STALE: u32 = 1 << 19;
const WON: u32 = 1 << 20;
const BINARY_KEY: u32 = 1 << 21;
const HAS_FLAGS: u32 = 1 << 22;
const HAS_CAS: u32 = 1 << 23;
const MARKS: u32 = FETCHED | STALE | WON | BINARY_KEY;

/// What decides how long a record is, and its fixed bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    facts: u32,
    value_len: usize,
    large: bool,
}

impl Shape {
    pub(crate) fn new(key_len: usize, value_len: usize, put: &Put, large: bool) -> Self {
        let mut facts = (key_len as u32) << 24 | marks_bits(put.marks);
        facts |= if put.flags != 0 { HAS_FLAGS } else { 0 };
        facts |= if put.cas.is_some() { HAS_CAS } else { 0 };
        Self { facts, value_len, large }
    }

    #[inline]
    fn extras_len(&self) -> usize {
        (if self.facts & HAS_FLAGS != 0 { 4 } else { 0 }) + (if self.facts & HAS_CAS != 0 { 8 } else { 0 })
    }

    #[inline]
    fn key_len(&self) -> usize {
        (self.facts >> 24) as usize
    }

    pub(crate) fn len(&self) -> usize {
        let value = if self.large { BLOCK_LEN } else { self.value_len };
        (HEADER_LEN + self.extras_len() + self.key_len() + value).next_multiple_of(4)
    }
}

/// A complete record that nobody will overwrite for as long as `'a`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    arena: &'a Arena,
    at: u64,
}

impl<'a> Record<'a> {
    /// # Safety
    /// A record was written at `at`, its writing happened before this, and its memory is not used for
    /// anything else during `'a`.
    #[inline]
    pub(crate) unsafe fn new(arena: &'a Arena, at: u64) -> Self {
        Self { arena, at }
    }

    #[inline]
    fn exptime_field(self) -> &'a AtomicU32 {
        // SAFETY: the first field of a record, accessed as an atomic only.
        unsafe { self.arena.half_word(self.at) }
    }

    #[inline]
    fn facts_field(self) -> &'a AtomicU32 {
        // SAFETY: the second field of a record, accessed as an atomic only.
        unsafe { self.arena.half_word(self.at + 4) }
    }

    #[inline]
    fn fixed(self, offset: usize, len: usize) -> &'a [u8] {
        // SAFETY: what follows the first two fields does not change in a complete record.
        unsafe { self.arena.bytes(self.at + offset as u64, len) }
    }

    #[inline]
    fn u64_at(self, offset: usize) -> u64 {
        u64::from_ne_bytes(*self.fixed(offset, 8).first_chunk().expect("eight bytes"))
    }

    #[inline]
    fn shape(self) -> Shape {
        let len = self.u64_at(8) >> 48;
        Shape {
            facts: self.facts_field().load(Ordering::Relaxed),
            value_len: len as usize,
            large: len == LARGE,
        }
    }

    /// Its place.
    pub(crate) fn at(self) -> u64 {
        self.at
    }

    /// Bytes of the record.
    pub(crate) fn len(self) -> usize {
        self.shape().len()
    }

    #[inline]
    pub(crate) fn key(self) -> &'a [u8] {
        let shape = self.shape();
        let block = if shape.large { BLOCK_LEN } else { 0 };
        self.fixed(HEADER_LEN + shape.extras_len() + block, shape.key_len())
    }

    #[inline]
    pub(crate) fn seq(self) -> u64 {
        self.u64_at(8) & SEQ_MASK
    }

    /// In steps; zero: never.
    #[inline]
    pub(crate) fn exptime(self) -> u32 {
        self.exptime_field().load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn is_expired(self, now_ms: u64) -> bool {
        let exptime = self.exptime();
        exptime != 0 && (exptime == ALWAYS_PAST || exptime_to_ms(exptime) <= now_ms)
    }

    /// The memory of a large value.
    pub(crate) fn block(self) -> Option<Block> {
        let shape = self.shape();
        let at = HEADER_LEN + shape.extras_len();
        shape.large.then(|| Block { address: self.u64_at(at), len: self.u64_at(at + 8) })
    }

    /// True when its cas does not come from its seq.
    pub(crate) fn has_own_cas(self) -> bool {
        self.facts_field().load(Ordering::Relaxed) & HAS_CAS != 0
    }

    pub(crate) fn frequency(self) -> u32 {
        self.facts_field().load(Ordering::Relaxed) >> 16 & FREQUENCY_MAX
    }

    pub(crate) fn was_fetched(self) -> bool {
        self.facts_field().load(Ordering::Relaxed) & FETCHED != 0
    }

    /// Notes a use, which raises the frequency when it `counts`. May lose to another one at the same moment,
    /// which is as good.
    #[inline]
    pub(crate) fn bump(self, now_ms: u64, counts: impl FnOnce(Self) -> bool) {
        let field = self.facts_field();
        let old = field.load(Ordering::Relaxed);
        let mut frequency = old >> 16 & FREQUENCY_MAX;
        if frequency < FREQUENCY_MAX && counts(self) {
            frequency += 1;
        }
        let new = old & !(FREQUENCY_MAX << 16 | 0xffff) | frequency << 16 | FETCHED | seconds(now_ms);
        if new != old {
            let _ = field.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Takes one use from the frequency; false when there is none.
    pub(crate) fn take_use(self) -> bool {
        let lower = |old: u32| (old >> 16 & FREQUENCY_MAX > 0).then(|| old - (1 << 16));
        self.facts_field().fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower).is_ok()
    }

    /// Called under the bucket's lock.
    pub(crate) fn set_marks(self, marks: Marks) {
        let change = |old: u32| Some(old & !MARKS | marks_bits(marks));
        let _ = self.facts_field().fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// Called under the bucket's lock.
    pub(crate) fn set_exptime(self, exptime: u32) {
        self.exptime_field().store(exptime, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn view(self, bucket: usize, now_ms: u64) -> ItemView<'a> {
        let shape = self.shape();
        let mut at = HEADER_LEN;
        let mut flags = 0;
        if shape.facts & HAS_FLAGS != 0 {
            flags = u32::from_ne_bytes(*self.fixed(at, 4).first_chunk().expect("four bytes"));
            at += 4;
        }
        let mut cas = self.seq() << 15 | bucket as u64;
        if shape.facts & HAS_CAS != 0 {
            cas = self.u64_at(at);
            at += 8;
        }
        let (key, value) = if shape.large {
            let block = Block { address: self.u64_at(at), len: self.u64_at(at + 8) };
            // SAFETY: a block lives as long as a record that names it, and does not change.
            (self.fixed(at + BLOCK_LEN, shape.key_len()), unsafe { block.bytes() })
        } else {
            let key_len = shape.key_len();
            self.fixed(at, key_len + shape.value_len).split_at(key_len)
        };
        ItemView {
            key,
            value,
            flags,
            cas,
            exptime_ms: exptime_to_ms(self.exptime()),
            last_access_ms: last_access_ms(shape.facts, now_ms),
            marks: marks(shape.facts),
        }
    }
}

/// A place of one's own for a record that nobody else can see yet.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    arena: &'a Arena,
    pub(crate) at: u64,
    pub(crate) shape: Shape,
    pub(crate) block: Option<Block>,
}

impl<'a> Draft<'a> {
    /// Writes the fields that give the record its length, so that the segment can be walked whatever happens.
    ///
    /// # Safety
    /// `shape.len()` bytes at `at` belong to the caller alone until the record is published or given up.
    pub(crate) unsafe fn new(arena: &'a Arena, at: u64, shape: Shape, block: Option<Block>) -> Self {
        let mut draft = Self { arena, at, shape, block };
        draft.atomics(0, shape.facts);
        draft.write(8, &draft.len_bits().to_ne_bytes());
        draft
    }

    fn len_bits(&self) -> u64 {
        (if self.shape.large { LARGE } else { self.shape.value_len as u64 }) << 48
    }

    fn atomics(&self, exptime: u32, facts: u32) {
        // SAFETY: ours alone, and only ever accessed as an atomic.
        unsafe { self.arena.half_word(self.at) }.store(exptime, Ordering::Relaxed);
        // SAFETY: likewise.
        unsafe { self.arena.half_word(self.at + 4) }.store(facts, Ordering::Relaxed);
    }

    fn bytes(&mut self, offset: usize, len: usize) -> &mut [u8] {
        // SAFETY: within our own range, as `Shape::len` says, and borrowed from `self` alone.
        unsafe { self.arena.bytes_mut(self.at + offset as u64, len) }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes(offset, bytes.len()).copy_from_slice(bytes);
    }

    /// Writes everything but the value and the seq; returns where the value goes.
    pub(crate) fn fill(
        &mut self,
        key: &[u8],
        put: &Put,
        frequency: u32,
        now_ms: u64,
        last_access_ms: u64,
    ) -> &mut [u8] {
        self.atomics(
            exptime_to_steps(put.exptime_ms, now_ms),
            self.shape.facts | frequency << 16 | seconds(last_access_ms),
        );
        let mut at = HEADER_LEN;
        if put.flags != 0 {
            self.write(at, &put.flags.to_ne_bytes());
            at += 4;
        }
        if let Some(cas) = put.cas {
            self.write(at, &cas.to_ne_bytes());
            at += 8;
        }
        let Some(block) = self.block else {
            self.write(at, key);
            return self.bytes(at + key.len(), self.shape.value_len);
        };
        self.write(at, &block.address.to_ne_bytes());
        self.write(at + 8, &block.len.to_ne_bytes());
        self.write(at + BLOCK_LEN, key);
        // SAFETY: the block was made for this record; nobody else knows it yet.
        unsafe { block.bytes_mut() }
    }

    /// The last field; afterwards the record is complete.
    pub(crate) fn seal(&mut self, seq: u64) {
        self.write(8, &(self.len_bits() | seq).to_ne_bytes());
    }

    /// Makes it a copy of another record, with another frequency.
    ///
    /// The caller holds the lock of the record's bucket, so that exptime and marks stay as copied.
    pub(crate) fn copy(&mut self, from: Record<'_>, frequency: u32) {
        let facts = from.facts_field().load(Ordering::Relaxed) & !(FREQUENCY_MAX << 16) | frequency << 16;
        self.atomics(from.exptime(), facts);
        self.write(8, from.fixed(8, from.len() - 8));
    }
}

impl Record<'_> {
    /// The shape for a copy.
    pub(crate) fn copy_shape(self) -> Shape {
        self.shape()
    }
}

/// Rounded up to whole steps; what is already past stays past, and the far future is as far as there is.
pub(crate) fn exptime_to_steps(exptime_ms: u64, now_ms: u64) -> u32 {
    match exptime_ms {
        0 => 0,
        past if past <= now_ms => ALWAYS_PAST,
        _ => (exptime_ms.div_ceil(EXPTIME_STEP_MS)).min(u64::from(ALWAYS_PAST) - 1) as u32,
    }
}

/// Zero: never.
#[inline]
pub(crate) fn exptime_to_ms(steps: u32) -> u64 {
    u64::from(steps) * EXPTIME_STEP_MS
}

#[inline]
fn seconds(now_ms: u64) -> u32 {
    (now_ms / 1000) as u32 & 0xffff
}

/// The latest time up to now that ends in the stored sixteen bits; ages above 18 hours lose that much.
#[inline]
fn last_access_ms(facts: u32, now_ms: u64) -> u64 {
    let now = now_ms / 1000;
    let age = (now as u32).wrapping_sub(facts) & 0xffff;
    now.saturating_sub(u64::from(age)) * 1000
}

fn marks_bits(marks: Marks) -> u32 {
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    bit(marks.fetched, FETCHED)
        | bit(marks.stale, STALE)
        | bit(marks.won, WON)
        | bit(marks.binary_key, BINARY_KEY)
}

#[inline]
fn marks(facts: u32) -> Marks {
    Marks {
        fetched: facts & FETCHED != 0,
        stale: facts & STALE != 0,
        won: facts & WON != 0,
        binary_key: facts & BINARY_KEY != 0,
    }
}
