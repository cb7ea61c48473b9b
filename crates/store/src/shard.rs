//! One locked part of the store: a hash map, and a queue in which used items get a second chance (CLOCK).
//!
//! Each write has a sequence number of its bucket, which is also the queue's way to know that its entry is
//! out of date, and the cas: `seq << 15 | bucket`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::item::{Absent, ItemView, Marks, Put};
use crate::stats::StoreStats;

/// Bytes of an item besides key and value: map slot, queue entry, and what the allocator adds to three blocks.
const ITEM_OVERHEAD: u64 = 192;

/// Queue entries looked at for each item that may be freed, before giving up: every entry can be met twice,
/// once to lose its second chance.
const SWEEP_FACTOR: usize = 2;

#[derive(Debug)]
pub(crate) struct Shard {
    items: HashMap<Arc<[u8]>, Item>,
    queue: VecDeque<(Arc<[u8]>, u64)>,
    /// Next sequence number and floor, by the bucket's index in this shard.
    buckets: Box<[Floor]>,
    bytes: u64,
    pub(crate) stats: StoreStats,
}

#[derive(Clone, Copy, Debug)]
struct Floor {
    seq: u64,
    floor: u64,
}

#[derive(Debug)]
pub(crate) struct Item {
    value: Box<[u8]>,
    flags: u32,
    seq: u64,
    cas: u64,
    bucket_in_shard: u32,
    pub(crate) exptime_ms: u64,
    last_access_ms: u64,
    pub(crate) marks: Marks,
    second_chance: bool,
}

impl Shard {
    pub(crate) fn new(start: u64, bucket_count: usize) -> Self {
        Self {
            items: HashMap::new(),
            queue: VecDeque::new(),
            buckets: vec![Floor { seq: start, floor: start }; bucket_count].into_boxed_slice(),
            bytes: 0,
            stats: StoreStats::default(),
        }
    }

    pub(crate) const fn item_size(key_len: usize, value_len: usize) -> u64 {
        (key_len + value_len) as u64 + ITEM_OVERHEAD
    }

