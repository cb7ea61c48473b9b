//! All parts of the engine, and how an item is found and its memory is let go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::BUCKET_COUNT;
use crate::arena::{Arena, Block};
use crate::counters::Counters;
use crate::evicted::EvictedList;
use crate::ghost::Ghost;
use crate::index::{Bucket, Found, Run, Slots, Writes, shorter};
use crate::item::{Absent, Key};
use crate::lane::Lane;
use crate::limits::{
    LANE_COUNT_MAX, SEGMENTS_FOR_CLASSES, SEGMENTS_PER_LANE, SMALL_SHARE_MAX, SMALL_SHARE_MIN,
    SMALL_SHARE_START, SMALL_SHARE_STEP,
};
use crate::pool::Pool;
use crate::readers::Readers;
use crate::record::Record;
use crate::segments::{Kind, Segments};
use crate::store::StoreOptions;

#[derive(Debug)]
pub(crate) struct Heap {
    pub(crate) arena: Arena,
    pub(crate) segments: Segments,
    pub(crate) readers: Readers,
    pub(crate) buckets: Box<[Bucket]>,
    pub(crate) ghost: Ghost,
    pub(crate) counters: Box<[Counters]>,
    pub(crate) evicted: EvictedList,
    /// Wipes since the start, for the search for dead items.
    pub(crate) wipes: AtomicU64,
    /// Segments that can be taken, as of the last look; writers walk a victim while they are few.
    pub(crate) spare: AtomicU64,
    pub(crate) spare_target: u64,
    /// The small queue's part of the segments, of [`limits::SHARE_WHOLE`](crate::limits).
    pub(crate) small_share: AtomicU64,
    pub(crate) evict: bool,
    /// Items of different lifetimes go to different segments.
    pub(crate) classes: bool,
    lanes: Box<[Mutex<Lane>]>,
    pool: Mutex<Pool>,
}

/// The bucket whose lock is held while room is made.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    pub(crate) bucket: usize,
    pub(crate) writes: &'a Writes,
    /// The place of an item that must stay where it is.
    pub(crate) keep: Option<u64>,
}

const COUNTERS_COUNT: usize = 16;

