//! Making room: S3-FIFO over whole segments.
//!
//! New items enter the small queue. Of the oldest small segment, what was used moves to the main queue, the
//! rest goes. Of the oldest main segment, what was used since moves to the main queue's end with a lower
//! frequency, the rest goes. Who went is remembered in the ghost table for a while: a key that comes back
//! enters the main queue at once, and the queue that it had left gets longer. Uses of an item in a segment
//! that was sealed lately do not count (`Segments::is_settled`). Before anything is evicted, segments whose
//! items are expired or mostly dead are cleaned.
//!
//! A writer walks a few bytes of a victim for each byte that it writes, so that nobody waits for a whole
//! segment; only when all is used up at once it walks on until there is room. Items are moved and dropped
//! under their bucket's lock, which is only tried for: an item whose lock is taken stays, and its segment goes
//! back into its queue.

use std::sync::TryLockError;
use std::sync::atomic::Ordering;

use crate::heap::{Heap, Held, key_of};
use crate::index::{Bucket, Found, Slots, Writes, prefetch_bucket};
use crate::lane::{Lane, Victim, Wanted};
use crate::limits::{LOCK_TRIES, READER_WAIT, READER_WAITS_MAX, READER_YIELDS, RETIRED_ENOUGH};
use crate::pool::{Aim, Large, Pick, Pool};
use crate::record::{FREQUENCY_MAX, Record};
use crate::segments::Kind;

/// What became of a record in a segment that is walked.
enum Fate {
    /// No slot points to it any more; so many bytes were copied.
    Gone { moved: usize },
    /// It stays.
    Left,
}

impl Heap {
    /// Walks a little, when free segments are few or a victim is there already.
    pub(crate) fn pace(&self, lane: &mut Lane, written: usize, now_ms: u64, held: &mut Held<'_>) {
        let few = self.evict && self.spare.load(Ordering::Relaxed) < self.spare_target;
        if lane.victim.is_some() || few {
            self.relieve(lane, 2 * written + 256, now_ms, held);
        }
    }

    /// Frees memory until `enough` says so; false when nothing more can be freed.
    pub(crate) fn make_room(
        &self,
        lane: &mut Lane,
        now_ms: u64,
        held: &mut Held<'_>,
        mut enough: impl FnMut(&mut Pool) -> bool,
    ) -> bool {
        let (mut waits, mut tries) = (0, 0);
        loop {
            let mut pool = self.pool();
            pool.collect(&self.readers, &self.segments, &self.arena);
            if enough(&mut pool) {
                self.note_spare(&pool);
                return true;
            }
            let (tries_max, retired) = (pool.tries_max(), pool.retired_count());
            drop(pool);
            // Much was freed that a reader still holds, for one that a busy system does not let run. Evicting
            // more would not help.
            if retired < RETIRED_ENOUGH && tries < tries_max && self.relieve(lane, usize::MAX, now_ms, held) {
                tries += 1;
                continue;
            }
            if retired == 0 || waits == READER_WAITS_MAX {
                return false;
            }
            wait(waits);
            waits += 1;
        }
    }

    /// Walks so many bytes of the lane's victim, choosing one first if need be. False when there is none.
    fn relieve(&self, lane: &mut Lane, budget: usize, now_ms: u64, held: &mut Held<'_>) -> bool {
        if lane.victim.is_none() {
            let wipes = self.wipes.load(Ordering::Relaxed);
            let mut pool = self.pool();
            pool.collect(&self.readers, &self.segments, &self.arena);
            let pick = pool.pick(
                now_ms,
                self.evict.then(|| self.small_share.load(Ordering::Relaxed)),
                wipes,
                &self.segments,
            );
            self.fit_ghost(&mut pool, pick);
            self.note_spare(&pool);
            drop(pool);
            match pick {
                None => return false,
                Some(Pick::Large(large)) => return self.drop_large(large, self.evict, now_ms, held),
                Some(Pick::SweepLarge) => return self.sweep_large(now_ms, held),
                Some(Pick::Segment { id, aim }) => {
                    lane.victim = Some(Victim { id, aim, at: 0, moved: 0, left: 0 });
                }
            }
        }
        self.walk(lane, budget, now_ms, held);
        true
    }

