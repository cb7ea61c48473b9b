//! Where new records go. Writers are spread over a few lanes by their key's bucket; a lane has open segments
//! of its own, one for each queue and class of lifetime, so that items which expire together lie together.
//!
//! Locks are taken in this order: bucket, lane, pool. A lane's holder takes other buckets' locks only by trying.
#![allow(unsafe_code, reason = "knows which bytes of a segment are whose")]

use std::sync::atomic::Ordering;

use crate::arena::Block;
use crate::heap::Heap;
use crate::pool::Aim;
use crate::record::{Draft, Record, Shape, exptime_to_ms};
use crate::segments::Kind;

/// Longest lifetime of each class, in seconds; class zero is for longer ones and for no exptime.
const CLASS_SECONDS: [u64; 6] = [16, 64, 256, 1024, 4096, 16384];

#[derive(Debug, Default)]
pub(crate) struct Lane {
    open: [[Option<Open>; CLASS_SECONDS.len() + 1]; 2],
    pub(crate) victim: Option<Victim>,
    /// Segments one after the other from which hardly anything could be evicted; each makes the next choice
    /// harder.
    pub(crate) pressure: u32,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    id: u32,
    used: usize,
}

/// A segment that is being walked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Victim {
    pub(crate) id: u32,
    pub(crate) aim: Aim,
    pub(crate) at: usize,
    /// Bytes that moved elsewhere.
    pub(crate) moved: usize,
    /// Items that could be neither moved nor dropped.
    pub(crate) left: usize,
}

/// What a new record is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    pub(crate) exptime: u32,
    pub(crate) block: Option<Block>,
    /// It is a copy of one that is there: it may use the last free segments.
    pub(crate) moving: bool,
}

impl Heap {
    /// Space for a record; its segment counts one writer more, until [`Self::written`].
    pub(crate) fn reserve(&self, lane: &mut Lane, wanted: Wanted, now_ms: u64) -> Option<Draft<'_>> {
        let len = wanted.shape.len();
        let class = self.class(wanted.exptime, now_ms);
        let open = &mut lane.open[wanted.kind as usize][class];
        if let Some(full) = open.take_if(|open| open.used + len > self.segments.segment_len) {
            self.seal(full, wanted.kind);
        }
        if open.is_none() {
            let mut pool = self.pool();
            pool.collect(&self.readers, &self.segments, &self.arena);
            if lane.victim.is_none() && !wanted.moving {
                let id = pool.pick_nearly_dead(now_ms, &self.segments);
                lane.victim = id.map(|id| Victim { id, aim: Aim::Clean, at: 0, moved: 0, left: 0 });
            }
            let id = pool.take(wanted.moving, &self.segments, &self.arena)?;
            self.note_spare(&pool);
            self.segments.get(id).reset(wanted.kind);
            self.segments.set_settled(id, false);
            *open = Some(Open { id, used: 0 });
        }
        let open = open.as_mut().expect("opened just now");
        let segment = self.segments.get(open.id);
        segment.writers.fetch_add(1, Ordering::Relaxed);
        segment.note_exptime(wanted.exptime);
        let at = self.segments.place(open.id) + open.used as u64;
        open.used += len;
        // SAFETY: these bytes of an open segment were given to nobody else.
        Some(unsafe { Draft::new(&self.arena, at, wanted.shape, wanted.block) })
    }

    /// A record of a lane's victim.
    pub(crate) fn victims_record(&self, victim: &Victim) -> Record<'_> {
        // SAFETY: a victim was sealed when it had no writers, so it holds complete records from its start to
        // `used`, one of which `at` is; until its walk ends it is not retired.
        unsafe { Record::new(&self.arena, self.segments.place(victim.id) + victim.at as u64) }
    }

    /// The record at `at` is in the index, or given up.
    pub(crate) fn written(&self, at: u64) {
        self.segments.of(at).writers.fetch_sub(1, Ordering::Release);
    }

    /// Closes all open segments of a lane.
    pub(crate) fn seal_open(&self, lane: &mut Lane) {
        for (kind, classes) in [Kind::Small, Kind::Main].into_iter().zip(&mut lane.open) {
            classes.iter_mut().filter_map(Option::take).for_each(|open| self.seal(open, kind));
        }
    }

    fn seal(&self, open: Open, kind: Kind) {
        self.segments.get(open.id).used.store(open.used as u32, Ordering::Relaxed);
        self.pool().seal(open.id, kind, &self.segments);
    }

    fn class(&self, exptime: u32, now_ms: u64) -> usize {
        if exptime == 0 || !self.classes {
            return 0;
        }
        let seconds = exptime_to_ms(exptime).saturating_sub(now_ms) / 1000;
        CLASS_SECONDS.iter().position(|longest| seconds <= *longest).map_or(0, |class| class + 1)
    }
}
