//! The store: buckets spread over a few locked shards, one memory budget for all.
//!
//! A bucket's lock is its shard's lock. The tag is written under that lock and may be read without it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use stdx::ByteSize;

use crate::BUCKET_COUNT;
use crate::item::{Absent, ItemView, Key, Put, PutError};
use crate::limits::MEMCACHED_ITEM_OVERHEAD;
use crate::shard::Shard;
use crate::stats::StoreStats;

const SHARD_COUNT: usize = 64;

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
    shards: Box<[Mutex<Shard>]>,
    tags: Box<[AtomicU64]>,
    used: AtomicU64,
    memory: AtomicU64,
    item_size_max: u64,
    evict: bool,
}

impl Store {
    /// An empty store.
    pub fn new(options: &StoreOptions) -> Self {
        let start = options.seed >> 24;
        Self {
            shards: (0..SHARD_COUNT)
                .map(|_| Mutex::new(Shard::new(start, BUCKET_COUNT / SHARD_COUNT)))
                .collect(),
            tags: (0..BUCKET_COUNT).map(|_| AtomicU64::new(0)).collect(),
            used: AtomicU64::new(0),
            memory: AtomicU64::new(options.memory.0),
            item_size_max: options.item_size_max.0,
            evict: options.evict,
        }
    }

    /// Looks a key up and hands its item to `read`. `bump`: count it as a use, for eviction.
    pub fn get<R>(
        &self,
        key: Key<'_>,
        now_ms: u64,
        bump: bool,
        read: impl FnOnce(ItemView<'_>) -> R,
    ) -> Result<R, Absent> {
        let mut guard = self.lock(key.bucket());
        guard.find(key, now_ms)?;
        let result = guard.find(key, now_ms).map(read);
        if bump {
            guard.bump(key, now_ms);
        }
        result
    }

    /// Takes the lock of a bucket, for everything that changes an item, a floor or a tag.
    ///
    /// # Panics
    /// If `bucket` is not below [`BUCKET_COUNT`].
    pub fn lock(&self, bucket: usize) -> BucketGuard<'_> {
        assert!(bucket < BUCKET_COUNT, "bucket {bucket} does not exist");
        let shard = self.shards[bucket % SHARD_COUNT].lock().unwrap_or_else(PoisonError::into_inner);
        BucketGuard { store: self, shard, bucket }
    }

    /// The bucket's tag, read without its lock.
    pub fn tag(&self, bucket: usize) -> u64 {
        self.tags.get(bucket).map_or(0, |tag| tag.load(Ordering::Acquire))
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
        self.memory.store(memory.0, Ordering::Relaxed);
    }

    /// A snapshot of all counters.
    pub fn stats(&self) -> StoreStats {
        let mut total =
            StoreStats { memory_limit: self.memory.load(Ordering::Relaxed), ..StoreStats::default() };
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).add_stats(&mut total);
        }
        total
    }

    /// Sets the counters to zero; gauges stay.
    pub fn reset_stats(&self) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).reset_stats();
        }
    }

    /// Makes room for `size` more bytes, evicting from the locked shard first and then from others.
    fn make_room(&self, own: &mut Shard, size: u64, now_ms: u64) -> Result<(), PutError> {
        let limit = self.memory.load(Ordering::Relaxed);
        if size > limit {
            own.stats.out_of_memory += 1;
            return Err(PutError::OutOfMemory);
        }
        let mut over = (self.used.load(Ordering::Relaxed) + size).saturating_sub(limit);
        over = over.saturating_sub(self.reclaim(own, over, now_ms));
        for shard in &self.shards {
            if over == 0 {
                break;
            }
            if let Ok(mut other) = shard.try_lock() {
                over = over.saturating_sub(self.reclaim(&mut other, over, now_ms));
            }
        }
        if over == 0 {
            return Ok(());
        }
        own.stats.out_of_memory += 1;
        Err(PutError::OutOfMemory)
    }

    fn reclaim(&self, shard: &mut Shard, wanted: u64, now_ms: u64) -> u64 {
        let freed = shard.reclaim(wanted, now_ms, self.evict);
        self.used.fetch_sub(freed, Ordering::Relaxed);
        freed
    }
}

