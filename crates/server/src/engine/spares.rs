//! Buffers of long data blocks, kept for the next ones: the kernel takes long to clear new memory.
//!
//! Shared by all workers; the lock is taken twice for a block that is long and does not come in one piece.

use std::sync::{Mutex, PoisonError};

use crate::limits::{BLOCK_RESERVE_MAX, LONG_BLOCK_LEN, SPARE_BLOCKS_LEN_MAX};

#[derive(Debug, Default)]
pub(crate) struct Spares(Mutex<Vec<Vec<u8>>>);

impl Spares {
    /// An empty buffer for a block of this length.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        let spare = if len < LONG_BLOCK_LEN { None } else { self.lock().pop() };
        let mut buffer = spare.unwrap_or_default();
        buffer.reserve(len.min(BLOCK_RESERVE_MAX));
        buffer
    }

    /// Keeps a buffer whose content is of no use any more, if there is room.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < LONG_BLOCK_LEN {
            return;
        }
        let mut spares = self.lock();
        if spares.iter().map(Vec::capacity).sum::<usize>() + buffer.capacity() <= SPARE_BLOCKS_LEN_MAX {
            buffer.clear();
            spares.push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
