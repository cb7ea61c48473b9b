//! Dirty reports: which buckets wait to be reported, which reports are out, and who waits for them.
//!
//! A call joins a report of its bucket that has not been sent yet, never one that is out: that one's wipe may be
//! older than what the call wants gone (hazard c).

use std::collections::BTreeMap;

use proto::Bucket;

use super::calls::CallId;
use crate::limits::REPORTS_AT_ONCE;

/// Names a report that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReportId(u64);

#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: BTreeMap<Bucket, Vec<CallId>>,
    out: BTreeMap<ReportId, Vec<CallId>>,
    made: u64,
}

impl Reports {
    /// A call wants its bucket wiped. There are at most as many waiting reports as buckets.
    pub(super) fn add(&mut self, bucket: Bucket, call: CallId) {
        self.waiting.entry(bucket).or_default().push(call);
    }

    /// The next report to send, while not too many are out.
    pub(super) fn poll(&mut self) -> Option<(ReportId, Bucket)> {
        if self.out.len() >= REPORTS_AT_ONCE {
            return None;
        }
        let (bucket, calls) = self.waiting.pop_first()?;
        self.made += 1;
        let id = ReportId(self.made);
        self.out.insert(id, calls);
        Some((id, bucket))
    }

    /// True when no report waits or is out.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.out.is_empty()
    }

    /// A report was acknowledged; the calls that waited for it.
    pub(super) fn handle_done(&mut self, id: ReportId) -> Vec<CallId> {
        self.out.remove(&id).unwrap_or_default()
    }
}
