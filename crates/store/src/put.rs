//! Writing an item: room for its slot, room for its record, the value, the slot.
//!
//! Everything that may fail comes first, so a write that is refused leaves the old item as it was. The old
//! item cannot be evicted by the write that replaces it: it is at hand while the value is written.

use crate::arena::Block;
use crate::counters::Counters;
use crate::heap::{Heap, Held, key_of, record_cost};
use crate::index::{Found, Run, longer};
use crate::item::{ItemView, Key, Put, PutError};
use crate::lane::{Lane, Wanted};
use crate::limits::KEY_LEN_MAX;
use crate::pool::Large;
use crate::record::{Draft, INLINE_LEN_MAX, Shape, exptime_to_steps};
use crate::segments::Kind;
use crate::store::BucketGuard;

/// What an item that comes from elsewhere brings along.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Brought {
    /// Its write sequence number, above the bucket's floor and no other item's; `None`: the next one.
    pub(crate) seq: Option<u64>,
    /// What eviction knows of it; `None`: it is new.
    pub(crate) used: Option<Use>,
}

/// How an item was used before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    pub(crate) kind: Kind,
    pub(crate) frequency: u32,
    pub(crate) last_access_ms: u64,
}

/// Space for one item that is not in the index yet. Dropped unused, it is given back.
struct Space<'a> {
    heap: &'a Heap,
    draft: Draft<'a>,
    linked: bool,
}

impl Drop for Space<'_> {
    fn drop(&mut self) {
        if !self.linked {
            self.heap.bury(self.draft.at, self.draft.shape.len());
            self.heap.free_unused(self.draft.block);
        }
        self.heap.written(self.draft.at);
    }
}

