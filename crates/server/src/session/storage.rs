//! set, add, replace, append, prepend, cas.

use proto::reply::text;
use proto::request::{Storage, StorageVerb};
use store::{BucketGuard, ItemView, Key, Marks, Put, PutError};

use super::{Session, Step, answer, refuse};
use crate::engine::{Context, mutation};
use crate::exptime::to_store_ms;
use crate::managed::{Claim, Refused};
use crate::watch::events::{self, Stored};

impl Session {
    pub(super) fn storage(
        &mut self,
        cx: &Context<'_>,
        storage: &Storage<'_>,
        key: Key<'_>,
        line: &[u8],
        rest: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        let claim = match self.admit(cx, key) {
            Ok(claim) => claim,
            Err(refused) => {
                refuse(cx, refused, out);
                return self.swallow_block(line, storage.value_len);
            }
        };
        if cx.engine.store.too_large(storage.key.len(), storage.value_len) {
            refuse_too_large(cx, storage, key, claim.as_ref(), out);
            return self.swallow_block(line, storage.value_len);
        }
        self.await_block(cx, line, rest, storage.value_len, claim, |claim, block| {
            store(cx, storage, key, claim, block, out);
        })
    }

    /// Looks at the claim before the data block is collected, so that no memory is spent on one that is refused
    /// anyway. What counts is the check at the end.
    pub(super) fn admit(&mut self, cx: &Context<'_>, key: Key<'_>) -> Result<Option<Claim>, Refused> {
        let claim = self.take_claim(cx, [key.bytes])?;
        mutation::check(cx, claim.as_ref(), || cx.engine.store.tag(key.bucket()))?;
        Ok(claim)
    }
}

/// A value that can't fit. `set` removes the old one: its client believes that it is replaced.
fn refuse_too_large(
    cx: &Context<'_>,
    storage: &Storage<'_>,
    key: Key<'_>,
    claim: Option<&Claim>,
    out: &mut Vec<u8>,
) {
    cx.counters.store_too_large.count();
    let refused = Stored { status: "too_large", command: name(storage.verb), exptime_ms: 0, value_len: 0 };
    events::store(cx, storage.key, || refused);
    if storage.verb == StorageVerb::Set {
        let removed = mutation::change(cx, claim, key, |guard| {
            events::look_up(cx, guard, key);
            guard.remove(key, cx.now.store_ms)
        });
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
    key: Key<'_>,
    claim: Option<&Claim>,
    block: &[u8],
    out: &mut Vec<u8>,
) {
    cx.counters.cmd_set.count();
    cx.engine.prefixes.count_set(storage.key);
    let Some((value, b"\r\n")) = block.split_at_checked(storage.value_len) else {
        return answer(out, storage.noreply, text::BAD_DATA_CHUNK);
    };
    let mut whole = None;
    match mutation::create(cx, claim, key, |guard| apply(cx, guard, key, storage, value, &mut whole)) {
        Ok(reply) => {
            events::store(cx, storage.key, || {
                let (exptime_ms, value_len) =
                    whole.unwrap_or_else(|| (to_store_ms(storage.exptime, &cx.now), value.len()));
                Stored { status: status_name(reply), command: name(storage.verb), exptime_ms, value_len }
            });
            answer(out, storage.noreply, reply);
        }
        Err(refused) => refuse(cx, refused, out),
    }
}

/// A command as watchers are told.
const fn name(verb: StorageVerb) -> &'static str {
    match verb {
        StorageVerb::Set => "set",
        StorageVerb::Add => "add",
        StorageVerb::Replace => "replace",
        StorageVerb::Append => "append",
        StorageVerb::Prepend => "prepend",
        StorageVerb::Cas(_) => "cas",
    }
}

/// What came of a command as watchers are told, by its reply.
pub(super) fn status_name(reply: &[u8]) -> &'static str {
    match reply {
        text::STORED => "stored",
        text::EXISTS => "exists",
        text::NOT_FOUND => "not_found",
        text::TOO_LARGE => "too_large",
        text::OUT_OF_MEMORY_STORING => "no_memory",
        _ => "not_stored",
    }
}

/// The change itself, under the bucket's lock; returns the reply. `whole`: of append and prepend, exptime and
/// length of what they made.
fn apply(
    cx: &Context<'_>,
    guard: &mut BucketGuard<'_>,
    key: Key<'_>,
    storage: &Storage<'_>,
    value: &[u8],
    whole: &mut Option<(u64, usize)>,
) -> &'static [u8] {
    events::look_up(cx, guard, key);
    // A set need not look for the old item: the put that follows does.
    if storage.verb != StorageVerb::Set
        && let Some(reply) = answer_by_old(cx, guard, key, storage, value, whole)
    {
        return reply;
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

/// What the verbs that depend on the old item answer; `None` when the new one is to be stored.
fn answer_by_old(
    cx: &Context<'_>,
    guard: &mut BucketGuard<'_>,
    key: Key<'_>,
    storage: &Storage<'_>,
    value: &[u8],
    whole: &mut Option<(u64, usize)>,
) -> Option<&'static [u8]> {
    let old = guard.find(key, cx.now.store_ms);
    match (storage.verb, old) {
        (StorageVerb::Set, _) | (StorageVerb::Add, Err(_)) | (StorageVerb::Replace, Ok(_)) => None,
        (StorageVerb::Append | StorageVerb::Prepend, Ok(old)) => {
            let (old_len, put) = (old.value.len(), joined(&old));
            *whole = Some((put.exptime_ms, old_len + value.len()));
            let is_append = storage.verb == StorageVerb::Append;
            let joined = join(cx, guard, key, &put, old_len, value, is_append);
            Some(joined.map_or_else(|error| put_error(cx, error), |_| text::STORED))
        }
        (StorageVerb::Cas(cas), Ok(old)) if old.cas != cas => {
            cx.counters.cas_badval.count();
            Some(text::EXISTS)
        }
        (StorageVerb::Cas(_), Ok(_)) => {
            cx.counters.cas_hits.count();
            None
        }
        (StorageVerb::Cas(_), Err(_)) => {
            cx.counters.cas_misses.count();
            Some(text::NOT_FOUND)
        }
        (StorageVerb::Add | StorageVerb::Replace | StorageVerb::Append | StorageVerb::Prepend, _) => {
            Some(text::NOT_STORED)
        }
    }
}

/// The attributes of an item to which something was appended: flags and exptime stay; it is no longer stale,
/// nobody has fetched it yet.
pub(super) fn joined(old: &ItemView<'_>) -> Put {
    let marks = Marks { binary_key: old.marks.binary_key, ..Marks::default() };
    Put { flags: old.flags, exptime_ms: old.exptime_ms, cas: None, marks }
}

/// append and prepend: the old value with the new bytes behind or before it; returns the new cas.
pub(super) fn join(
    cx: &Context<'_>,
    guard: &mut BucketGuard<'_>,
    key: Key<'_>,
    put: &Put,
    old_len: usize,
    value: &[u8],
    is_append: bool,
) -> Result<u64, PutError> {
    guard.put(key, cx.now.store_ms, put, old_len + value.len(), |bytes, old| {
        let old = old.map_or(&[][..], |old| old.value);
        let (first, second) = if is_append { (old, value) } else { (value, old) };
        let (front, back) = bytes.split_at_mut(first.len());
        front.copy_from_slice(first);
        back.copy_from_slice(second);
    })
}

/// Counts a write that could not be done; returns its error line.
pub(super) fn put_error(cx: &Context<'_>, error: PutError) -> &'static [u8] {
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
