//! set, add, replace, append, prepend, cas; incr and decr.

use proto::reply::text;
use proto::reply::{Digits, put_number_line};
use proto::request::{Arith, ArithVerb, Storage, StorageVerb};
use store::{BucketGuard, ItemView, Key, Put, PutError};

use super::block::{Block, block_len};
use super::{Session, State, Step, answer, refuse};
use crate::engine::{Context, mutation};
use crate::exptime::to_store_ms;
use crate::limits::NUMBER_LEN_MAX;
use crate::managed::{Claim, Refused};

impl Session {
    pub(super) fn storage(
        &mut self,
        cx: &Context<'_>,
        storage: &Storage<'_>,
        line_len: usize,
        rest: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        let block_len = block_len(storage.value_len);
        let claim = match self.take_claim(cx, [storage.key]).and_then(|claim| admit(cx, storage, claim)) {
            Ok(claim) => claim,
            Err(refused) => {
                refuse(cx, refused, out);
                self.state = State::Swallow(block_len);
                return Step::Done(line_len);
            }
        };
        if cx.engine.store.too_large(storage.key.len(), storage.value_len) {
            refuse_too_large(cx, storage, claim.as_ref(), out);
            self.state = State::Swallow(block_len);
            return Step::Done(line_len);
        }
        match rest.get(..block_len) {
            Some(block) => {
                store(cx, storage, claim.as_ref(), block, out);
                Step::Done(line_len + block_len)
            }
            None => {
                self.state = State::Block(Box::new(Block::new(storage, claim)));
                Step::Done(line_len)
            }
        }
    }

    pub(super) fn arith(&mut self, cx: &Context<'_>, arith: &Arith<'_>, out: &mut Vec<u8>) {
        let result = self.take_claim(cx, [arith.key]).and_then(|claim| {
            let key = mutation::hashed(arith.key);
            mutation::create(cx, claim.as_ref(), key, |guard| add(cx, guard, key, arith))
        });
        match result {
            Err(refused) => refuse(cx, refused, out),
            Ok(Ok(number)) if !arith.noreply => put_number_line(out, number),
            Ok(Ok(_)) => {}
            Ok(Err(reply)) => answer(out, arith.noreply, reply),
        }
    }
}

/// Looks at the claim before the data block is collected, so that no memory is spent on one that is refused
/// anyway. What counts is the check at the end.
fn admit(cx: &Context<'_>, storage: &Storage<'_>, claim: Option<Claim>) -> Result<Option<Claim>, Refused> {
    let tag = cx.engine.store.tag(mutation::hashed(storage.key).bucket());
    mutation::check(cx, claim.as_ref(), tag)?;
    Ok(claim)
}

/// A value that can't fit. `set` removes the old one: its client believes that it is replaced.
fn refuse_too_large(cx: &Context<'_>, storage: &Storage<'_>, claim: Option<&Claim>, out: &mut Vec<u8>) {
    cx.counters.store_too_large.count();
    if storage.verb == StorageVerb::Set {
        let key = mutation::hashed(storage.key);
        let removed = mutation::change(cx, claim, key, |guard| guard.remove(key, cx.now.store_ms));
        if let Err(refused) = removed {
            return refuse(cx, refused, out);
        }
    }
    answer(out, storage.noreply, text::TOO_LARGE);
}

/// Executes a storage command whose data block, with what should be its line end, has come.
pub(super) fn store(
    cx: &Context<'_>,
    storage: &Storage<'_>,
    claim: Option<&Claim>,
    block: &[u8],
    out: &mut Vec<u8>,
) {
    cx.counters.cmd_set.count();
    let Some((value, b"\r\n")) = block.split_at_checked(storage.value_len) else {
        return answer(out, storage.noreply, text::BAD_DATA_CHUNK);
    };
    let key = mutation::hashed(storage.key);
    match mutation::create(cx, claim, key, |guard| apply(cx, guard, key, storage, value)) {
        Ok(reply) => answer(out, storage.noreply, reply),
        Err(refused) => refuse(cx, refused, out),
    }
}

