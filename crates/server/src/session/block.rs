//! A data block that did not come whole with its command line.

use proto::request::{Decoded, Request, decode};

use super::{Session, State, Step, ms, storage};
use crate::engine::{Context, mutation};
use crate::managed::Claim;

/// A storage command that waits for its data block.
#[derive(Debug)]
pub(super) struct Block {
    /// The command's line with its end, to be decoded again when the block is whole.
    line: Box<[u8]>,
    claim: Option<Claim>,
    /// What has come of the value and its line end.
    bytes: Vec<u8>,
    /// Length of the value and its line end.
    len: usize,
}

impl Session {
    /// Calls `store` when the whole data block is in `rest`; else the session waits for it. `line` is that of
    /// the command, which was admitted under `claim`.
    pub(super) fn await_block(
        &mut self,
        cx: &Context<'_>,
        line: &[u8],
        rest: &[u8],
        value_len: usize,
        claim: Option<Claim>,
        store: impl FnOnce(Option<&Claim>, &[u8]),
    ) -> Step {
        let len = block_len(value_len);
        if let Some(block) = rest.get(..len) {
            store(claim.as_ref(), block);
            return Step::Done(line.len() + len);
        }
        let bytes = cx.engine.spares.take(len);
        self.state = State::Block(Box::new(Block { line: line.into(), claim, bytes, len }));
        Step::Done(line.len())
    }

    /// The data block of a refused command is thrown away.
    pub(super) fn swallow_block(&mut self, line: &[u8], value_len: usize) -> Step {
        self.state = State::Swallow(block_len(value_len));
        Step::Done(line.len())
    }

    pub(super) fn fill_block(
        &mut self,
        cx: &Context<'_>,
        mut block: Box<Block>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        let missing = block.len - block.bytes.len();
        let taken = missing.min(input.len());
        block.bytes.extend_from_slice(input.get(..taken).unwrap_or_default());
        if taken < missing {
            self.state = State::Block(block);
        } else {
            block.store(cx, out);
            cx.engine.spares.give(std::mem::take(&mut block.bytes));
        }
        Step::Done(taken)
    }
}

impl Block {
    fn store(&self, cx: &Context<'_>, out: &mut Vec<u8>) {
        let claim = self.claim.as_ref();
        match decode(&self.line) {
            Decoded::Request { request: Request::Storage(storage), .. } => {
                let key = mutation::hashed(storage.key);
                storage::store(cx, &storage, key, claim, &self.bytes, out);
            }
            Decoded::Request { request: Request::Ms(ms), .. } => ms::store(cx, &ms, claim, &self.bytes, out),
            other => unreachable!("a line that was a storage command is now {other:?}"),
        }
    }
}

/// Length of a data block with its line end.
const fn block_len(value_len: usize) -> usize {
    value_len + b"\r\n".len()
}
