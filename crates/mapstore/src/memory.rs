//! State in memory: for tests, and for clusters that may forget themselves when their manager ends.
//!
//! **Invariant**: behaves as the embedded store does in everything but durability; one behaviour suite runs
//! on both.

use crate::limits::TXN_BYTES_MAX;
use crate::map_store::{CasError, LoadError, MapStore, Revision, Snapshot, Write, check_limits};

/// A store that is gone with its owner. Starts empty, at revision zero.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Snapshot,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl MapStore for MemoryStore {
    fn load(&mut self) -> Result<Snapshot, LoadError> {
        Ok(self.state.clone())
    }

    fn compare_and_set(&mut self, expected: Revision, writes: &[Write]) -> Result<Revision, CasError> {
        check_limits(writes, self.txn_bytes_max())?;
        if expected != self.state.revision {
            return Err(CasError::Conflict { expected, found: self.state.revision });
        }
        for (key, value) in writes {
            match value {
                Some(bytes) => self.state.records.insert(key.clone(), bytes.clone()),
                None => self.state.records.remove(key),
            };
        }
        self.state.revision = expected.next();
        Ok(self.state.revision)
    }

    fn txn_bytes_max(&self) -> usize {
        TXN_BYTES_MAX
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}
