//! set, add, replace, append, prepend, delete. Every one of them takes a cas.

use proto::binary::{Command, Request, Status, StoreVerb};
use store::{BucketGuard, Key, Put, PutError};

use super::{Refusal, change};
use crate::engine::Context;
use crate::exptime::to_store_ms;
use crate::session::storage::{self as text_storage, put_error};
use crate::watch::events::{self, Stored};

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
    let result = change(cx, request, |guard, key| {
        events::look_up(cx, guard, key);
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
    });
    events::store(cx, request.key, || Stored {
        status: match status_name(&result) {
            // Only cas says so in memcached's words for watchers.
            "exists" | "not_found" if request.cas == 0 => "not_stored",
            name => name,
        },
        command: match verb {
            _ if request.cas != 0 => "cas",
            StoreVerb::Set => "set",
            StoreVerb::Add => "add",
            StoreVerb::Replace => "replace",
        },
        exptime_ms: put.exptime_ms,
        value_len: value.len(),
    });
    result
}

/// As watchers are told.
fn status_name<T>(result: &Result<T, Refusal>) -> &'static str {
    match result.as_ref().map_err(|refusal| refusal.status) {
        Ok(_) => "stored",
        Err(Status::Exists) => "exists",
        Err(Status::NotFound) => "not_found",
        Err(Status::TooLarge) => "too_large",
        Err(Status::OutOfMemory) => "no_memory",
        Err(_) => "not_stored",
    }
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
    let (mut exptime_ms, mut value_len) = (0, value.len());
    let result = change(cx, request, |guard, key| {
        events::look_up(cx, guard, key);
        let old = guard.find(key, cx.now.store_ms).map_err(|_| Status::NotStored)?;
        if request.cas != 0 && request.cas != old.cas {
            return Err(Status::Exists.into());
        }
        let (old_len, put) = (old.value.len(), text_storage::joined(&old));
        (exptime_ms, value_len) = (put.exptime_ms, old_len + value.len());
        text_storage::join(cx, guard, key, &put, old_len, value, at_end).map_err(|error| {
            put_error(cx, error);
            Status::NotStored.into()
        })
    });
    let (status, command) = (status_name(&result), if at_end { "append" } else { "prepend" });
    events::store(cx, request.key, || Stored { status, command, exptime_ms, value_len });
    result
}

/// Counts a value that can't fit. `set` removes the old one: its client believes that it is replaced.
pub(super) fn too_large(cx: &Context<'_>, request: &Request<'_>) -> Refusal {
    cx.counters.store_too_large.count();
    let refused = Stored { status: "too_large", command: "null", exptime_ms: 0, value_len: 0 };
    events::store(cx, request.key, || refused);
    if let Command::Store { verb: StoreVerb::Set, .. } = request.command {
        let removed = change(cx, request, |guard, key| {
            events::look_up(cx, guard, key);
            Ok(guard.remove(key, cx.now.store_ms))
        });
        if let Err(refusal) = removed {
            return refusal;
        }
    }
    Status::TooLarge.into()
}

pub(super) fn delete(cx: &Context<'_>, request: &Request<'_>) -> Result<u64, Refusal> {
    change(cx, request, |guard, key| {
        events::look_up(cx, guard, key);
        let Ok(old) = guard.find(key, cx.now.store_ms) else {
            cx.counters.delete_misses.count();
            return Err(Status::NotFound.into());
        };
        if request.cas != 0 && request.cas != old.cas {
            return Err(Status::Exists.into());
        }
        cx.counters.delete_hits.count();
        events::delete(cx, guard, key, "delete");
        guard.remove(key, cx.now.store_ms);
        Ok(0)
    })
}