impl<'a> BucketGuard<'a> {
    /// Stores an item of `value_len` bytes; `fill` writes all of the value, which holds anything before, and
    /// may look at the live old item. Returns the new cas.
    ///
    /// # Panics
    /// If the key's bucket is not the locked one, or it is longer than [`KEY_LEN_MAX`]; in debug builds also if the
    /// key's hash is not its hash.
    pub fn put(
        &mut self,
        key: Key<'_>,
        now_ms: u64,
        put: &Put,
        value_len: usize,
        fill: impl FnOnce(&mut [u8], Option<ItemView<'_>>),
    ) -> Result<u64, PutError> {
        self.put_brought(key, now_ms, put, Brought::default(), value_len, fill)
    }

    /// Stores an item that may bring something along from elsewhere.
    pub(crate) fn put_brought(
        &mut self,
        key: Key<'_>,
        now_ms: u64,
        put: &Put,
        brought: Brought,
        value_len: usize,
        fill: impl FnOnce(&mut [u8], Option<ItemView<'_>>),
    ) -> Result<u64, PutError> {
        assert!(key.bytes.len() <= KEY_LEN_MAX, "a key of {} bytes", key.bytes.len());
        debug_assert_eq!(key.hash, key_of(key.bytes).hash, "a key comes with another key's hash");
        if self.store.too_large(key.bytes.len(), value_len) {
            return Err(PutError::TooLarge);
        }
        let heap = &self.store.heap;
        let stored = self.find_slot(key, now_ms).and_then(|slot| {
            let space = self.space(key, now_ms, put, brought, value_len, slot)?;
            Some(self.write(key, now_ms, put, brought, space, slot, fill))
        });
        self.note(key.hash);
        stored.ok_or_else(|| {
            Counters::add(&heap.counters(self.index).out_of_memory, 1);
            PutError::OutOfMemory
        })
    }

    fn held(&self, keep: Option<u64>) -> Held<'_> {
        Held { bucket: self.index, writes: &self.writes, keep }
    }

    /// The key's slot, or a free one for it.
    fn find_slot(&mut self, key: Key<'_>, now_ms: u64) -> Option<Slot> {
        if let Some((found, _)) = self.record(key) {
            return Some(Slot::Old(found));
        }
        loop {
            let (free, run) = (self.slots().free(key.hash), self.bucket().run());
            if let Some(slot) = free {
                return Some(Slot::Free(slot));
            }
            if !self.grow(run, now_ms) {
                break;
            }
        }
        self.drop_rival(key, now_ms)
    }

    /// Replaces the run by a longer one that has room for what is in it; false when there is no memory or the
    /// run is sparse already.
    fn grow(&mut self, old: Run, now_ms: u64) -> bool {
        let heap = &self.store.heap;
        let line_count_max = heap.pool().lines.line_count_max();
        let mut line_count = old.line_count;
        loop {
            let Some(longer) = longer(line_count, self.writes.count.get(), line_count_max) else {
                return false;
            };
            line_count = longer;
            let Some(run) = self.take_run(line_count, now_ms) else { return false };
            if run.fill_from(self.slots()) {
                self.bucket().set_run(run);
                if old.line_count > 0 {
                    heap.pool().retire_run(old, &heap.readers);
                }
                return true;
            }
            heap.pool().free_run(run);
        }
    }

    fn take_run(&mut self, line_count: usize, now_ms: u64) -> Option<Run> {
        let heap = &self.store.heap;
        let mut run = heap.pool().take_run(line_count, &heap.segments, &heap.arena);
        if run.is_none() {
            let mut lane = heap.lane(self.index);
            heap.make_room(&mut lane, now_ms, &mut self.held(None), |pool| {
                run = pool.take_run(line_count, &heap.segments, &heap.arena);
                run.is_some()
            });
        }
        run
    }

    /// Evicts one of the items whose slots are in the way.
    fn drop_rival(&mut self, key: Key<'_>, now_ms: u64) -> Option<Slot> {
        let heap = &self.store.heap;
        let slots = self.slots();
        let rival = slots.rival(key.hash).filter(|_| heap.evict)?;
        let record = slots.record(rival);
        heap.note_dropped(self.index, record, None, now_ms);
        heap.unlink(self.index, &self.writes, slots, rival, record);
        slots.free(key.hash).map(Slot::Free)
    }

    /// Memory for the record, and for a large value.
    fn space(
        &mut self,
        key: Key<'_>,
        now_ms: u64,
        put: &Put,
        brought: Brought,
        value_len: usize,
        slot: Slot,
    ) -> Option<Space<'a>> {
        let heap = &self.store.heap;
        let inline = Shape::new(key.bytes.len(), value_len, put, false);
        let large = value_len > INLINE_LEN_MAX || inline.len() > heap.segments.record_len_max();
        let shape = Shape::new(key.bytes.len(), value_len, put, large);
        let keep = slot.old().map(|found| found.at);
        let kind = match keep {
            Some(at) => heap.segments.of(at).kind(),
            None if let Some(used) = brought.used => used.kind,
            None => heap.queue_for(key.hash),
        };
        let mut lane = heap.lane(self.index);
        let held = &mut self.held(keep);
        let block =
            if large { Some(heap.take_block(&mut lane, value_len as u64, now_ms, held)?) } else { None };
        let exptime = exptime_to_steps(put.exptime_ms, now_ms);
        let wanted = Wanted { kind, shape, exptime, block, moving: false };
        let Some(draft) = heap.reserve_or_evict(&mut lane, wanted, now_ms, held) else {
            heap.free_unused(block);
            return None;
        };
        let space = Space { heap, draft, linked: false };
        heap.pace(&mut lane, shape.len(), now_ms, held);
        Some(space)
    }

