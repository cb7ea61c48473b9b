//! All memory, under one lock that is taken once for a segment, a run of lines or a large value: what is free,
//! what waits for readers, and in which order segments are to be evicted.
//!
//! **Invariant**: segments whose pages were touched, large values and the ghost table together stay within
//! the limit, except after the limit was lowered, until enough was evicted.
#![allow(unsafe_code, reason = "gives memory back")]

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::arena::{Arena, Block};
use crate::index::Run;
use crate::limits::{
    CLEAN_SHARE, CLEAN_SHARE_EARLY, CLEAN_SHARE_NO_EVICT, CLEAN_SHARE_SHORT, DEAD_PARTS, SCAN_WINDOW,
    SHARE_WHOLE, SPARE_BLOCKS_MAX, SWEEP_PAUSE_MS, YOUNG_SHARE,
};
use crate::lines::LinePool;
use crate::readers::Readers;
use crate::record::exptime_to_ms;
use crate::segments::{Kind, Segments};

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) limit: u64,
    pub(crate) ghost_bytes: u64,
    /// Bytes of large values, those included that wait for readers, and of the spare blocks.
    large_bytes: u64,
    /// Blocks of large values that are gone, for the next ones: the kernel takes long to clear new memory.
    spare_blocks: Vec<Block>,
    spare_block_bytes: u64,
    /// Segments with pages in memory.
    resident: u64,
    /// Free ones of these.
    free: Vec<u32>,
    /// Free ones without pages.
    bare: Vec<u32>,
    /// The first id never used.
    fresh: u32,
    states: Vec<State>,
    queues: [VecDeque<(u32, u64)>; 2],
    sealed_counts: [usize; 2],
    /// Of each kind those that were sealed last, whose items' uses do not count yet.
    young: [VecDeque<(u32, u64)>; 2],
    /// Counts sealings and large values: the age by which queues are compared.
    clock: u64,
    pub(crate) large: VecDeque<Large>,
    /// Large values that are in the index.
    pub(crate) large_count: usize,
    retired: VecDeque<(u64, Retired)>,
    pub(crate) lines: LinePool,
    scan_at: u32,
    sweep: Sweep,
    /// Free segments kept back for items that move.
    reserve: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Open,
    /// In its kind's queue, under this number.
    Sealed(u64),
    /// Being walked, holding lines, or waiting for readers.
    Taken,
}

#[derive(Clone, Copy, Debug)]
enum Retired {
    Segment(u32),
    Run(Run),
    Block(Block),
}

/// A large value in the order of eviction. It is out of date when the index has no such item with that seq.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Large {
    pub(crate) hash: u64,
    pub(crate) seq: u64,
    pub(crate) age: u64,
}

/// A search of all memory for dead items, where nothing may be evicted.
#[derive(Debug, Default)]
struct Sweep {
    /// The next segment, while one goes on.
    at: Option<u32>,
    next_ms: u64,
    wipes: u64,
}

/// What to look at to get room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pick {
    Segment {
        id: u32,
        aim: Aim,
    },
    Large(Large),
    /// All large values, for dead ones.
    SweepLarge,
}

/// What a segment is walked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Its dead bytes: the live items move.
    Clean,
    /// Its unused items go.
    Evict,
    /// Its dead items are found; the live ones stay where they are.
    Sweep,
}

impl Pool {
    pub(crate) fn new(limit: u64, segment_len: usize, reserve: u64) -> Self {
        Self {
            limit,
            ghost_bytes: 0,
            large_bytes: 0,
            spare_blocks: Vec::new(),
            spare_block_bytes: 0,
            resident: 0,
            free: Vec::new(),
            bare: Vec::new(),
            fresh: 0,
            states: Vec::new(),
            queues: [VecDeque::new(), VecDeque::new()],
            sealed_counts: [0, 0],
            young: [VecDeque::new(), VecDeque::new()],
            clock: 0,
            large: VecDeque::new(),
            large_count: 0,
            retired: VecDeque::new(),
            lines: LinePool::new(segment_len),
            scan_at: 0,
            sweep: Sweep::default(),
            reserve,
        }
    }

    /// Memory that is really used.
    pub(crate) fn used(&self, segment_len: usize) -> u64 {
        self.resident * segment_len as u64 + self.large_bytes + self.ghost_bytes
    }

    /// Segments that could be taken now.
    pub(crate) fn available(&self, segment_len: usize) -> u64 {
        self.free.len() as u64 + self.limit.saturating_sub(self.used(segment_len)) / segment_len as u64
    }

