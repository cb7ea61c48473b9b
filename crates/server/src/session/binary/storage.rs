//! set, add, replace, append, prepend, delete. Every one of them takes a cas.

use proto::binary::{Command, Request, Status, StoreVerb};
use store::{BucketGuard, Key, Put, PutError};

use super::{Refusal, change};
use crate::engine::Context;
use crate::exptime::to_store_ms;
use crate::session::storage::{self as text_storage, put_error};

/// memcached's text where a new item finds no memory.
const NO_MEMORY_ITEM: &[u8] = b"Out of memory allocating item";

pub(super) fn store(
    cx: &Context<'_>,
    request: &Request<'_>,
    verb: StoreVerb,
    flags: u32,
    exptime: u32,
    value: &[u8],
) -> Result<u64, Refusal> {
    cx.counters.cmd_set.count();
    let put = Put { flags, exptime_ms: to_store_ms(i64::from(exptime), &cx.now), ..Put::default() };
    change(cx, request, |guard, key| {
        may_store(cx, guard, key, verb, request.cas)?;
        let stored =
            guard.put(key, cx.now.store_ms, &put, value.len(), |bytes, _| bytes.copy_from_slice(value));
        if stored.is_err() && verb == StoreVerb::Set {
            // As for one that is too large: better none than the old one.
            guard.remove(key, cx.now.store_ms);
        }
        stored.map_err(|error| {
            put_error(cx, error);
            match error {
                PutError::TooLarge => Status::TooLarge.into(),
                PutError::OutOfMemory => Refusal::out_of_memory(NO_MEMORY_ITEM),
            }
        })
    })
}

/// The condition of a verb. With a cas all three are the same: replace exactly that item.
fn may_store(
    cx: &Context<'_>,
    guard: &BucketGuard<'_>,
    key: Key<'_>,
    verb: StoreVerb,
    cas: u64,
) -> Result<(), Status> {
    match (guard.find(key, cx.now.store_ms), verb) {
        (Err(_), _) if cas != 0 => {
            cx.counters.cas_misses.count();
            Err(Status::NotFound)
        }
        (Ok(old), _) if cas != 0 && cas != old.cas => {
            cx.counters.cas_badval.count();
            Err(Status::Exists)
        }
        (Ok(_), _) if cas != 0 => {
            cx.counters.cas_hits.count();
            Ok(())
        }
        (Ok(_), StoreVerb::Add) => Err(Status::Exists),
        (Err(_), StoreVerb::Replace) => Err(Status::NotFound),
        _ => Ok(()),
    }
}

/// append and prepend. A whole that would be too large is not stored, as memcached says it.
pub(super) fn join(
    cx: &Context<'_>,
    request: &Request<'_>,
    at_end: bool,
    value: &[u8],
) -> Result<u64, Refusal> {
    cx.counters.cmd_set.count();
    change(cx, request, |guard, key| {
        let old = guard.find(key, cx.now.store_ms).map_err(|_| Status::NotStored)?;
        if request.cas != 0 && request.cas != old.cas {
            return Err(Status::Exists.into());
        }
        let (old_len, put) = (old.value.len(), text_storage::joined(&old));
        text_storage::join(cx, guard, key, &put, old_len, value, at_end).map_err(|error| {
            put_error(cx, error);
            Status::NotStored.into()
        })
    })
}

/// Counts a value that can't fit. `set` removes the old one: its client believes that it is replaced.
pub(super) fn too_large(cx: &Context<'_>, request: &Request<'_>) -> Refusal {
    cx.counters.store_too_large.count();
    if let Command::Store { verb: StoreVerb::Set, .. } = request.command {
        let removed = change(cx, request, |guard, key| Ok(guard.remove(key, cx.now.store_ms)));
        if let Err(refusal) = removed {
            return refusal;
        }
    }
    Status::TooLarge.into()
}

pub(super) fn delete(cx: &Context<'_>, request: &Request<'_>) -> Result<u64, Refusal> {
    change(cx, request, |guard, key| {
        let Ok(old) = guard.find(key, cx.now.store_ms) else {
            cx.counters.delete_misses.count();
            return Err(Status::NotFound.into());
        };
        if request.cas != 0 && request.cas != old.cas {
            return Err(Status::Exists.into());
        }
        cx.counters.delete_hits.count();
        guard.remove(key, cx.now.store_ms);
        Ok(0)
    })
}