    fn fit_ghost(&self, pool: &mut Pool, pick: Option<Pick>) {
        if matches!(pick, Some(Pick::Segment { aim: Aim::Evict, .. })) {
            self.ghost.fit(self.item_count());
            pool.ghost_bytes = self.ghost.bytes();
        }
    }

    fn item_count(&self) -> u64 {
        let mut total = crate::StoreStats::default();
        self.counters.iter().for_each(|counters| counters.add_to(&mut total));
        total.items
    }

    fn walk(&self, lane: &mut Lane, budget: usize, now_ms: u64, held: &mut Held<'_>) {
        let Some(mut victim) = lane.victim else { return };
        let segment = self.segments.get(victim.id);
        let used = segment.used.load(Ordering::Relaxed) as usize;
        if segment.dead.load(Ordering::Relaxed) as usize == used {
            victim.at = used;
        }
        let end = used.min(victim.at.saturating_add(budget));
        while victim.at < end {
            let mut batch = [None; WALK_BATCH];
            for next in &mut batch {
                if victim.at >= end {
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
                match self.settle(lane, victim, segment.kind(), record, hash, now_ms, held) {
                    Fate::Gone { moved } => victim.moved += moved,
                    Fate::Left => victim.left += 1,
                }
            }
        }
        if victim.at < used {
            lane.victim = Some(victim);
            return;
        }
        lane.victim = None;
        self.finish(lane, victim, used);
    }

    pub(crate) fn finish(&self, lane: &mut Lane, victim: Victim, used: usize) {
        let segment = self.segments.get(victim.id);
        if victim.aim == Aim::Evict {
            lane.pressure = if victim.moved > used / 8 * 7 { lane.pressure + 1 } else { 0 };
        }
        let dead = segment.dead.load(Ordering::Relaxed);
        segment.stuck.store(
            if victim.left > 0 && victim.aim != Aim::Sweep { dead.max(1) } else { 0 },
            Ordering::Relaxed,
        );
        let mut pool = self.pool();
        if dead as usize == used {
            pool.retire_segment(victim.id, &self.readers);
        } else {
            pool.seal(victim.id, segment.kind(), &self.segments);
        }
        pool.collect(&self.readers, &self.segments, &self.arena);
        self.note_spare(&pool);
    }

    #[allow(clippy::too_many_arguments, reason = "one step of a walk: who walks, what, where, when")]
    fn settle(
        &self,
        lane: &mut Lane,
        victim: Victim,
        kind: Kind,
        record: Record<'_>,
        hash: u64,
        now_ms: u64,
        held: &mut Held<'_>,
    ) -> Fate {
        let index = (hash >> 49) as usize;
        let keep = held.keep == Some(record.at());
        let fate = self.with_bucket(index, held, |bucket, writes| {
            let slots = bucket.locked(&self.arena, writes);
            let Some(found) = slots.find_at(hash, record.at()) else { return Fate::Gone { moved: 0 } };
            if keep {
                return Fate::Left;
            }
            if let Some(absent) = self.absent(bucket, record, now_ms) {
                self.note_dropped(index, record, Some(absent), now_ms);
                self.unlink(index, writes, slots, found, record);
                return Fate::Gone { moved: 0 };
            }
            if victim.aim == Aim::Sweep {
                return Fate::Left;
            }
            let large = record.block().is_some();
            let move_to = match (victim.aim, kind, record.frequency()) {
                (Aim::Clean, _, frequency) => Some((kind, frequency)),
                (_, Kind::Small, frequency) if large => Some((Kind::Main, frequency)),
                (_, Kind::Main, frequency) if large => Some((Kind::Main, frequency)),
                (_, Kind::Small, 1..) if lane.pressure < 2 * FREQUENCY_MAX => Some((Kind::Main, 0)),
                (_, Kind::Main, frequency) if frequency > lane.pressure => Some((Kind::Main, frequency - 1)),
                _ => None,
            };
            if let Some((kind, frequency)) = move_to {
                if let Some(moved) =
                    self.move_record(lane, slots, found, record, hash, kind, frequency, now_ms)
                {
                    return Fate::Gone { moved };
                }
                if !self.evict {
                    return Fate::Left;
                }
            }
            self.ghost.insert(hash, kind);
            self.note_dropped(index, record, None, now_ms);
            self.unlink(index, writes, slots, found, record);
            Fate::Gone { moved: 0 }
        });
        fate.unwrap_or(Fate::Left)
    }

    /// Copies a record elsewhere; the caller holds its bucket's lock.
    #[allow(clippy::too_many_arguments, reason = "what, from where, to where")]
    fn move_record(
        &self,
        lane: &mut Lane,
        slots: Slots<'_>,
        found: Found,
        record: Record<'_>,
        hash: u64,
        kind: Kind,
        frequency: u32,
        now_ms: u64,
    ) -> Option<usize> {
        let shape = record.copy_shape();
        let wanted = Wanted { kind, shape, exptime: record.exptime(), block: None, moving: true };
        let mut draft = self.reserve(lane, wanted, now_ms)?;
        draft.copy(record, frequency);
        slots.replace(found, hash, draft.at);
        self.bury(found.at, record.len());
        self.written(draft.at);
        Some(record.len())
    }

    /// Runs `change` under a bucket's lock, when that can be had.
    fn with_bucket<R>(
        &self,
        index: usize,
        held: &mut Held<'_>,
        change: impl FnOnce(&Bucket, &Writes) -> R,
    ) -> Option<R> {
        let bucket = &self.buckets[index];
        if index == held.bucket {
            return Some(change(bucket, held.writes));
        }
        for _ in 0..LOCK_TRIES {
            let writes = match bucket.writes.try_lock() {
                Ok(writes) => writes,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    std::hint::spin_loop();
                    continue;
                }
            };
            let result = change(bucket, &writes);
            self.trim(bucket, &writes);
            return Some(result);
        }
        None
    }