    /// True when a segment may be taken for new items.
    pub(crate) fn has_room(&self, segment_len: usize) -> bool {
        self.used(segment_len) <= self.limit && self.available(segment_len) > self.reserve
    }

    /// How often to look for more room before giving up: everything can be met a few times.
    pub(crate) fn tries_max(&self) -> usize {
        64 + 4 * self.states.len() + 8 * self.large.len()
    }

    /// Puts a large value that was met at its queue's end.
    pub(crate) fn requeue_large(&mut self, large: Large) {
        self.clock += 1;
        self.large.push_back(Large { age: self.clock, ..large });
    }

    /// Segments, runs and blocks that wait for readers.
    pub(crate) fn retired_count(&self) -> usize {
        self.retired.len()
    }

    /// Frees what no reader can see any more.
    pub(crate) fn collect(&mut self, readers: &Readers, segments: &Segments, arena: &Arena) {
        let oldest = if self.retired.is_empty() { 0 } else { readers.oldest() };
        while let Some((epoch, retired)) = self.retired.front().copied().filter(|(epoch, _)| *epoch <= oldest)
        {
            debug_assert!(epoch > 0);
            self.retired.pop_front();
            match retired {
                Retired::Segment(id) => self.free(id),
                Retired::Run(run) => {
                    if let Some(id) = self.lines.release(run) {
                        self.free(id);
                    }
                }
                // No slot names its record, and every reader from before that is gone.
                Retired::Block(block) => self.spare_block(block),
            }
        }
        while self.used(segments.segment_len) > self.limit
            && (self.free_spare_block() || self.give_back(segments, arena))
        {}
    }

    fn free(&mut self, id: u32) {
        self.states[id as usize] = State::Free;
        self.free.push(id);
    }

    /// Returns the pages of one free segment to the system.
    fn give_back(&mut self, segments: &Segments, arena: &Arena) -> bool {
        let Some(id) = self.free.pop() else { return false };
        // SAFETY: free segments are referred to by nobody.
        unsafe { arena.discard(segments.place(id), segments.segment_len) };
        self.bare.push(id);
        self.resident -= 1;
        true
    }

