//! What sessions and workers tell: one call where it happens, which costs a test of a cell while nobody wants to
//! hear of it.
//!
//! As in memcached, whatever looks a key up is a fetch, a storage command too.

use std::net::SocketAddr;

use store::{Absent, BucketGuard, Key};

use super::line;
pub(crate) use super::line::Stored;
use super::{Kinds, Log, Watch};
use crate::engine::Context;
use crate::verbose;

/// A key was looked up; where it was found, the length of its value.
#[inline]
pub(crate) fn fetch(cx: &Context<'_>, key: &[u8], found: Result<usize, Absent>) {
    if !cx.log.kinds().is_empty() {
        write_fetch(cx, key, found);
    }
}

/// The key is about to be looked up under its bucket's lock.
#[inline]
pub(crate) fn look_up(cx: &Context<'_>, guard: &BucketGuard<'_>, key: Key<'_>) {
    if !cx.log.kinds().is_empty() {
        write_fetch(cx, key.bytes, guard.find(key, cx.now.store_ms).map(|item| item.value.len()));
    }
}

/// A key that is known to be missing is looked up once more, as memcached does before it creates an item.
#[inline]
pub(crate) fn look_up_missing(cx: &Context<'_>, key: &[u8]) {
    fetch(cx, key, Err(Absent::Missing));
}

/// The key's item, if there is one, is about to be deleted under its bucket's lock.
#[inline]
pub(crate) fn delete(cx: &Context<'_>, guard: &BucketGuard<'_>, key: Key<'_>, command: &'static str) {
    if !cx.log.kinds().is_empty() {
        write_delete(cx, guard, key, command);
    }
}

/// A storage command was done, or refused.
#[inline]
pub(crate) fn store(cx: &Context<'_>, key: &[u8], stored: impl FnOnce() -> Stored) {
    if cx.log.kinds().has(Kinds::MUTATIONS) {
        let (stored, now_ms, conn) = (stored(), cx.now.store_ms, cx.log.conn());
        cx.log.write(&cx.engine.watch, Kinds::MUTATIONS, |out| {
            line::put_store(out, key, stored, now_ms, conn);
        });
    }
}

/// A connection began.
pub(crate) fn connection(watch: &Watch, log: &Log, peer: Option<SocketAddr>) {
    if log.kinds().has(Kinds::CONNEVENTS) {
        log.write(watch, Kinds::CONNEVENTS, |out| line::put_connection(out, peer, None, log.conn()));
    }
}

/// A connection ended.
pub(crate) fn disconnection(watch: &Watch, log: &Log, peer: Option<SocketAddr>, reason: &str) {
    if log.kinds().has(Kinds::CONNEVENTS) {
        log.write(watch, Kinds::CONNEVENTS, |out| line::put_connection(out, peer, Some(reason), log.conn()));
    }
}

/// What the store evicted since it was last asked.
pub(crate) fn evictions(watch: &Watch, log: &Log, store: &store::Store, now_ms: u64) {
    let (items, lost) = store.take_evicted();
    for item in &items {
        log.write(watch, Kinds::EVICTIONS, |out| line::put_eviction(out, item, now_ms));
    }
    log.note_dropped(lost);
}

#[cold]
fn write_fetch(cx: &Context<'_>, key: &[u8], found: Result<usize, Absent>) {
    let kinds = cx.log.kinds();
    if kinds.has(Kinds::LOOKUPS) {
        verbose::look_up(key, found.err());
    }
    if kinds.has(Kinds::FETCHERS) {
        cx.log.write(&cx.engine.watch, Kinds::FETCHERS, |out| line::put_get(out, key, found, cx.log.conn()));
    }
}

#[cold]
fn write_delete(cx: &Context<'_>, guard: &BucketGuard<'_>, key: Key<'_>, command: &'static str) {
    let found = guard.find(key, cx.now.store_ms).map(|item| item.value.len());
    if let (Ok(len), true) = (found, cx.log.kinds().has(Kinds::DELETIONS)) {
        cx.log.write(&cx.engine.watch, Kinds::DELETIONS, |out| {
            line::put_deletion(out, key.bytes, command, len);
        });
    }
}
