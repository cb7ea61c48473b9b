//! The store as others see it: reads without locks, and the lock of a bucket for everything that changes it.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use stdx::ByteSize;

use crate::BUCKET_COUNT;
use crate::counters::Counters;
use crate::heap::Heap;
use crate::index::{self, Bucket, Found, Slots, Writes};
use crate::item::{Absent, ItemView, Key, Sought};
use crate::limits::MEMCACHED_ITEM_OVERHEAD;
use crate::record::{Record, exptime_to_steps};
use crate::stats::StoreStats;

/// How a store is set up.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Memory for items, overhead included.
    pub memory: ByteSize,
    /// Largest item as memcached counts it (`-I`).
    pub item_size_max: ByteSize,
    /// False: refuse writes when full instead of evicting (`-M`).
    pub evict: bool,
    /// Where write sequence numbers start: random in production, so that a cas of an earlier life never fits.
    pub seed: u64,
}

/// All items of a node.
#[derive(Debug)]
pub struct Store {
    pub(crate) heap: Heap,
    item_size_max: u64,
    /// Write sequence numbers are above this.
    pub(crate) start: u64,
}

/// Numbers start at most here: 2^47 are left to each bucket.
pub(crate) const START_MAX: u64 = u64::MAX >> SEED_SHIFT;
const SEED_SHIFT: u32 = 24;

impl Store {
    /// An empty store.
    pub fn new(options: &StoreOptions) -> Self {
        Self::starting_at(options, options.seed >> SEED_SHIFT)
    }

    pub(crate) fn starting_at(options: &StoreOptions, start: u64) -> Self {
        Self { heap: Heap::new(options, start), item_size_max: options.item_size_max.0, start }
    }

    /// Looks a key up and hands its item to `read`, without a lock. `bump`: count it as a use, for eviction;
    /// `read` sees the item as it was before that.
    ///
    /// Memory that writers free meanwhile waits for `read` to return, so it must neither block nor write to the
    /// store.
    #[inline]
    pub fn get<'k, R>(
        &self,
        sought: impl Into<Sought<'k>>,
        now_ms: u64,
        bump: bool,
        read: impl FnOnce(ItemView<'_>) -> R,
    ) -> Result<R, Absent> {
        let Sought { key, hint } = sought.into();
        let bucket = &self.heap.buckets[key.bucket()];
        let pin = self.heap.readers.pin();
        let slots = bucket.pinned(&self.heap.arena, &pin);
        let fits = |record: Record<'_>| record.key() == key.bytes;
        let found = slots.find_hinted(hint, fits).or_else(|| slots.find(key.hash, fits));
        let record = slots.record(found.ok_or(Absent::Missing)?);
        if let Some(absent) = self.heap.absent(bucket, record, now_ms) {
            return Err(absent);
        }
        let view = record.view(key.bucket(), now_ms);
        if bump {
            record.bump(now_ms, |record| self.heap.use_counts(record));
        }
        Ok(read(view))
    }

    /// Brings what a look-up of these keys will touch into the processor's cache, and notes where their items
    /// are. For a batch: first this for all its keys, then the commands.
    pub fn prefetch(&self, batch: &mut [Sought<'_>]) {
        let bucket = |sought: &Sought<'_>| &self.heap.buckets[sought.key.bucket()];
        for sought in &*batch {
            index::prefetch_bucket(bucket(sought));
        }
        for sought in &*batch {
            bucket(sought).run().prefetch(&self.heap.arena, sought.key.hash);
        }
        let pin = self.heap.readers.pin();
        for sought in batch {
            sought.hint = bucket(sought).pinned(&self.heap.arena, &pin).prefetch_items(sought.key.hash);
        }
    }

    /// Takes the lock of a bucket, for everything that changes an item, a floor or a tag.
    ///
    /// # Panics
    /// If `bucket` is not below [`BUCKET_COUNT`].
    pub fn lock(&self, bucket: usize) -> BucketGuard<'_> {
        assert!(bucket < BUCKET_COUNT, "bucket {bucket} does not exist");
        let writes = self.heap.buckets[bucket].writes.lock().unwrap_or_else(PoisonError::into_inner);
        BucketGuard { store: self, writes, index: bucket }
    }

    /// The bucket's tag, read without its lock.
    pub fn tag(&self, bucket: usize) -> u64 {
        self.heap.buckets.get(bucket).map_or(0, |bucket| bucket.rights.tag())
    }

    /// Wipes every bucket, one after the other.
    pub fn wipe_all(&self) {
        for bucket in 0..BUCKET_COUNT {
            self.lock(bucket).wipe();
        }
    }

    /// The largest item, as memcached counts it.
    pub fn item_size_max(&self) -> u64 {
        self.item_size_max
    }

    /// True when a value of this length cannot be stored under a key of that length, whatever is free.
    pub fn too_large(&self, key_len: usize, value_len: usize) -> bool {
        (key_len + value_len + MEMCACHED_ITEM_OVERHEAD) as u64 > self.item_size_max
    }

    /// Changes the memory limit; a lower one takes effect with the next writes.
    pub fn set_memory(&self, memory: ByteSize) {
        let mut pool = self.heap.pool();
        pool.limit = memory.0;
        self.heap.note_spare(&pool);
    }

