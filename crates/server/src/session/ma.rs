//! `ma`: increment and decrement.

use proto::meta::{KeyScratch, Ma, MetaCode, MetaLine};
use proto::reply::{Digits, text};
use store::{BucketGuard, Key, Put};

use super::Session;
use super::arith::{Addition, NoSum, Sum, add, count_miss};
use super::meta::{self, created_exptime_ms, new_marks, ttl_s};
use crate::engine::{Context, mutation};
use crate::exptime::to_store_ms;
use crate::watch::events::{self, Stored};

/// What an `ma` did.
enum Done {
    /// `true`: to an item that it created.
    Added(Sum, bool),
    /// Nothing.
    Not(NoSum),
}

impl Session {
    pub(super) fn ma(&mut self, cx: &Context<'_>, ma: &Ma<'_>, out: &mut Vec<u8>) {
        let mut scratch: KeyScratch = [0; _];
        let bytes = ma.key.bytes(&mut scratch);
        let result = self.take_claim(cx, [bytes]).and_then(|claim| {
            let key = mutation::hashed(bytes);
            mutation::create(cx, claim.as_ref(), key, |guard| apply(cx, guard, key, ma))
        });
        let code = match result {
            Err(refused) => return meta::refuse(cx, refused, &ma.key, ma.flags, out),
            Ok(Done::Added(..)) if ma.quiet => return,
            Ok(Done::Added(sum, created)) => return put_sum(cx, ma, &sum, created, out),
            Ok(Done::Not(NoSum::Missing)) => MetaCode::Nf,
            Ok(Done::Not(NoSum::OtherCas)) => MetaCode::Ex,
            Ok(Done::Not(NoSum::NonNumeric)) => return out.extend_from_slice(text::NON_NUMERIC),
            Ok(Done::Not(NoSum::OutOfMemory)) => return out.extend_from_slice(text::OUT_OF_MEMORY),
        };
        MetaLine::put_echo(out, code, &ma.key, ma.flags);
    }
}

/// The change itself, under the bucket's lock.
fn apply(cx: &Context<'_>, guard: &mut BucketGuard<'_>, key: Key<'_>, ma: &Ma<'_>) -> Done {
    let addition = Addition {
        verb: ma.mode,
        delta: ma.delta,
        cas: ma.cas,
        new_cas: ma.new_cas,
        exptime_ms: ma.exptime.map(|exptime| to_store_ms(exptime, &cx.now)),
    };
    match add(cx, guard, key, &addition) {
        Ok(sum) => Done::Added(sum, false),
        Err(NoSum::Missing) if ma.vivify.is_some() => vivify(cx, guard, key, ma),
        Err(no_sum) => {
            if matches!(no_sum, NoSum::Missing) {
                count_miss(cx, ma.mode);
            }
            Done::Not(no_sum)
        }
    }
}

/// N: the item starts with the number of J.
fn vivify(cx: &Context<'_>, guard: &mut BucketGuard<'_>, key: Key<'_>, ma: &Ma<'_>) -> Done {
    let digits = Digits::new(ma.initial);
    let exptime_ms = created_exptime_ms(cx, ma.flags, ma.vivify, ma.exptime);
    let put = Put { flags: 0, exptime_ms, cas: ma.new_cas, marks: new_marks(&ma.key) };
    let stored =
        guard.put(key, cx.now.store_ms, &put, digits.len(), |bytes, _| bytes.copy_from_slice(&digits));
    events::look_up_missing(cx, key.bytes);
    events::store(cx, key.bytes, || Stored {
        status: if stored.is_ok() { "stored" } else { "no_memory" },
        command: "add",
        exptime_ms,
        value_len: digits.len(),
    });
    match stored {
        Ok(cas) => Done::Added(Sum { number: ma.initial, cas, exptime_ms: 0 }, true),
        Err(_) => {
            cx.counters.store_no_memory.count();
            Done::Not(NoSum::OutOfMemory)
        }
    }
}

fn put_sum(cx: &Context<'_>, ma: &Ma<'_>, sum: &Sum, created: bool, out: &mut Vec<u8>) {
    let digits = Digits::new(sum.number);
    let mut line =
        if ma.value { MetaLine::value(out, digits.len()) } else { MetaLine::start(out, MetaCode::Hd) };
    let mut exptime_ms = sum.exptime_ms;
    for flag in ma.flags {
        match flag.letter {
            b'T' => exptime_ms = to_store_ms(ma.exptime.unwrap_or(0), &cx.now),
            b'N' if created => exptime_ms = to_store_ms(ma.vivify.unwrap_or(0), &cx.now),
            b't' => line.ttl(ttl_s(exptime_ms, cx.now.store_ms)),
            b'c' => line.number(b'c', sum.cas),
            _ => {
                line.echo(flag, &ma.key);
            }
        }
    }
    line.end();
    if ma.value {
        out.extend_from_slice(&digits);
        out.extend_from_slice(b"\r\n");
    }
}
