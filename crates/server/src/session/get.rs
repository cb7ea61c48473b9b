//! get, gets, gat, gats, touch.
//!
//! A command with many keys stops when the output is full and is decoded again when it has drained: its line
//! stays with the loop, the session only counts the keys that are done.

use proto::reply::put_value;
use proto::reply::text;
use proto::request::{Gat, Get, Keys, Touch};
use store::{Absent, ItemView, Sought};

use super::ahead::Batch;
use super::{NextClaim, Session, Step, answer, refuse};
use crate::discovery::{DISCOVERY_KEY, Discovery};
use crate::engine::{Context, mutation};
use crate::exptime::to_store_ms;
use crate::managed::{Claim, Refused};
use crate::watch::events;

impl Session {
    pub(super) fn get<'a>(
        &mut self,
        cx: &Context<'_>,
        get: Get<'a>,
        line_len: usize,
        batch: &mut Batch<'a>,
        out: &mut Vec<u8>,
    ) -> Step {
        self.each_key(cx, get.keys, line_len, batch, out, |cx, claim, key, out| {
            get_one(cx, claim, key, get.with_cas, out)
        })
    }

    /// `get` of one key.
    pub(super) fn single_get(&mut self, cx: &Context<'_>, key: Sought<'_>, out: &mut Vec<u8>) {
        let claim = self.take_claim(cx, [key.key.bytes]);
        match claim.and_then(|claim| get_one(cx, claim.as_ref(), key, false, out)) {
            Ok(()) => out.extend_from_slice(text::END),
            Err(refused) => refuse(cx, refused, out),
        }
    }

    pub(super) fn gat<'a>(
        &mut self,
        cx: &Context<'_>,
        gat: Gat<'a>,
        line_len: usize,
        batch: &mut Batch<'a>,
        out: &mut Vec<u8>,
    ) -> Step {
        let exptime_ms = to_store_ms(gat.exptime, &cx.now);
        self.each_key(cx, gat.keys, line_len, batch, out, |cx, claim, Sought { key, .. }, out| {
            cx.counters.cmd_touch.count();
            let now_ms = cx.now.store_ms;
            let found = mutation::change(cx, claim, key, |guard| {
                events::look_up(cx, guard, key);
                put_item(out, key.bytes, &guard.find(key, now_ms)?, gat.with_cas);
                guard.bump(key, now_ms);
                guard.set_exptime(key, now_ms, exptime_ms)
            })?;
            count_touch(cx, found.is_ok());
            Ok(())
        })
    }

    pub(super) fn touch(&mut self, cx: &Context<'_>, touch: &Touch<'_>, out: &mut Vec<u8>) {
        let exptime_ms = to_store_ms(touch.exptime, &cx.now);
        let result = self.take_claim(cx, [touch.key]).and_then(|claim| {
            let key = mutation::hashed(touch.key);
            mutation::change(cx, claim.as_ref(), key, |guard| {
                events::look_up(cx, guard, key);
                guard.set_exptime(key, cx.now.store_ms, exptime_ms)
            })
        });
        let found = match result {
            Err(refused) => return refuse(cx, refused, out),
            Ok(found) => found.is_ok(),
        };
        cx.counters.cmd_touch.count();
        count_touch(cx, found);
        answer(out, touch.noreply, if found { text::TOUCHED } else { text::NOT_FOUND });
    }

    /// Answers key by key, and `END`. A refusal before the first answer is the whole reply; after it, what
    /// is left is a miss.
    fn each_key<'a>(
        &mut self,
        cx: &Context<'_>,
        keys: Keys<'a>,
        line_len: usize,
        batch: &mut Batch<'a>,
        out: &mut Vec<u8>,
        mut answer_one: impl FnMut(&Context<'_>, Option<&Claim>, Sought<'_>, &mut Vec<u8>) -> Result<(), Refused>,
    ) -> Step {
        let claim_before = self.claim;
        let claim = match self.take_claim(cx, keys.clone()) {
            Ok(claim) => claim,
            Err(refused) => {
                refuse(cx, refused, out);
                return Step::Done(line_len);
            }
        };
        let before = std::mem::take(&mut self.progress);
        let mut keys = keys.enumerate().skip(before);
        while let Some((done, key)) = keys.next() {
            if out.len() >= self.output_high() {
                return self.pause(claim_before, done);
            }
            let rest = std::iter::once(key).chain(keys.clone().map(|(_, key)| key));
            batch.look_at_keys(&cx.engine.store, rest);
            if let Err(refused) = answer_one(cx, claim.as_ref(), batch.sought(key), out) {
                if done == 0 {
                    refuse(cx, refused, out);
                    return Step::Done(line_len);
                }
                break;
            }
        }
        out.extend_from_slice(text::END);
        Step::Done(line_len)
    }

    fn pause(&mut self, claim: NextClaim, keys_done: usize) -> Step {
        self.claim = claim;
        self.progress = keys_done;
        Step::Full
    }
}

/// Answers for one key, found or not.
#[inline]
fn get_one(
    cx: &Context<'_>,
    claim: Option<&Claim>,
    sought: Sought<'_>,
    with_cas: bool,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    // Lease and tag before the look-up; the floor is looked at within it.
    let key = sought.key;
    mutation::check(cx, claim, || cx.engine.store.tag(key.bucket()))?;
    if let Some(discovery) = cx.engine.options.discovery.as_ref().filter(|_| key.bytes == DISCOVERY_KEY) {
        put_discovery(cx, discovery, with_cas, out);
        return Ok(());
    }
    cx.counters.cmd_get.count();
    let found = cx.engine.store.get(sought, cx.now.store_ms, true, |item| {
        put_item(out, key.bytes, &item, with_cas);
        item.value.len()
    });
    events::fetch(cx, key.bytes, found);
    cx.engine.prefixes.count_get(key.bytes, found.is_ok());
    count_get(cx, found.err());
    Ok(())
}

#[inline]
fn put_item(out: &mut Vec<u8>, key: &[u8], item: &ItemView<'_>, with_cas: bool) {
    out.reserve(key.len() + item.value.len() + 64);
    put_value(out, key, item.flags, item.value, with_cas.then_some(item.cas));
}

/// The list of nodes as clients of old engines ask for it.
#[cold]
fn put_discovery(cx: &Context<'_>, discovery: &Discovery, with_cas: bool, out: &mut Vec<u8>) {
    cx.counters.cmd_get.count();
    cx.counters.get_hits.count();
    discovery.read(|version, nodes| {
        let value = format!("{version}\n{nodes}\n");
        put_value(out, DISCOVERY_KEY, 0, value.as_bytes(), with_cas.then_some(version));
    });
}

#[inline]
pub(super) fn count_get(cx: &Context<'_>, absent: Option<Absent>) {
    let Some(absent) = absent else { return cx.counters.get_hits.count() };
    cx.counters.get_misses.count();
    match absent {
        Absent::Missing => {}
        Absent::Expired => cx.counters.get_expired.count(),
        Absent::Flushed => cx.counters.get_flushed.count(),
    }
}

pub(super) fn count_touch(cx: &Context<'_>, found: bool) {
    let counter = if found { &cx.counters.touch_hits } else { &cx.counters.touch_misses };
    counter.count();
}