    pub(crate) fn find(
        &self,
        key: &[u8],
        bucket_in_shard: usize,
        bucket: usize,
        now_ms: u64,
    ) -> Result<ItemView<'_>, Absent> {
        let (key, item) = self.items.get_key_value(key).ok_or(Absent::Missing)?;
        debug_assert_eq!(item.bucket_in_shard as usize, bucket_in_shard, "bucket {bucket}");
        match item.absent(&self.buckets, now_ms) {
            Some(absent) => Err(absent),
            None => Ok(item.view(key)),
        }
    }

    pub(crate) fn bump(&mut self, key: &[u8], now_ms: u64) {
        self.edit(key, |item| {
            item.marks.fetched = true;
            item.second_chance = true;
            item.last_access_ms = now_ms;
        });
    }

    pub(crate) fn edit(&mut self, key: &[u8], change: impl FnOnce(&mut Item)) {
        if let Some(item) = self.items.get_mut(key) {
            change(item);
        }
    }

    /// Inserts or replaces; returns the cas and the bytes that the old item gave back.
    pub(crate) fn insert(
        &mut self,
        key: &[u8],
        value: Box<[u8]>,
        put: &Put,
        bucket: usize,
        bucket_in_shard: usize,
        now_ms: u64,
    ) -> (u64, u64) {
        let freed = self.remove(key);
        let floor = &mut self.buckets[bucket_in_shard];
        floor.seq += 1;
        let seq = floor.seq;
        let cas = put.cas.unwrap_or(seq << 15 | bucket as u64);
        self.bytes += Self::item_size(key.len(), value.len());
        self.stats.total_items += 1;
        let key: Arc<[u8]> = key.into();
        self.queue.push_back((Arc::clone(&key), seq));
        self.items.insert(
            key,
            Item {
                value,
                flags: put.flags,
                seq,
                cas,
                bucket_in_shard: bucket_in_shard as u32,
                exptime_ms: put.exptime_ms,
                last_access_ms: now_ms,
                marks: put.marks,
                second_chance: false,
            },
        );
        self.drop_dead_queue_entries();
        (cas, freed)
    }

    /// Removes an item, dead or alive; returns its bytes.
    pub(crate) fn remove(&mut self, key: &[u8]) -> u64 {
        let Some(item) = self.items.remove(key) else { return 0 };
        let size = Self::item_size(key.len(), item.value.len());
        self.bytes -= size;
        size
    }

    pub(crate) fn wipe(&mut self, bucket_in_shard: usize) {
        let floor = &mut self.buckets[bucket_in_shard];
        floor.floor = floor.seq;
    }

    /// Frees dead items, and with `evict` live ones that were not used since last met, until `wanted` bytes
    /// are free; returns how many were freed.
    pub(crate) fn reclaim(&mut self, wanted: u64, now_ms: u64, evict: bool) -> u64 {
        let mut freed = 0;
        for _ in 0..self.queue.len() * SWEEP_FACTOR {
            if freed >= wanted {
                break;
            }
            let Some((key, seq)) = self.queue.pop_front() else { break };
            let Some(item) = self.items.get_mut(&key).filter(|item| item.seq == seq) else { continue };
            let absent = item.absent(&self.buckets, now_ms);
            if absent.is_none() && (item.second_chance || !evict) {
                item.second_chance = false;
                self.queue.push_back((key, seq));
                continue;
            }
            let (fetched, has_exptime) = (item.marks.fetched, item.exptime_ms != 0);
            count_reclaimed(&mut self.stats, absent, fetched, has_exptime);
            freed += self.remove(&key);
        }
        freed
    }

    pub(crate) fn scan(
        &self,
        bucket_in_shard: usize,
        _bucket: usize,
        now_ms: u64,
        mut visit: impl FnMut(ItemView<'_>),
    ) {
        for (key, item) in &self.items {
            if item.bucket_in_shard as usize == bucket_in_shard
                && item.absent(&self.buckets, now_ms).is_none()
            {
                visit(item.view(key));
            }
        }
    }

    pub(crate) fn add_stats(&self, total: &mut StoreStats) {
        total.items += self.items.len() as u64;
        total.bytes += self.bytes;
        total.total_items += self.stats.total_items;
        total.evictions += self.stats.evictions;
        total.evicted_unfetched += self.stats.evicted_unfetched;
        total.evicted_with_exptime += self.stats.evicted_with_exptime;
        total.reclaimed += self.stats.reclaimed;
        total.expired_unfetched += self.stats.expired_unfetched;
        total.out_of_memory += self.stats.out_of_memory;
    }

    pub(crate) fn reset_stats(&mut self) {
        self.stats = StoreStats::default();
    }

    /// Overwrites and deletes leave entries in the queue; keep it at most twice as long as there are items.
    fn drop_dead_queue_entries(&mut self) {
        if self.queue.len() > 2 * self.items.len() + 64 {
            let items = &self.items;
            self.queue.retain(|(key, seq)| items.get(key).is_some_and(|item| item.seq == *seq));
        }
    }
}

impl Item {
    fn absent(&self, buckets: &[Floor], now_ms: u64) -> Option<Absent> {
        if self.seq <= buckets[self.bucket_in_shard as usize].floor {
            Some(Absent::Flushed)
        } else if self.exptime_ms != 0 && now_ms >= self.exptime_ms {
            Some(Absent::Expired)
        } else {
            None
        }
    }

    fn view<'a>(&'a self, key: &'a [u8]) -> ItemView<'a> {
        ItemView {
            key,
            value: &self.value,
            flags: self.flags,
            cas: self.cas,
            exptime_ms: self.exptime_ms,
            last_access_ms: self.last_access_ms,
            marks: self.marks,
        }
    }
}

fn count_reclaimed(stats: &mut StoreStats, absent: Option<Absent>, fetched: bool, has_exptime: bool) {
    match absent {
        Some(absent) => {
            stats.reclaimed += 1;
            stats.expired_unfetched += u64::from(absent == Absent::Expired && !fetched);
        }
        None => {
            stats.evictions += 1;
            stats.evicted_unfetched += u64::from(!fetched);
            stats.evicted_with_exptime += u64::from(has_exptime);
        }
    }
}
