//! Where new records go. Writers are spread over a few lanes by their key's bucket; a lane has open segments
//! of its own, one for each queue and class of lifetime, so that items which expire together lie together.
//!
//! Locks are taken in this order: bucket, lane, pool. A lane's holder takes other buckets' locks only by trying.

use std::sync::atomic::Ordering;

use crate::heap::Heap;
use crate::pool::Aim;
use crate::record::{Shape, exptime_to_ms};
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
    /// It is a copy of one that is there: it may use the last free segments.
    pub(crate) moving: bool,
}

impl Heap {
    /// Space for a record; its segment counts one writer more, until [`Self::written`].
    pub(crate) fn reserve(&self, lane: &mut Lane, wanted: Wanted, now_ms: u64) -> Option<u64> {
        let len = wanted.shape.len();
        let class = self.class(wanted.exptime, now_ms);
        let open = &mut lane.open[wanted.kind as usize][class];
        if let Some(full) = open.take_if(|open| open.used + len > self.segments.segment_len) {
            self.seal(full, wanted.kind);
        }
        if open.is_none() {
            let mut pool = self.pool();
            pool.collect(&self.readers, &self.segments, &self.arena);
            let id = pool.take(wanted.moving, &self.segments, &self.arena)?;
            self.note_spare(&pool);
            self.segments.get(id).reset(wanted.kind);
            *open = Some(Open { id, used: 0 });
        }
        let open = open.as_mut().expect("opened just now");
        let segment = self.segments.get(open.id);
        segment.writers.fetch_add(1, Ordering::Relaxed);
        segment.note_exptime(wanted.exptime);
        let at = self.segments.place(open.id) + open.used as u64;
        open.used += len;
        Some(at)
    }

    /// The record at `at` is in the index, or given up.
    pub(crate) fn written(&self, at: u64) {
        self.segments.of(at).writers.fetch_sub(1, Ordering::Release);
    }

    fn seal(&self, open: Open, kind: Kind) {
        self.segments.get(open.id).used.store(open.used as u32, Ordering::Relaxed);
        self.pool().seal(open.id, kind);
    }

    fn class(&self, exptime: u32, now_ms: u64) -> usize {
        if exptime == 0 || !self.classes {
            return 0;
        }
        let seconds = exptime_to_ms(exptime).saturating_sub(now_ms) / 1000;
        CLASS_SECONDS.iter().position(|longest| seconds <= *longest).map_or(0, |class| class + 1)
    }
}
