//! Looks ahead over what was received: before the first command of a batch is executed, the store is told all
//! their keys, so that the memory which they touch comes in at the same time and not one after the other.
//!
//! **Invariant**: this moves cache lines and nothing else. The commands are decoded again when it is their
//! turn, and nothing of what was seen here is used for an answer.

use proto::request::{Decoded, Request, decode};
use store::{Key, Store};

use crate::engine::mutation;
use crate::limits::KEYS_AHEAD_MAX;

/// The keys of a batch.
struct Batch<'a> {
    keys: [Key<'a>; KEYS_AHEAD_MAX],
    len: usize,
}

impl<'a> Batch<'a> {
    fn new() -> Self {
        Self { keys: [Key { bytes: b"", hash: 0 }; KEYS_AHEAD_MAX], len: 0 }
    }

    /// Adds as many as there is room for.
    fn add(&mut self, keys: impl IntoIterator<Item = &'a [u8]>) {
        for (slot, key) in self.keys.iter_mut().skip(self.len).zip(keys) {
            *slot = mutation::hashed(key);
            self.len += 1;
        }
    }

    fn has_room(&self) -> bool {
        self.len < KEYS_AHEAD_MAX
    }

    /// One key alone is found as fast without.
    fn prefetch(&self, store: &Store) {
        if self.len > 1 {
            store.prefetch(self.keys.iter().take(self.len).copied());
        }
    }
}

/// Prefetches for the commands at the start of `input`; so many of its bytes were looked at.
pub(super) fn commands(store: &Store, input: &[u8]) -> usize {
    let mut batch = Batch::new();
    let mut seen = 0;
    while let (true, Some(rest @ [_, ..])) = (batch.has_room(), input.get(seen..)) {
        match decode(rest) {
            Decoded::Request { consumed, request } => {
                seen += consumed;
                match request {
                    Request::Get(get) => batch.add(get.keys),
                    Request::Gat(gat) => batch.add(gat.keys),
                    Request::Storage(storage) => {
                        batch.add([storage.key]);
                        seen += storage.value_len + b"\r\n".len();
                    }
                    Request::Mg(mg) => batch.add([mg.key.wire()]),
                    Request::Ms(ms) => {
                        batch.add([ms.key.wire()]);
                        seen += ms.value_len + b"\r\n".len();
                    }
                    _ => {}
                }
            }
            Decoded::Refuse { consumed, .. } => seen += consumed,
            Decoded::NeedMore => seen = input.len(),
        }
    }
    batch.prefetch(store);
    seen
}

/// Prefetches for the next keys of one command.
pub(super) fn keys<'a>(store: &Store, keys: impl IntoIterator<Item = &'a [u8]>) {
    let mut batch = Batch::new();
    batch.add(keys);
    batch.prefetch(store);
}
