//! Spare buffers of one loop, so that an idle connection has none and a busy one does not allocate.

use crate::limits::{FRESH_BUFFER_LEN, POOL_COUNT, POOL_LEN_MAX};

#[derive(Debug, Default)]
pub(crate) struct Pool {
    buffers: Vec<Vec<u8>>,
    /// Capacity of all of them.
    len: usize,
}

impl Pool {
    /// An empty buffer with some capacity: the one that was given back last, which is warm.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let Some(buffer) = self.buffers.pop() else { return Vec::with_capacity(FRESH_BUFFER_LEN) };
        self.len -= buffer.capacity();
        buffer
    }

    /// Takes a buffer back, whatever is in it.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let len = self.len + buffer.capacity();
        if buffer.capacity() > 0 && len <= POOL_LEN_MAX && self.buffers.len() < POOL_COUNT {
            buffer.clear();
            self.buffers.push(buffer);
            self.len = len;
        }
    }
}
