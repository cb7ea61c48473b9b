//! `stats sizes`: how many items there are of which size, in steps of 32 bytes as memcached counts them; and
//! `stats sizes_enable`, `stats sizes_disable`.
//!
//! memcached keeps the histogram up to date with each write. Here nothing is kept: the items are looked at when
//! the question comes, bucket by bucket, over as many turns of the connection's loop as that takes.

use std::collections::BTreeMap;

use proto::reply::{put_stat, text};
use store::BUCKET_COUNT;

use crate::engine::Context;
use crate::limits::DUMP_BUCKETS_PER_TURN;
use crate::session::meta::size;

/// Width of a step in bytes, as in memcached.
const STEP: u64 = 32;

/// A histogram that is being made. At most as many entries as there are steps up to the item limit.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    /// Items by the step that their size is rounded up to.
    counts: BTreeMap<u64, u64>,
    next_bucket: usize,
}

impl Sizes {
    /// Looks at more of the items; true, with the answer in `out`, when that were all.
    pub(crate) fn advance(&mut self, cx: &Context<'_>, out: &mut Vec<u8>) -> bool {
        let last = (self.next_bucket + DUMP_BUCKETS_PER_TURN).min(BUCKET_COUNT);
        for bucket in self.next_bucket..last {
            cx.engine.store.lock(bucket).scan(cx.now.store_ms, |item| {
                *self.counts.entry(size(&item).div_ceil(STEP)).or_default() += 1;
            });
        }
        self.next_bucket = last;
        if last < BUCKET_COUNT {
            return false;
        }
        for (step, count) in &self.counts {
            put_stat(out, step * STEP, count);
        }
        out.extend_from_slice(text::END);
        true
    }
}
