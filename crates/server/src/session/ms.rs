//! `ms`: store.

use proto::meta::{KeyScratch, MetaCode, MetaLine, Ms, MsMode};
use proto::reply::text;
use store::{Absent, BucketGuard, ItemView, Key, Marks, Put};

use super::meta::{self, new_marks};
use super::storage::{join, joined, put_error, status_name};
use super::{Session, Step};
use crate::engine::{Context, mutation};
use crate::exptime::to_store_ms;
use crate::managed::Claim;
use crate::watch::events::{self, Stored};

/// What an `ms` did.
#[derive(Clone, Copy)]
struct Done {
    code: MetaCode,
    /// The item's new cas; zero where nothing was stored.
    cas: u64,
    /// Of what was stored, or should have been.
    exptime_ms: u64,
    value_len: usize,
}

/// What to write, where the condition holds.
enum Plan {
    /// The new value alone.
    Store(Put),
    /// The new value at the old one, of so many bytes.
    Join(Put, usize),
}

impl Session {
    pub(super) fn ms(
        &mut self,
        cx: &Context<'_>,
        ms: &Ms<'_>,
        line: &[u8],
        rest: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        let mut scratch: KeyScratch = [0; _];
        let key = mutation::hashed(ms.key.bytes(&mut scratch));
        let claim = match self.admit(cx, key) {
            Ok(claim) => claim,
            Err(refused) => {
                meta::refuse(cx, refused, &ms.key, ms.flags, out);
                return self.swallow_block(line, ms.value_len);
            }
        };
        if cx.engine.store.too_large(key.bytes.len(), ms.value_len) {
            refuse_too_large(cx, ms, key, claim.as_ref(), out);
            return self.swallow_block(line, ms.value_len);
        }
        self.await_block(cx, line, rest, ms.value_len, claim, |claim, block| store(cx, ms, claim, block, out))
    }
}

/// A value that can't fit: the old one goes, whatever the mode, as memcached does.
fn refuse_too_large(cx: &Context<'_>, ms: &Ms<'_>, key: Key<'_>, claim: Option<&Claim>, out: &mut Vec<u8>) {
    cx.counters.store_too_large.count();
    let refused = Stored { status: "too_large", command: name(ms), exptime_ms: 0, value_len: 0 };
    events::store(cx, key.bytes, || refused);
    let removed = mutation::change(cx, claim, key, |guard| {
        events::look_up(cx, guard, key);
        guard.remove(key, cx.now.store_ms)
    });
    match removed {
        Ok(_) => out.extend_from_slice(text::TOO_LARGE),
        Err(refused) => meta::refuse(cx, refused, &ms.key, ms.flags, out),
    }
}

/// Executes an `ms` whose data block, with what should be its line end, has come.
pub(super) fn store(cx: &Context<'_>, ms: &Ms<'_>, claim: Option<&Claim>, block: &[u8], out: &mut Vec<u8>) {
    cx.counters.cmd_set.count();
    let Some((value, b"\r\n")) = block.split_at_checked(ms.value_len) else {
        return out.extend_from_slice(text::BAD_DATA_CHUNK);
    };
    let mut scratch: KeyScratch = [0; _];
    let key = mutation::hashed(ms.key.bytes(&mut scratch));
    let result = mutation::create(cx, claim, key, |guard| apply(cx, guard, key, ms, value));
    if let Ok(done) = &result {
        events::store(cx, key.bytes, || stored(cx, ms, done, value.len()));
    }
    match result {
        Err(refused) => meta::refuse(cx, refused, &ms.key, ms.flags, out),
        Ok(Err(reply)) => out.extend_from_slice(reply),
        Ok(Ok(done)) if done.code == MetaCode::Hd && ms.quiet => {}
        Ok(Ok(done)) => put_done(ms, done, out),
    }
}

