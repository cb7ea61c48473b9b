//! Spare buffers of one loop, so that an idle connection has none and a busy one does not allocate.

use crate::limits::{FRESH_BUFFER_LEN, POOL_COUNT, POOLED_BUFFER_LEN};

#[derive(Debug, Default)]
pub(crate) struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// An empty buffer with some capacity.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(FRESH_BUFFER_LEN))
    }

    /// Takes a buffer back, whatever is in it.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let useful = (1..=POOLED_BUFFER_LEN).contains(&buffer.capacity());
        if useful && self.0.len() < POOL_COUNT {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
