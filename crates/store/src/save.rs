//! Handing all items over at the end of a process, and taking them back at the start of the next.
//!
//! They go in the order in which they would be evicted, the main queue before the small one, so that the next
//! store, which takes them in the same order, evicts in the same order. Segments are given back to the system as
//! soon as they are empty: what takes the items may lie in memory too.
//!
//! Items keep their write sequence numbers, since their cas comes from them, and every bucket goes on with its
//! own numbering: no cas is given out twice. Only live items are handed over, so what was wiped stays away
//! without its floor.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use stdx::ByteSize;

use crate::heap::{Heap, key_of};
use crate::index::prefetch_bucket;
use crate::item::{ItemView, Key, Put, PutError};
use crate::lane::Victim;
use crate::pool::Aim;
use crate::put::{Brought, Use};
use crate::record::{FREQUENCY_MAX, Record, SEQ_MASK};
use crate::segments::Kind;
use crate::store::{Store, StoreOptions};
use crate::{BUCKET_COUNT, store};

/// An item with everything that the next store should know of it.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// The item.
    pub item: ItemView<'a>,
    /// Its write sequence number.
    pub seq: u64,
    /// True: its cas was chosen by a client; false: it comes from the number.
    pub has_own_cas: bool,
    /// How often it was used lately, as eviction counts it.
    pub frequency: u32,
    /// It is in the main queue: it was used, or came back.
    pub is_main: bool,
}

/// Where the numbering of all buckets stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// Below every number.
    pub start: u64,
    /// The last number of each bucket.
    pub last: Vec<u64>,
}

impl Store {
    /// An empty store whose numbering goes on; `None` when no store's numbering can be like that.
    pub fn resume(options: &StoreOptions, numbering: &Numbering) -> Option<Self> {
        let Numbering { start, last } = numbering;
        let is_possible = |seq: &u64| (*start..=SEQ_MASK).contains(seq);
        if *start > store::START_MAX || last.len() != BUCKET_COUNT || !last.iter().all(is_possible) {
            return None;
        }
        let store = Self::starting_at(options, *start);
        for (bucket, seq) in last.iter().enumerate() {
            store.lock(bucket).writes.seq.set(*seq);
        }
        Some(store)
    }

    /// Where the numbering stands.
    pub fn numbering(&self) -> Numbering {
        let last = (0..BUCKET_COUNT).map(|bucket| self.lock(bucket).writes.seq.get()).collect();
        Numbering { start: self.start, last }
    }

    /// Takes an item back; false when it is expired, its key has a live item, or its number is not one of this
    /// store's.
    pub fn restore(&self, saved: &Saved<'_>, now_ms: u64) -> Result<bool, PutError> {
        let item = &saved.item;
        let key = Key::of(item.key);
        let mut guard = self.lock(key.bucket());
        let is_numbered = saved.seq <= guard.writes.seq.get() && !guard.bucket().rights.is_wiped(saved.seq);
        let is_expired = item.exptime_ms != 0 && item.exptime_ms <= now_ms;
        if !is_numbered || is_expired || guard.find(key, now_ms).is_ok() {
            return Ok(false);
        }
        let put = Put {
            flags: item.flags,
            exptime_ms: item.exptime_ms,
            cas: saved.has_own_cas.then_some(item.cas),
            marks: item.marks,
        };
        let used = Use {
            kind: if saved.is_main { Kind::Main } else { Kind::Small },
            frequency: saved.frequency.min(FREQUENCY_MAX),
            last_access_ms: item.last_access_ms,
        };
        let brought = Brought { seq: Some(saved.seq), used: Some(used) };
        guard.put_brought(key, now_ms, &put, brought, item.value.len(), |bytes, _| {
            bytes.copy_from_slice(item.value);
        })?;
        Ok(true)
    }

    /// Hands every live item over and forgets it, until `visit` returns false. The store is of no use afterwards:
    /// its memory limit is zero. Nobody should write meanwhile; what is written may stay.
    pub fn drain(&self, now_ms: u64, mut visit: impl FnMut(&Saved<'_>) -> bool) {
        self.set_memory(ByteSize(0));
        self.heap.close_lanes();
        for kind in [Kind::Main, Kind::Small] {
            while let Some(victim) = self.heap.next_to_drain(kind) {
                if !self.heap.drain_segment(victim, now_ms, &mut visit) {
                    return;
                }
            }
        }
    }
}

impl Heap {
    fn close_lanes(&self) {
        for bucket in 0..self.lane_count() {
            let lane = &mut self.lane(bucket);
            if let Some(victim) = lane.victim.take() {
                self.finish(lane, victim, self.used(victim.id));
            }
            self.seal_open(lane);
        }
    }

    fn used(&self, id: u32) -> usize {
        self.segments.get(id).used.load(Ordering::Relaxed) as usize
    }

    fn next_to_drain(&self, kind: Kind) -> Option<Victim> {
        let id = self.pool().take_oldest(kind, &self.segments)?;
        Some(Victim { id, aim: Aim::Sweep, at: 0, moved: 0, left: 0 })
    }

    fn drain_segment(
        &self,
        mut victim: Victim,
        now_ms: u64,
        visit: &mut impl FnMut(&Saved<'_>) -> bool,
    ) -> bool {
        let (used, kind) = (self.used(victim.id), self.segments.get(victim.id).kind());
        let mut goes_on = true;
        while victim.at < used && goes_on {
            let mut batch = [None; DRAIN_BATCH];
            for next in &mut batch {
                if victim.at >= used {
                    break;
                }
                let record = self.victims_record(&victim);
                victim.at += record.len();
                let hash = key_of(record.key()).hash;
                prefetch_bucket(&self.buckets[(hash >> 49) as usize]);
                *next = Some((record, hash));
            }
            for (_, hash) in batch.iter().flatten() {
                self.buckets[(hash >> 49) as usize].run().prefetch(&self.arena, *hash);
            }
            for (record, hash) in batch.into_iter().flatten() {
                goes_on = goes_on && self.drain_record(record, hash, kind, now_ms, visit);
            }
        }
        if goes_on {
            let mut pool = self.pool();
            pool.retire_segment(victim.id, &self.readers);
            pool.collect(&self.readers, &self.segments, &self.arena);
        }
        goes_on
    }

    fn drain_record(
        &self,
        record: Record<'_>,
        hash: u64,
        kind: Kind,
        now_ms: u64,
        visit: &mut impl FnMut(&Saved<'_>) -> bool,
    ) -> bool {
        let index = (hash >> 49) as usize;
        let bucket = &self.buckets[index];
        let writes = bucket.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = bucket.locked(&self.arena, &writes);
        let Some(found) = slots.find_at(hash, record.at()) else { return true };
        let goes_on = self.absent(bucket, record, now_ms).is_some()
            || visit(&Saved {
                item: record.view(index, now_ms),
                seq: record.seq(),
                has_own_cas: record.has_own_cas(),
                frequency: record.frequency(),
                is_main: kind == Kind::Main,
            });
        self.unlink(index, &writes, slots, found, record);
        goes_on
    }
}

/// Records whose index lines are asked for before the first of them is looked up.
const DRAIN_BATCH: usize = 16;