    /// The oldest large value: goes when it is dead, or unused and may be evicted; else it is old again later.
    fn drop_large(&self, large: Large, evict: bool, now_ms: u64, held: &mut Held<'_>) -> bool {
        let index = (large.hash >> 49) as usize;
        let keep = held.keep;
        let stays = self.with_bucket(index, held, |bucket, writes| {
            let slots = bucket.locked(&self.arena, writes);
            let Some(found) = slots.find(large.hash, |record| record.seq() == large.seq) else {
                return false;
            };
            let record = slots.record(found);
            let absent = self.absent(bucket, record, now_ms);
            let unused = evict && !record.take_use();
            if keep == Some(found.at) || (absent.is_none() && !unused) {
                return true;
            }
            self.note_dropped(index, record, absent, now_ms);
            self.unlink(index, writes, slots, found, record);
            false
        });
        if stays.unwrap_or(true) {
            self.pool().requeue_large(large);
        }
        true
    }

    fn sweep_large(&self, now_ms: u64, held: &mut Held<'_>) -> bool {
        let count = self.pool().large.len();
        for _ in 0..count {
            let Some(large) = self.pool().large.pop_front() else { break };
            self.drop_large(large, false, now_ms, held);
        }
        true
    }
}

/// Records of a victim whose index lines are asked for before the first of them is looked up.
const WALK_BATCH: usize = 16;

/// Lets readers run: at first at once, then for longer.
fn wait(waits: u32) {
    if waits < READER_YIELDS {
        std::thread::yield_now();
    } else {
        std::thread::sleep(READER_WAIT);
    }
}
