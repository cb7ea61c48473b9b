//! `md`: delete; or keep the item, marked stale (I) or emptied (x).

use proto::meta::{KeyScratch, Md, MetaCode, MetaLine};
use store::{BucketGuard, ItemView, Key, Marks, Put};

use super::Session;
use super::meta;
use crate::engine::{Context, mutation};
use crate::exptime::to_store_ms;
use crate::watch::events;

impl Session {
    pub(super) fn md(&mut self, cx: &Context<'_>, md: &Md<'_>, out: &mut Vec<u8>) {
        let mut scratch: KeyScratch = [0; _];
        let bytes = md.key.bytes(&mut scratch);
        let result = self.take_claim(cx, [bytes]).and_then(|claim| {
            let key = mutation::hashed(bytes);
            let apply = |guard: &mut BucketGuard<'_>| apply(cx, guard, key, md);
            if md.drop_value {
                // An empty value is a value: it must not come after its deadline.
                mutation::create(cx, claim.as_ref(), key, apply)
            } else {
                mutation::change(cx, claim.as_ref(), key, apply)
            }
        });
        match result {
            Err(refused) => meta::refuse(cx, refused, &md.key, md.flags, out),
            Ok(MetaCode::Hd) if md.quiet => {}
            Ok(code) => MetaLine::put_echo(out, code, &md.key, md.flags),
        }
    }
}

/// The change itself, under the bucket's lock.
fn apply(cx: &Context<'_>, guard: &mut BucketGuard<'_>, key: Key<'_>, md: &Md<'_>) -> MetaCode {
    let now_ms = cx.now.store_ms;
    events::look_up(cx, guard, key);
    let old = match guard.find(key, now_ms) {
        Err(_) => {
            cx.counters.delete_misses.count();
            return MetaCode::Nf;
        }
        Ok(old) if md.cas.is_some_and(|cas| cas != old.cas) => {
            cx.counters.delete_misses.count();
            return MetaCode::Ex;
        }
        Ok(old) => old,
    };
    if md.invalidate || md.drop_value {
        let (put, value_len) = kept(cx, md, &old);
        let stored = guard.put(key, now_ms, &put, value_len, |bytes, old| {
            if !md.drop_value {
                bytes.copy_from_slice(old.map_or(b"", |old| old.value));
            }
        });
        if stored.is_ok() {
            return MetaCode::Hd;
        }
        // No memory to keep it: better none than one that is not marked.
    }
    cx.counters.delete_hits.count();
    events::delete(cx, guard, key, "md");
    guard.remove(key, now_ms);
    MetaCode::Hd
}

/// The attributes and the length of what is left of an item. It gets a new cas, so that whoever read it before
/// cannot store over it; marked stale, it has no winner yet.
fn kept(cx: &Context<'_>, md: &Md<'_>, old: &ItemView<'_>) -> (Put, usize) {
    let exptime_ms = match md.exptime {
        Some(exptime) if md.invalidate => to_store_ms(exptime, &cx.now),
        _ => old.exptime_ms,
    };
    let marks = Marks {
        stale: md.invalidate,
        won: false,
        fetched: old.marks.fetched && !md.drop_value,
        binary_key: old.marks.binary_key,
    };
    let (flags, value_len) = if md.drop_value { (0, 0) } else { (old.flags, old.value.len()) };
    (Put { flags, exptime_ms, cas: md.new_cas, marks }, value_len)
}
