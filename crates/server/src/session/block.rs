//! A data block that did not come whole with its command line.

use proto::request::{Storage, StorageVerb};

use super::{Session, State, Step};
use crate::engine::Context;
use crate::limits::BLOCK_RESERVE_MAX;
use crate::managed::Claim;

/// A storage command that waits for its data block.
#[derive(Debug)]
pub(super) struct Block {
    key: Box<[u8]>,
    verb: StorageVerb,
    flags: u32,
    exptime: i64,
    value_len: usize,
    noreply: bool,
    claim: Option<Claim>,
    /// What has come of the value and its line end.
    bytes: Vec<u8>,
}

impl Block {
    pub(super) fn new(storage: &Storage<'_>, claim: Option<Claim>) -> Self {
        Self {
            key: storage.key.into(),
            verb: storage.verb,
            flags: storage.flags,
            exptime: storage.exptime,
            value_len: storage.value_len,
            noreply: storage.noreply,
            claim,
            bytes: Vec::with_capacity(block_len(storage.value_len).min(BLOCK_RESERVE_MAX)),
        }
    }

    fn storage(&self) -> Storage<'_> {
        Storage {
            verb: self.verb,
            key: &self.key,
            flags: self.flags,
            exptime: self.exptime,
            value_len: self.value_len,
            noreply: self.noreply,
        }
    }
}

impl Session {
    pub(super) fn fill_block(
        &mut self,
        cx: &Context<'_>,
        mut block: Box<Block>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        let missing = block_len(block.value_len) - block.bytes.len();
        let taken = missing.min(input.len());
        block.bytes.extend_from_slice(input.get(..taken).unwrap_or_default());
        if taken < missing {
            self.state = State::Block(block);
        } else {
            super::storage::store(cx, &block.storage(), block.claim.as_ref(), &block.bytes, out);
        }
        Step::Done(taken)
    }
}

/// Length of a data block with its line end.
pub(super) const fn block_len(value_len: usize) -> usize {
    value_len + b"\r\n".len()
}