    /// A snapshot of all counters.
    pub fn stats(&self) -> StoreStats {
        let pool = self.heap.pool();
        let mut total = StoreStats {
            memory_limit: pool.limit,
            memory_used: pool.used(self.heap.segments.segment_len),
            bytes: pool.lines.used * index::LINE_LEN as u64,
            ..StoreStats::default()
        };
        drop(pool);
        self.heap.counters.iter().for_each(|counters| counters.add_to(&mut total));
        total
    }

    /// Starts or stops to remember what is evicted.
    pub fn note_evicted(&self, on: bool) {
        self.heap.evicted.switch(on);
    }

    /// What was evicted since it was last asked, oldest first, and how many more of them were not remembered.
    pub fn take_evicted(&self) -> (Vec<crate::Evicted>, u64) {
        self.heap.evicted.take()
    }

    /// Sets the counters to zero; gauges stay.
    pub fn reset_stats(&self) {
        self.heap.counters.iter().for_each(Counters::reset);
    }
}

/// The lock of one bucket.
#[derive(Debug)]
pub struct BucketGuard<'a> {
    pub(crate) store: &'a Store,
    pub(crate) writes: MutexGuard<'a, Writes>,
    pub(crate) index: usize,
}

impl BucketGuard<'_> {
    pub(crate) fn bucket(&self) -> &Bucket {
        &self.store.heap.buckets[self.index]
    }

    pub(crate) fn slots(&self) -> Slots<'_> {
        self.bucket().locked(&self.store.heap.arena, &self.writes)
    }

    /// The record of a key, dead or alive.
    pub(crate) fn record(&self, key: Key<'_>) -> Option<(Found, Record<'_>)> {
        assert_eq!(key.bucket(), self.index, "a key is used under another bucket's lock");
        let slots = self.slots();
        let found = slots.find(key.hash, |record| record.key() == key.bytes)?;
        Some((found, slots.record(found)))
    }

    fn live(&self, key: Key<'_>, now_ms: u64) -> Result<(Found, Record<'_>), Absent> {
        let (found, record) = self.record(key).ok_or(Absent::Missing)?;
        match self.store.heap.absent(self.bucket(), record, now_ms) {
            Some(absent) => Err(absent),
            None => Ok((found, record)),
        }
    }

    /// The tag of the locked bucket.
    pub fn tag(&self) -> u64 {
        self.store.tag(self.index)
    }

    /// Ties a new tag to the locked bucket.
    pub fn set_tag(&mut self, tag: u64) {
        self.bucket().rights.set_tag(tag);
    }

    /// Kills every item of the bucket at once; memory is used again later.
    pub fn wipe(&mut self) {
        self.bucket().rights.wipe(self.writes.seq.get());
        self.store.heap.wipes.fetch_add(1, Ordering::Relaxed);
        if let Some(exports) = &mut self.writes.exports {
            exports.note_wipe();
        }
    }

    /// The item of a key, if it is alive.
    pub fn find(&self, key: Key<'_>, now_ms: u64) -> Result<ItemView<'_>, Absent> {
        self.live(key, now_ms).map(|(_, record)| record.view(self.index, now_ms))
    }

    /// Counts a use of the key's item: it was fetched, and is kept longer.
    pub fn bump(&mut self, key: Key<'_>, now_ms: u64) {
        if let Some((_, record)) = self.record(key) {
            record.bump(now_ms, |record| self.store.heap.use_counts(record));
        }
    }

    /// Removes a key's item; false when there was no live one.
    pub fn remove(&mut self, key: Key<'_>, now_ms: u64) -> bool {
        // Absent here may be evicted here: who has a copy of the bucket may still have the item.
        self.note(key.hash);
        let Some((found, record)) = self.record(key) else { return false };
        let heap = &self.store.heap;
        let alive = heap.absent(self.bucket(), record, now_ms).is_none();
        heap.unlink(self.index, &self.writes, self.slots(), found, record);
        heap.trim(self.bucket(), &self.writes);
        alive
    }

    /// Changes the exptime of a live item in place; its cas stays.
    pub fn set_exptime(&mut self, key: Key<'_>, now_ms: u64, exptime_ms: u64) -> Result<(), Absent> {
        let (found, record) = self.live(key, now_ms)?;
        let steps = exptime_to_steps(exptime_ms, now_ms);
        self.store.heap.segments.of(found.at).note_exptime(steps);
        record.set_exptime(steps);
        self.note(key.hash);
        Ok(())
    }

    /// Changes the marks of a live item in place; its cas stays.
    pub fn set_marks(&mut self, key: Key<'_>, now_ms: u64, marks: crate::Marks) -> Result<(), Absent> {
        let (_, record) = self.live(key, now_ms)?;
        record.set_marks(marks);
        self.note(key.hash);
        Ok(())
    }

    /// Calls `visit` for each live item of the bucket, in no order.
    pub fn scan(&self, now_ms: u64, mut visit: impl FnMut(ItemView<'_>)) {
        let heap = &self.store.heap;
        for record in self.slots().records() {
            if heap.absent(self.bucket(), record, now_ms).is_none() {
                visit(record.view(self.index, now_ms));
            }
        }
    }
}