    #[allow(clippy::too_many_arguments, reason = "what to write, where, and what it replaces")]
    fn write(
        &mut self,
        key: Key<'_>,
        now_ms: u64,
        put: &Put,
        brought: Brought,
        mut space: Space<'a>,
        slot: Slot,
        fill: impl FnOnce(&mut [u8], Option<ItemView<'_>>),
    ) -> u64 {
        let heap = &self.store.heap;
        let slots = self.slots();
        // It is where it was: it was kept there while room was made.
        let old = slot.old().map(|found| (found, slots.record(found)));
        let live = old.filter(|(_, record)| heap.absent(self.bucket(), *record, now_ms).is_none());
        let frequency = live.map_or(0, |(_, record)| record.frequency());
        let (frequency, last_access_ms) =
            brought.used.map_or((frequency, now_ms), |used| (used.frequency, used.last_access_ms));
        let value = space.draft.fill(key.bytes, put, frequency, now_ms, last_access_ms);
        fill(value, live.map(|(_, record)| record.view(self.index, now_ms)));
        let seq = brought.seq.unwrap_or(self.writes.seq.get() + 1);
        self.writes.seq.set(self.writes.seq.get().max(seq));
        space.draft.seal(seq);
        let counters = heap.counters(self.index);
        if old.is_some() && live.is_none() {
            Counters::add(&counters.reclaimed, 1);
        }
        counters.linked(record_cost(space.draft.shape.len(), space.draft.block));
        Counters::add(&counters.total_items, 1);
        if space.draft.block.is_some() {
            heap.queue_large(key.hash, seq);
        }
        match slot {
            Slot::Old(found) => slots.replace(found, key.hash, space.draft.at),
            Slot::Free(free) => {
                slots.set(free, key.hash, space.draft.at);
                self.writes.count.set(self.writes.count.get() + 1);
            }
        }
        space.linked = true;
        if let Some((found, record)) = old {
            heap.let_go(self.index, found.at, record);
        }
        put.cas.unwrap_or(seq << 15 | self.index as u64)
    }
}

impl Heap {
    fn reserve_or_evict(
        &self,
        lane: &mut Lane,
        wanted: Wanted,
        now_ms: u64,
        held: &mut Held<'_>,
    ) -> Option<Draft<'_>> {
        for _ in 0..RESERVE_TRIES {
            if let Some(draft) = self.reserve(lane, wanted, now_ms) {
                return Some(draft);
            }
            if !self.make_room(lane, now_ms, held, |pool| pool.has_room(self.segments.segment_len)) {
                return None;
            }
        }
        None
    }

    fn take_block(&self, lane: &mut Lane, len: u64, now_ms: u64, held: &mut Held<'_>) -> Option<Block> {
        let cost = Block::cost(len);
        if cost > self.pool().limit {
            return None;
        }
        let mut pool = self.pool();
        pool.collect(&self.readers, &self.segments, &self.arena);
        let spare = pool.reuse_block(len);
        drop(pool);
        if spare.is_some() {
            return spare;
        }
        if !self.make_room(lane, now_ms, held, |pool| pool.take_large(cost, &self.segments, &self.arena)) {
            return None;
        }
        let block = Block::new(len);
        if block.is_none() {
            self.pool().untake_large(cost);
        }
        block
    }

    /// Gives the memory of a block back that never got into the index.
    fn free_unused(&self, block: Option<Block>) {
        if let Some(block) = block {
            self.pool().free_unused_block(block);
        }
    }

    fn queue_large(&self, hash: u64, seq: u64) {
        let mut pool = self.pool();
        pool.push_large(hash, seq);
        if pool.large.len() > 2 * pool.large_count + LARGE_QUEUE_SLACK {
            let mut large = std::mem::take(&mut pool.large);
            large.retain(|large| (large.hash, large.seq) == (hash, seq) || self.is_current(large));
            pool.large = large;
        }
    }

    fn is_current(&self, large: &Large) -> bool {
        let pin = self.readers.pin();
        let slots = self.buckets[(large.hash >> 49) as usize].pinned(&self.arena, &pin);
        slots.find(large.hash, |record| record.seq() == large.seq).is_some()
    }
}

/// Where the index will name the new item.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Old(Found),
    Free(usize),
}

impl Slot {
    fn old(self) -> Option<Found> {
        match self {
            Self::Old(found) => Some(found),
            Self::Free(_) => None,
        }
    }
}

/// Other lanes may take the segment that was freed; then it is tried again.
const RESERVE_TRIES: usize = 8;

/// Entries of large values that may be out of date, besides as many as there are values.
const LARGE_QUEUE_SLACK: usize = 64;
