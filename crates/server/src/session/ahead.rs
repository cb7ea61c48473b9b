//! Looks ahead over what was received: before the first command of a batch is executed, the store is told all
//! their keys, so that the memory which they touch comes in at the same time and not one after the other.
//!
//! What is found on the way serves the execution: the hash of a key, the place where its item was, and for a
//! `get` of one key that it is one. Other commands are decoded again when it is their turn.
//!
//! **Invariant**: nothing here is an answer. A key is known by where it lies in the input, and what the store
//! noted is checked by the look-up that uses it.

use arrayvec::ArrayVec;
use proto::request::{Decoded, Request, decode, single_get};
use store::{Sought, Store};

use crate::engine::mutation;
use crate::limits::KEYS_AHEAD_MAX;

/// The keys of the next commands, in the order of the input.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    keys: ArrayVec<Sought<'a>, KEYS_AHEAD_MAX>,
    /// For each key the length of its line, when that is `get` and this key alone; else zero.
    single_gets: ArrayVec<u16, KEYS_AHEAD_MAX>,
    /// The first that was not asked for yet.
    next: usize,
}

impl<'a> Batch<'a> {
    /// Looks at the commands at the start of `input`, whatever was in the batch; so many of its bytes were looked at.
    pub(super) fn look(&mut self, store: &Store, input: &'a [u8]) -> usize {
        self.clear();
        let mut seen = 0;
        while let (false, Some(rest @ [_, ..])) = (self.keys.is_full(), input.get(seen..)) {
            seen += match single_get(rest) {
                Some((key, len)) => {
                    self.push(key, len as u16);
                    len
                }
                None => self.command(rest),
            };
        }
        self.prefetch(store);
        seen
    }

    /// Looks at the next keys of one command, when those that were looked at are used up.
    pub(super) fn look_at_keys(&mut self, store: &Store, keys: impl Iterator<Item = &'a [u8]>) {
        if self.next == self.keys.len() {
            self.clear();
            self.add(keys);
            self.prefetch(store);
        }
    }

    /// The key of the next command and the length of its line, if that is a `get` of one key and begins where
    /// `input` does.
    pub(super) fn single_get(&mut self, input: &[u8]) -> Option<(Sought<'a>, usize)> {
        let (sought, len) = (self.keys.get(self.next)?, usize::from(*self.single_gets.get(self.next)?));
        let key_at = sought.key.bytes.as_ptr().addr();
        let is_here = len > 0 && key_at == input.as_ptr().addr() + b"get ".len();
        self.next += usize::from(is_here);
        is_here.then_some((*sought, len))
    }

    /// A key that lies in the input, with what is known of it.
    pub(super) fn sought(&mut self, key: &'a [u8]) -> Sought<'a> {
        while let Some(sought) = self.keys.get(self.next) {
            let at = sought.key.bytes.as_ptr();
            if at > key.as_ptr() {
                break;
            }
            self.next += 1;
            if at == key.as_ptr() && sought.key.bytes.len() == key.len() {
                return *sought;
            }
        }
        mutation::hashed(key).into()
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.single_gets.clear();
        self.next = 0;
    }

    fn push(&mut self, key: &'a [u8], single_get: u16) {
        self.keys.push(mutation::hashed(key).into());
        self.single_gets.push(single_get);
    }

    /// Adds as many as there is room for.
    fn add(&mut self, keys: impl Iterator<Item = &'a [u8]>) {
        let room = self.keys.remaining_capacity();
        keys.take(room).for_each(|key| self.push(key, 0));
    }

    /// Adds the keys of the command at the start of `input`; returns where the next one begins.
    fn command(&mut self, input: &'a [u8]) -> usize {
        match decode(input) {
            Decoded::Request { consumed, request } => consumed + self.request(request),
            Decoded::Refuse { consumed, .. } => consumed,
            Decoded::NeedMore => input.len(),
        }
    }

    /// Adds the keys of a command; returns the length of its data block.
    fn request(&mut self, request: Request<'a>) -> usize {
        match request {
            Request::Get(get) => self.add(get.keys),
            Request::Gat(gat) => self.add(gat.keys),
            Request::Storage(storage) => {
                self.push(storage.key, 0);
                return storage.value_len + b"\r\n".len();
            }
            Request::Mg(mg) => self.push(mg.key.wire(), 0),
            Request::Ms(ms) => {
                self.push(ms.key.wire(), 0);
                return ms.value_len + b"\r\n".len();
            }
            _ => {}
        }
        0
    }

    /// One key alone is found as fast without.
    fn prefetch(&mut self, store: &Store) {
        if self.keys.len() > 1 {
            store.prefetch(&mut self.keys);
        }
    }
}
