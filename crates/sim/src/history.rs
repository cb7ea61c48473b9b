//! The history of what clients saw, and whether it keeps the promise.
//!
//! P, precisely: a read that returns the value of write W is wrong iff some mutation W' of that key was
//! acknowledged with end(W) < start(W') and end(W') < start(read). The end of a write of unknown outcome is the
//! moment when the client returned. O(n log n).

use std::collections::BTreeMap;

/// Real time of a run, in nanoseconds.
pub type Real = u64;

/// A finished operation, or one given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// On which key.
    pub key: u32,
    /// What it was.
    pub kind: Kind,
    /// When the client began it.
    pub start: Real,
    /// When the client returned.
    pub end: Real,
}

/// What an operation did, as the client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Wrote a value, unique in the run.
    Set {
        /// The value.
        value: u64,
        /// False: outcome unknown.
        acknowledged: bool,
    },
    /// Deleted the key, acknowledged. (One without an answer says nothing.)
    Delete,
    /// Read a value. (Misses say nothing.)
    Hit {
        /// The value.
        value: u64,
    },
}

/// The first thing that is wrong with a history.
pub fn check(history: &[Operation]) -> Result<(), String> {
    let mut keys: BTreeMap<u32, Vec<Operation>> = BTreeMap::new();
    for &operation in history {
        keys.entry(operation.key).or_default().push(operation);
    }
    keys.iter().try_for_each(|(key, operations)| check_key(operations).map_err(|e| format!("key {key}: {e}")))
}

fn check_key(history: &[Operation]) -> Result<(), String> {
    let mut writes = BTreeMap::new();
    let mut acknowledged = Vec::new();
    for operation in history {
        match operation.kind {
            Kind::Set { value, acknowledged: ack } => {
                writes.insert(value, (operation.start, operation.end));
                acknowledged.extend(ack.then_some((operation.end, operation.start)));
            }
            Kind::Delete => acknowledged.push((operation.end, operation.start)),
            Kind::Hit { .. } => {}
        }
    }
    acknowledged.sort_unstable();
    // For each prefix by end: the latest start in it.
    let mut latest = 0;
    for (_, start) in &mut acknowledged {
        latest = latest.max(*start);
        *start = latest;
    }
    for read in history {
        let Kind::Hit { value } = read.kind else {
            continue;
        };
        let Some(&(start, end)) = writes.get(&value) else {
            return Err(format!("value {value} was never written"));
        };
        if start > read.end {
            return Err(format!("value {value} was read before it was written"));
        }
        let before = acknowledged.partition_point(|&(end, _)| end < read.start);
        if let Some(&(_, newer)) = acknowledged[..before].last().filter(|&&(_, newer)| newer > end) {
            return Err(format!(
                "stale: the read of {}..{} returned value {value} of {start}..{end}, though a mutation that began \
                 at {newer} had been acknowledged",
                read.start, read.end
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Kind, Operation, check};

    fn op(kind: Kind, start: u64, end: u64) -> Operation {
        Operation { key: 1, kind, start, end }
    }

    fn set(value: u64, start: u64, end: u64) -> Operation {
        op(Kind::Set { value, acknowledged: true }, start, end)
    }

    fn hit(value: u64, start: u64, end: u64) -> Operation {
        op(Kind::Hit { value }, start, end)
    }

    #[test]
    fn legal_histories_pass() {
        assert_eq!(check(&[set(1, 0, 10), hit(1, 20, 30), set(2, 40, 50), hit(2, 60, 70)]), Ok(()));
        // Overlapping writes may come in either order.
        assert_eq!(check(&[set(1, 0, 10), set(2, 5, 15), hit(1, 20, 30), hit(2, 40, 50)]), Ok(()));
        // A read beside a delete may see the value.
        assert_eq!(check(&[set(1, 0, 10), op(Kind::Delete, 20, 40), hit(1, 30, 50)]), Ok(()));
        // A write of unknown outcome proves nothing against an older value.
        let unknown = op(Kind::Set { value: 2, acknowledged: false }, 20, 30);
        assert_eq!(check(&[set(1, 0, 10), unknown, hit(1, 40, 50), hit(2, 60, 70)]), Ok(()));
    }

    #[test]
    fn injected_faults_are_found() {
        let stale = check(&[set(1, 0, 10), set(2, 20, 30), hit(1, 40, 50)]);
        assert!(stale.is_err_and(|error| error.contains("stale")));
        let deleted = check(&[set(1, 0, 10), op(Kind::Delete, 20, 30), hit(1, 31, 32)]);
        assert!(deleted.is_err_and(|error| error.contains("stale")));
        let future = check(&[set(1, 50, 60), hit(1, 10, 20)]);
        assert!(future.is_err_and(|error| error.contains("before it was written")));
        assert!(check(&[hit(9, 0, 1)]).is_err());
        // A late write of unknown outcome: its end is when the client returned.
        let unknown = op(Kind::Set { value: 1, acknowledged: false }, 0, 10);
        assert!(check(&[unknown, set(2, 20, 30), hit(1, 40, 50)]).is_err());
    }
}