/// As watchers are told: with a cas it is a cas, whatever the mode.
fn name(ms: &Ms<'_>) -> &'static str {
    match ms.mode {
        MsMode::Append => "append",
        MsMode::Prepend => "prepend",
        MsMode::Set if ms.cas.is_some() => "cas",
        MsMode::Set => "set",
        MsMode::Add => "add",
        MsMode::Replace => "replace",
    }
}

fn stored(cx: &Context<'_>, ms: &Ms<'_>, done: &Result<Done, &'static [u8]>, value_len: usize) -> Stored {
    let (status, exptime_ms, value_len) = match done {
        Ok(Done { code, exptime_ms, value_len, .. }) => {
            let status = match code {
                MetaCode::Hd => "stored",
                MetaCode::Ex => "exists",
                MetaCode::Nf => "not_found",
                _ => "not_stored",
            };
            (status, *exptime_ms, *value_len)
        }
        Err(reply) => (status_name(reply), to_store_ms(ms.exptime, &cx.now), value_len),
    };
    Stored { status, command: name(ms), exptime_ms, value_len }
}

/// The change itself, under the bucket's lock; or the error line.
fn apply(
    cx: &Context<'_>,
    guard: &mut BucketGuard<'_>,
    key: Key<'_>,
    ms: &Ms<'_>,
    value: &[u8],
) -> Result<Done, &'static [u8]> {
    let now_ms = cx.now.store_ms;
    events::look_up(cx, guard, key);
    let plan = match plan(cx, ms, guard.find(key, now_ms)) {
        Ok(plan) => plan,
        Err(code) => {
            let exptime_ms = to_store_ms(ms.exptime, &cx.now);
            return Ok(Done { code, cas: 0, exptime_ms, value_len: value.len() });
        }
    };
    let (Plan::Store(Put { exptime_ms, .. }) | Plan::Join(Put { exptime_ms, .. }, _)) = plan;
    let (stored, value_len) = match &plan {
        Plan::Store(put) => {
            let stored = guard.put(key, now_ms, put, value.len(), |bytes, _| bytes.copy_from_slice(value));
            if stored.is_err() {
                // As for one that is too large: better none than the old one.
                guard.remove(key, now_ms);
            }
            (stored, value.len())
        }
        Plan::Join(put, old_len) => {
            let is_append = ms.mode == MsMode::Append;
            (join(cx, guard, key, put, *old_len, value, is_append), old_len + value.len())
        }
    };
    let cas = stored.map_err(|error| put_error(cx, error))?;
    Ok(Done { code: MetaCode::Hd, cas, exptime_ms, value_len })
}

/// Looks at the mode and the cas; or how to say that their condition does not hold.
fn plan(cx: &Context<'_>, ms: &Ms<'_>, old: Result<ItemView<'_>, Absent>) -> Result<Plan, MetaCode> {
    match (ms.mode, old) {
        (MsMode::Set | MsMode::Replace, old) if ms.cas.is_some() => compare(cx, ms, old).map(Plan::Store),
        (MsMode::Set, _) | (MsMode::Add, Err(_)) | (MsMode::Replace, Ok(_)) => {
            Ok(Plan::Store(fresh(cx, ms, ms.exptime)))
        }
        (MsMode::Append | MsMode::Prepend, Ok(old)) => {
            if ms.cas.is_some_and(|cas| cas != 0 && cas != old.cas) {
                return Err(MetaCode::Ex);
            }
            Ok(Plan::Join(Put { cas: ms.new_cas, ..joined(&old) }, old.value.len()))
        }
        (MsMode::Append | MsMode::Prepend, Err(_)) => match ms.vivify {
            Some(exptime) => Ok(Plan::Store(fresh(cx, ms, exptime))),
            None => Err(MetaCode::Ns),
        },
        (MsMode::Add, Ok(_)) | (MsMode::Replace, Err(_)) => Err(MetaCode::Ns),
    }
}

/// C: the item there must have this cas. With I one with a higher cas is replaced too: by a value that is known
/// to be stale, which keeps the exptime and the winner of the item that it replaces.
fn compare(cx: &Context<'_>, ms: &Ms<'_>, old: Result<ItemView<'_>, Absent>) -> Result<Put, MetaCode> {
    let Ok(old) = old else {
        cx.counters.cas_misses.count();
        return Err(MetaCode::Nf);
    };
    let mut put = fresh(cx, ms, ms.exptime);
    match ms.cas {
        Some(cas) if cas != 0 && cas == old.cas => {}
        Some(cas) if cas != 0 && cas < old.cas && ms.invalidate => {
            put.exptime_ms = old.exptime_ms;
            put.marks = Marks { stale: true, won: old.marks.won, ..put.marks };
        }
        _ => {
            cx.counters.cas_badval.count();
            return Err(MetaCode::Ex);
        }
    }
    cx.counters.cas_hits.count();
    Ok(put)
}

fn fresh(cx: &Context<'_>, ms: &Ms<'_>, exptime: i64) -> Put {
    Put {
        flags: ms.client_flags,
        exptime_ms: to_store_ms(exptime, &cx.now),
        cas: ms.new_cas,
        marks: new_marks(&ms.key),
    }
}

fn put_done(ms: &Ms<'_>, done: Done, out: &mut Vec<u8>) {
    let mut line = MetaLine::start(out, done.code);
    for flag in ms.flags {
        match flag.letter {
            b'c' => line.number(b'c', done.cas),
            b's' => line.number(b's', done.value_len as u64),
            _ => {
                line.echo(flag, &ms.key);
            }
        }
    }
    line.end();
}
