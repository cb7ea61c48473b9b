//! Dirty reports: which buckets wait to be reported, which reports are out, and who waits for them.
//!
//! A call joins a report of its bucket that has not been sent yet, never one that is out: that one's wipe may be
//! older than what the call wants gone (hazard c).

use std::collections::BTreeMap;
use std::ops::Bound;

use proto::Bucket;

use super::calls::{CallId, Calls};
use crate::limits::{REPORT_CALLS_SLACK, REPORTS_AT_ONCE};

/// Names a report that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReportId(u64);

#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: BTreeMap<Bucket, Vec<CallId>>,
    out: BTreeMap<ReportId, Vec<CallId>>,
    made: u64,
    /// The bucket that was reported last: the next one in order is next, so that each gets its turn.
    last: Option<Bucket>,
}

impl Reports {
    /// A call wants its bucket wiped. There are at most as many waiting reports as buckets; calls that are answered
    /// by now are forgotten, so that there are not many more than living ones, however long no manager is there.
    pub(super) fn add(&mut self, bucket: Bucket, call: CallId, living: &Calls) {
        let calls = self.waiting.entry(bucket).or_default();
        if calls.len() >= REPORT_CALLS_SLACK && calls.len().is_power_of_two() {
            calls.retain(|call| living.contains(*call));
        }
        calls.push(call);
    }

    /// The next report to send, while not too many are out.
    pub(super) fn poll(&mut self) -> Option<(ReportId, Bucket)> {
        if self.out.len() >= REPORTS_AT_ONCE {
            return None;
        }
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.waiting.range((after, Bound::Unbounded)).next().or(self.waiting.first_key_value());
        let bucket = *next?.0;
        let calls = self.waiting.remove(&bucket)?;
        self.last = Some(bucket);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(number: u16) -> Bucket {
        Bucket::new(number).expect("a legal bucket")
    }

    #[test]
    fn answered_calls_are_forgotten() {
        let (mut reports, living) = (Reports::default(), Calls::default());
        for number in 0..100_000 {
            reports.add(bucket(7), CallId::for_test(number), &living);
        }
        assert!(reports.waiting[&bucket(7)].len() <= REPORT_CALLS_SLACK);
    }

    #[test]
    fn every_bucket_gets_its_turn() {
        let (mut reports, living) = (Reports::default(), Calls::default());
        let mut turns = Vec::new();
        for _ in 0..4 {
            for number in [3, 5] {
                reports.add(bucket(number), CallId::for_test(1), &living);
            }
            turns.extend(reports.poll().map(|(_, bucket)| bucket.number()));
        }
        assert_eq!(turns, [3, 5, 3, 5]);
    }
}