    /// A segment to write to. For items that move, down to the last one.
    pub(crate) fn take(&mut self, moving: bool, segments: &Segments, arena: &Arena) -> Option<u32> {
        if !moving && !self.has_room(segments.segment_len) {
            return None;
        }
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.available(segments.segment_len) == 0 => return None,
            None => self.take_bare(segments, arena)?,
        };
        self.states[id as usize] = State::Open;
        Some(id)
    }

    fn take_bare(&mut self, segments: &Segments, arena: &Arena) -> Option<u32> {
        let id = match self.bare.pop() {
            Some(id) => id,
            None => {
                if !segments.open(self.fresh, arena) {
                    return None;
                }
                self.states.push(State::Free);
                self.fresh += 1;
                self.fresh - 1
            }
        };
        self.resident += 1;
        Some(id)
    }

    /// Keeps a block to which nobody refers any more, or frees it when enough are kept.
    fn spare_block(&mut self, block: Block) {
        let cost = Block::cost(block.len);
        self.spare_blocks.push(Block { len: cost, ..block });
        self.spare_block_bytes += cost;
        while self.spare_block_bytes > SPARE_BLOCKS_MAX.min(self.limit / 16) {
            self.free_spare_block();
        }
    }

    /// Frees the spare block that was kept for longest; false when there is none.
    pub(crate) fn free_spare_block(&mut self) -> bool {
        if self.spare_blocks.is_empty() {
            return false;
        }
        let block = self.spare_blocks.remove(0);
        self.spare_block_bytes -= block.len;
        self.large_bytes -= block.len;
        // SAFETY: spare blocks are known to nobody else.
        unsafe { block.free() };
        true
    }

    /// A spare block of at most twice the size, cut to it.
    pub(crate) fn reuse_block(&mut self, len: u64) -> Option<Block> {
        let cost = Block::cost(len);
        let at = self.spare_blocks.iter().rposition(|spare| (cost..=2 * cost).contains(&spare.len))?;
        let spare = self.spare_blocks.remove(at);
        self.spare_block_bytes -= spare.len;
        self.large_bytes -= spare.len - cost;
        // SAFETY: spare blocks are known to nobody else.
        Some(unsafe { spare.reuse(len) })
    }

    /// Takes memory for a large value, from spare blocks and free segments where the limit asks for it.
    pub(crate) fn take_large(&mut self, cost: u64, segments: &Segments, arena: &Arena) -> bool {
        while self.used(segments.segment_len) + cost > self.limit {
            if self.free_spare_block() {
                continue;
            }
            if self.available(segments.segment_len) <= self.reserve || !self.give_back(segments, arena) {
                return false;
            }
        }
        self.large_bytes += cost;
        true
    }

    /// No block was made after all.
    pub(crate) fn untake_large(&mut self, cost: u64) {
        self.large_bytes -= cost;
    }

    /// Frees a block that never got into the index.
    pub(crate) fn free_unused_block(&mut self, block: Block) {
        self.large_bytes -= Block::cost(block.len);
        // SAFETY: only its writer ever knew it, and gives it up here.
        unsafe { block.free() };
    }

    pub(crate) fn push_large(&mut self, hash: u64, seq: u64) {
        self.clock += 1;
        self.large.push_back(Large { hash, seq, age: self.clock });
        self.large_count += 1;
    }

    /// Lines that are all free; from a new segment when there is none.
    pub(crate) fn take_run(&mut self, line_count: usize, segments: &Segments, arena: &Arena) -> Option<Run> {
        if let Some(run) = self.lines.take(line_count) {
            return Some(run);
        }
        let id = self.take(false, segments, arena)?;
        self.states[id as usize] = State::Taken;
        self.lines.add(id, segments.place(id));
        self.lines.take(line_count)
    }

    pub(crate) fn free_run(&mut self, run: Run) {
        if let Some(id) = self.lines.release(run) {
            self.free(id);
        }
    }

    pub(crate) fn retire_run(&mut self, run: Run, readers: &Readers) {
        self.retired.push_back((readers.raise(), Retired::Run(run)));
    }

    pub(crate) fn retire_block(&mut self, block: Block, readers: &Readers) {
        self.large_count -= 1;
        self.retired.push_back((readers.raise(), Retired::Block(block)));
    }

    pub(crate) fn retire_segment(&mut self, id: u32, readers: &Readers) {
        self.states[id as usize] = State::Taken;
        self.retired.push_back((readers.raise(), Retired::Segment(id)));
    }

    /// Puts a full segment at its queue's end.
    pub(crate) fn seal(&mut self, id: u32, kind: Kind, segments: &Segments) {
        self.clock += 1;
        self.states[id as usize] = State::Sealed(self.clock);
        self.sealed_counts[kind as usize] += 1;
        let queue = &mut self.queues[kind as usize];
        queue.push_back((id, self.clock));
        if queue.len() > 2 * self.states.len() + 64 {
            let states = &self.states;
            queue.retain(|(id, number)| states[*id as usize] == State::Sealed(*number));
        }
        self.young[kind as usize].push_back((id, self.clock));
        self.settle(kind, segments);
    }

    /// Lets the uses of items count whose segments are young no longer.
    fn settle(&mut self, kind: Kind, segments: &Segments) {
        let [small, main] = self.sealed_counts;
        let window = (small + main) / YOUNG_SHARE;
        let window = if kind == Kind::Small { window.min(small / 2) } else { window };
        let young = &mut self.young[kind as usize];
        while young.len() > window {
            if let Some((id, number)) = young.pop_front()
                && self.states[id as usize] == State::Sealed(number)
            {
                segments.set_settled(id, true);
            }
        }
    }

    /// What to look at next to get room; marked as taken. With the small queue's share, if items may be evicted.
    pub(crate) fn pick(
        &mut self,
        now_ms: u64,
        small_share: Option<u64>,
        wipes: u64,
        segments: &Segments,
    ) -> Option<Pick> {
        let [small, main] = self.sealed_counts;
        let shares = match small_share {
            None => [CLEAN_SHARE_NO_EVICT; 2],
            Some(_) if small > main => [CLEAN_SHARE; 2],
            Some(_) => [CLEAN_SHARE_SHORT, CLEAN_SHARE],
        };
        let pick = match (self.find_dead(now_ms, shares, segments), small_share) {
            (Some(id), _) => Pick::Segment { id, aim: Aim::Clean },
            (None, Some(share)) => self.pick_oldest(share, segments)?,
            (None, None) => self.pick_sweep(now_ms, wipes, segments)?,
        };
        if let Pick::Segment { id, .. } = pick {
            self.mark_taken(id, segments);
        }
        Some(pick)
    }

    /// A segment that is expired or nearly all dead, to be cleaned before new memory is touched; marked as taken.
    pub(crate) fn pick_nearly_dead(&mut self, now_ms: u64, segments: &Segments) -> Option<u32> {
        let id = self.find_dead(now_ms, [CLEAN_SHARE_EARLY; 2], segments)?;
        self.mark_taken(id, segments);
        Some(id)
    }

    /// The oldest segment of a kind that nobody writes to; marked as taken.
    pub(crate) fn take_oldest(&mut self, kind: Kind, segments: &Segments) -> Option<u32> {
        let (id, _) = self.oldest(kind, segments)?;
        self.mark_taken(id, segments);
        Some(id)
    }

    fn mark_taken(&mut self, id: u32, segments: &Segments) {
        self.states[id as usize] = State::Taken;
        self.sealed_counts[segments.get(id).kind() as usize] -= 1;
    }

    fn is_sealed(&self, id: u32, segments: &Segments) -> bool {
        matches!(self.states[id as usize], State::Sealed(_))
            && segments.get(id).writers.load(Ordering::Acquire) == 0
    }

    /// A segment of the next window whose items are all expired, or else the one with most dead bytes.
    /// Of each kind, so many [`DEAD_PARTS`] of it must be dead.
    fn find_dead(&mut self, now_ms: u64, shares: [u32; 2], segments: &Segments) -> Option<u32> {
        let mut best = None;
        for _ in 0..SCAN_WINDOW.min(self.states.len()) {
            self.scan_at = (self.scan_at + 1) % self.states.len() as u32;
            let id = self.scan_at;
            if !self.is_sealed(id, segments) {
                continue;
            }
            let segment = segments.get(id);
            let (dead, used) = (segment.dead.load(Ordering::Relaxed), segment.used.load(Ordering::Relaxed));
            let stuck = segment.stuck.load(Ordering::Relaxed);
            if stuck > 0 && dead <= stuck {
                continue;
            }
            let latest = segment.latest_exptime.load(Ordering::Relaxed);
            if latest != u32::MAX && exptime_to_ms(latest) <= now_ms {
                return Some(id);
            }
            let share = shares[segment.kind() as usize];
            if dead > 0 && dead >= used / DEAD_PARTS * share && best.is_none_or(|(most, _)| dead > most) {
                best = Some((dead, id));
            }
        }
        best.map(|(_, id)| id)
    }

    /// The oldest segment of the queue whose turn it is, or a large value when that is older.
    fn pick_oldest(&mut self, small_share: u64, segments: &Segments) -> Option<Pick> {
        let [small, main] = self.sealed_counts.map(|count| count as u64);
        let first =
            if small * SHARE_WHOLE >= (small + main) * small_share { Kind::Small } else { Kind::Main };
        let second = if first == Kind::Small { Kind::Main } else { Kind::Small };
        let oldest = self.oldest(first, segments).or_else(|| self.oldest(second, segments));
        if let Some(large) = self.large.front().copied()
            && oldest.is_none_or(|(_, number)| large.age < number)
        {
            self.large.pop_front();
            return Some(Pick::Large(large));
        }
        oldest.map(|(id, _)| Pick::Segment { id, aim: Aim::Evict })
    }

    /// The queue's first segment that nobody writes to; it stays in the queue until its state changes.
    fn oldest(&mut self, kind: Kind, segments: &Segments) -> Option<(u32, u64)> {
        for _ in 0..self.queues[kind as usize].len() {
            let (id, number) = *self.queues[kind as usize].front()?;
            if self.states[id as usize] == State::Sealed(number) {
                if self.is_sealed(id, segments) {
                    return Some((id, number));
                }
                self.queues[kind as usize].push_back((id, number));
            }
            self.queues[kind as usize].pop_front();
        }
        None
    }

    fn pick_sweep(&mut self, now_ms: u64, wipes: u64, segments: &Segments) -> Option<Pick> {
        if self.sweep.at.is_none() && (now_ms >= self.sweep.next_ms || wipes != self.sweep.wipes) {
            self.sweep = Sweep { at: Some(0), next_ms: now_ms + SWEEP_PAUSE_MS, wipes };
            if !self.large.is_empty() {
                return Some(Pick::SweepLarge);
            }
        }
        let first = self.sweep.at?;
        let id = (first..self.fresh).find(|id| self.is_sealed(*id, segments));
        self.sweep.at = id.map(|id| id + 1);
        id.map(|id| Pick::Segment { id, aim: Aim::Sweep })
    }
}