/// The lock of one bucket.
#[derive(Debug)]
pub struct BucketGuard<'a> {
    store: &'a Store,
    shard: MutexGuard<'a, Shard>,
    bucket: usize,
}

impl BucketGuard<'_> {
    /// The tag of the locked bucket.
    pub fn tag(&self) -> u64 {
        self.store.tag(self.bucket)
    }

    /// Ties a new tag to the locked bucket.
    pub fn set_tag(&mut self, tag: u64) {
        self.store.tags[self.bucket].store(tag, Ordering::Release);
    }

    /// Kills every item of the bucket at once; memory is used again later.
    pub fn wipe(&mut self) {
        self.shard.wipe(self.bucket / SHARD_COUNT);
    }

    /// The item of a key, if it is alive.
    pub fn find(&self, key: Key<'_>, now_ms: u64) -> Result<ItemView<'_>, Absent> {
        self.check(key);
        self.shard.find(key.bytes, self.bucket / SHARD_COUNT, self.bucket, now_ms)
    }

    /// Counts a use of the key's item: it was fetched, and is kept longer.
    pub fn bump(&mut self, key: Key<'_>, now_ms: u64) {
        self.check(key);
        self.shard.bump(key.bytes, now_ms);
    }

    /// Stores an item of `value_len` bytes; `fill` writes the value and may look at the live old item.
    /// Returns the new cas.
    pub fn put(
        &mut self,
        key: Key<'_>,
        now_ms: u64,
        put: &Put,
        value_len: usize,
        fill: impl FnOnce(&mut [u8], Option<ItemView<'_>>),
    ) -> Result<u64, PutError> {
        self.check(key);
        if self.store.too_large(key.bytes.len(), value_len) {
            return Err(PutError::TooLarge);
        }
        let mut value = vec![0; value_len].into_boxed_slice();
        let old = self.find(key, now_ms).ok();
        fill(&mut value, old);
        let size = Shard::item_size(key.bytes.len(), value_len);
        self.store.make_room(&mut self.shard, size, now_ms)?;
        let (cas, freed) =
            self.shard.insert(key.bytes, value, put, self.bucket, self.bucket / SHARD_COUNT, now_ms);
        self.store.used.fetch_add(size, Ordering::Relaxed);
        self.store.used.fetch_sub(freed, Ordering::Relaxed);
        Ok(cas)
    }

    /// Removes a key's item; false when there was no live one.
    pub fn remove(&mut self, key: Key<'_>, now_ms: u64) -> bool {
        let alive = self.find(key, now_ms).is_ok();
        let freed = self.shard.remove(key.bytes);
        self.store.used.fetch_sub(freed, Ordering::Relaxed);
        alive
    }

    /// Changes the exptime of a live item in place; its cas stays.
    pub fn set_exptime(&mut self, key: Key<'_>, now_ms: u64, exptime_ms: u64) -> Result<(), Absent> {
        self.find(key, now_ms)?;
        self.shard.edit(key.bytes, |item| item.exptime_ms = exptime_ms);
        Ok(())
    }

    /// Changes the marks of a live item in place; its cas stays.
    pub fn set_marks(&mut self, key: Key<'_>, now_ms: u64, marks: crate::Marks) -> Result<(), Absent> {
        self.find(key, now_ms)?;
        self.shard.edit(key.bytes, |item| item.marks = marks);
        Ok(())
    }

    /// Calls `visit` for each live item of the bucket, in no order.
    pub fn scan(&self, now_ms: u64, visit: impl FnMut(ItemView<'_>)) {
        self.shard.scan(self.bucket / SHARD_COUNT, self.bucket, now_ms, visit);
    }

    fn check(&self, key: Key<'_>) {
        assert_eq!(key.bucket(), self.bucket, "a key is used under another bucket's lock");
    }
}