impl Heap {
    pub(crate) fn new(options: &StoreOptions, start: u64) -> Self {
        let memory = options.memory.0;
        let segments = Segments::new(options.memory);
        let segment_count = memory / segments.segment_len as u64;
        let lane_count = (segment_count / SEGMENTS_PER_LANE).clamp(1, LANE_COUNT_MAX as u64);
        let heap = Self {
            arena: Arena::new(),
            readers: Readers::new(),
            buckets: (0..BUCKET_COUNT).map(|_| Bucket::new(start)).collect(),
            ghost: Ghost::new(memory / 64),
            counters: (0..COUNTERS_COUNT).map(|_| Counters::default()).collect(),
            evicted: EvictedList::default(),
            wipes: AtomicU64::new(0),
            spare: AtomicU64::new(0),
            spare_target: 2 * lane_count + 1,
            small_share: AtomicU64::new(SMALL_SHARE_START),
            evict: options.evict,
            classes: segment_count >= SEGMENTS_FOR_CLASSES,
            lanes: (0..lane_count).map(|_| Mutex::default()).collect(),
            pool: Mutex::new(Pool::new(memory, segments.segment_len, lane_count + 1)),
            segments,
        };
        heap.note_spare(&heap.pool());
        heap
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lane(&self, bucket: usize) -> MutexGuard<'_, Lane> {
        self.lanes[bucket % self.lanes.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn counters(&self, bucket: usize) -> &Counters {
        &self.counters[bucket % self.counters.len()]
    }

    pub(crate) fn note_spare(&self, pool: &Pool) {
        self.spare.store(pool.available(self.segments.segment_len), Ordering::Relaxed);
    }

    /// Why an item is not alive. The floor is read here, after the item was found.
    #[inline]
    pub(crate) fn absent(&self, bucket: &Bucket, record: Record<'_>, now_ms: u64) -> Option<Absent> {
        if bucket.rights.is_wiped(record.seq()) {
            Some(Absent::Flushed)
        } else {
            record.is_expired(now_ms).then_some(Absent::Expired)
        }
    }

    /// An item goes to make room; `absent` when it was dead. The caller holds its bucket's lock.
    pub(crate) fn note_dropped(
        &self,
        bucket: usize,
        record: Record<'_>,
        absent: Option<Absent>,
        now_ms: u64,
    ) {
        self.counters(bucket).dropped(record, absent);
        if absent.is_none() && self.evicted.is_on() {
            self.evicted.note(&record.view(bucket, now_ms));
        }
    }

    /// Takes an item out of the index. Its memory is used again when no reader can see it.
    pub(crate) fn unlink(
        &self,
        bucket: usize,
        writes: &Writes,
        slots: Slots<'_>,
        found: Found,
        record: Record<'_>,
    ) {
        slots.clear(found);
        writes.count.set(writes.count.get() - 1);
        self.let_go(bucket, found.at, record);
    }

    /// Shortens a bucket's run when it became sparse. The caller holds its lock and no slots of it.
    pub(crate) fn trim(&self, bucket: &Bucket, writes: &Writes) {
        let old = bucket.run();
        let Some(line_count) = shorter(old.line_count, writes.count.get()) else { return };
        let mut pool = self.pool();
        let mut new = Run::EMPTY;
        if line_count > 0 {
            let Some(run) = pool.lines.take(line_count) else { return };
            if !run.fill_from(bucket.locked(&self.arena, writes)) {
                pool.free_run(run);
                return;
            }
            new = run;
        }
        bucket.set_run(new);
        pool.retire_run(old, &self.readers);
    }

    /// Called when no slot points to the record any more.
    pub(crate) fn let_go(&self, bucket: usize, at: u64, record: Record<'_>) {
        let block = record.block();
        self.counters(bucket).unlinked(record_cost(record.len(), block));
        if let Some(block) = block {
            self.pool().retire_block(block, &self.readers);
        }
        self.bury(at, record.len());
    }

    /// Whether a use of this item is one for which it is kept longer. Large values are in no segment that could
    /// be young.
    pub(crate) fn use_counts(&self, record: Record<'_>) -> bool {
        self.segments.is_settled(record.at()) || record.block().is_some()
    }

    /// The queue that a new item goes to. One that was evicted too early also moves the border between the
    /// queues a little: by more for the small queue, so that both have as many ghosts come back for their size.
    pub(crate) fn queue_for(&self, hash: u64) -> Kind {
        let Some(from) = self.ghost.take(hash) else { return Kind::Small };
        let step = SMALL_SHARE_STEP / self.ghost.item_count().max(1);
        let _ = self.small_share.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |share| {
            let moved = match from {
                Kind::Small => share + step,
                Kind::Main => share.saturating_sub(step * share / SMALL_SHARE_START),
            };
            Some(moved.clamp(SMALL_SHARE_MIN, SMALL_SHARE_MAX))
        });
        Kind::Main
    }

    /// These bytes of a segment are dead.
    pub(crate) fn bury(&self, at: u64, len: usize) {
        self.segments.of(at).dead.fetch_add(len as u32, Ordering::Relaxed);
    }
}

impl Drop for Heap {
    /// Large values have mappings of their own; all else goes with the arena.
    fn drop(&mut self) {
        let mut pool = self.pool();
        for large in std::mem::take(&mut pool.large) {
            let bucket = &self.buckets[(large.hash >> 49) as usize];
            let writes = bucket.writes.lock().unwrap_or_else(PoisonError::into_inner);
            let slots = bucket.locked(&self.arena, &writes);
            if let Some(found) = slots.find(large.hash, |record| record.seq() == large.seq) {
                slots.clear(found);
                if let Some(block) = slots.record(found).block() {
                    pool.retire_block(block, &self.readers);
                }
            }
        }
        pool.collect(&self.readers, &self.segments, &self.arena);
        while pool.free_spare_block() {}
    }
}

/// Bytes that an item takes, its slot apart.
pub(crate) fn record_cost(record_len: usize, block: Option<Block>) -> u64 {
    record_len as u64 + block.map_or(0, |block| Block::cost(block.len))
}

/// A key that lies in the arena.
pub(crate) fn key_of(bytes: &[u8]) -> Key<'_> {
    Key::of(bytes)
}