/// The change itself, under the bucket's lock; returns the reply.
fn apply(
    cx: &Context<'_>,
    guard: &mut BucketGuard<'_>,
    key: Key<'_>,
    storage: &Storage<'_>,
    value: &[u8],
) -> &'static [u8] {
    let old = guard.find(key, cx.now.store_ms);
    match (storage.verb, old) {
        (StorageVerb::Set, _) | (StorageVerb::Add, Err(_)) | (StorageVerb::Replace, Ok(_)) => {}
        (StorageVerb::Append | StorageVerb::Prepend, Ok(old)) => {
            let (old_len, put) = (old.value.len(), keep_attributes(&old));
            let is_append = storage.verb == StorageVerb::Append;
            return join(cx, guard, key, &put, old_len, value, is_append);
        }
        (StorageVerb::Cas(cas), Ok(old)) if old.cas != cas => {
            cx.counters.cas_badval.count();
            return text::EXISTS;
        }
        (StorageVerb::Cas(_), Ok(_)) => cx.counters.cas_hits.count(),
        (StorageVerb::Cas(_), Err(_)) => {
            cx.counters.cas_misses.count();
            return text::NOT_FOUND;
        }
        (StorageVerb::Add | StorageVerb::Replace | StorageVerb::Append | StorageVerb::Prepend, _) => {
            return text::NOT_STORED;
        }
    }
    let exptime_ms = to_store_ms(storage.exptime, &cx.now);
    let put = Put { flags: storage.flags, exptime_ms, ..Put::default() };
    let stored = guard.put(key, cx.now.store_ms, &put, value.len(), |bytes, _| bytes.copy_from_slice(value));
    if stored.is_err() && storage.verb == StorageVerb::Set {
        // As for one that is too large: better none than the old one.
        guard.remove(key, cx.now.store_ms);
    }
    stored.map_or_else(|error| put_error(cx, error), |_| text::STORED)
}

/// append and prepend: the old value with the new bytes behind or before it.
fn join(
    cx: &Context<'_>,
    guard: &mut BucketGuard<'_>,
    key: Key<'_>,
    put: &Put,
    old_len: usize,
    value: &[u8],
    is_append: bool,
) -> &'static [u8] {
    let stored = guard.put(key, cx.now.store_ms, put, old_len + value.len(), |bytes, old| {
        let old = old.map_or(&[][..], |old| old.value);
        let (first, second) = if is_append { (old, value) } else { (value, old) };
        let (front, back) = bytes.split_at_mut(first.len());
        front.copy_from_slice(first);
        back.copy_from_slice(second);
    });
    stored.map_or_else(|error| put_error(cx, error), |_| text::STORED)
}

fn put_error(cx: &Context<'_>, error: PutError) -> &'static [u8] {
    match error {
        PutError::TooLarge => {
            cx.counters.store_too_large.count();
            text::TOO_LARGE
        }
        PutError::OutOfMemory => {
            cx.counters.store_no_memory.count();
            text::OUT_OF_MEMORY_STORING
        }
    }
}

fn keep_attributes(old: &ItemView<'_>) -> Put {
    Put { flags: old.flags, exptime_ms: old.exptime_ms, cas: None, marks: old.marks }
}

/// incr and decr: the new number, or the reply that says why not. The stored text never gets shorter: what a
/// smaller number leaves over is filled with spaces, as memcached does.
fn add(
    cx: &Context<'_>,
    guard: &mut BucketGuard<'_>,
    key: Key<'_>,
    arith: &Arith<'_>,
) -> Result<u64, &'static [u8]> {
    let is_incr = arith.verb == ArithVerb::Incr;
    let counters = &cx.counters;
    let (hits, misses) = if is_incr {
        (&counters.incr_hits, &counters.incr_misses)
    } else {
        (&counters.decr_hits, &counters.decr_misses)
    };
    let Ok(old) = guard.find(key, cx.now.store_ms) else {
        misses.count();
        return Err(text::NOT_FOUND);
    };
    let number = stored_number(old.value).ok_or(text::NON_NUMERIC)?;
    let (old_len, put) = (old.value.len(), keep_attributes(&old));
    hits.count();
    let number = if is_incr { number.wrapping_add(arith.delta) } else { number.saturating_sub(arith.delta) };
    let digits = Digits::new(number);
    let stored = guard.put(key, cx.now.store_ms, &put, old_len.max(digits.len()), |bytes, _| {
        let (front, padding) = bytes.split_at_mut(digits.len());
        front.copy_from_slice(&digits);
        padding.fill(b' ');
    });
    stored.map(|_| number).map_err(|_| text::OUT_OF_MEMORY)
}

/// A stored value as a number: spaces, digits that fit 64 bits, and then nothing or a space.
fn stored_number(value: &[u8]) -> Option<u64> {
    if value.len() > NUMBER_LEN_MAX {
        return None;
    }
    let value = value.trim_ascii_start();
    let value = value.strip_prefix(b"+").unwrap_or(value);
    let end = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
    let (digits, rest) = value.split_at_checked(end)?;
    if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
        return None;
    }
    proto::tokens::unsigned(digits)
}
