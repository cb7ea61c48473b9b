//! incr and decr, and the addition that `ma` shares with them.

use proto::reply::text;
use proto::reply::{Digits, put_number_line};
use proto::request::{Arith, ArithVerb};
use store::{BucketGuard, Key, Put};

use super::{Session, answer, refuse};
use crate::engine::{Context, mutation};
use crate::watch::events;

/// What to do to a stored number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addition {
    pub(super) verb: ArithVerb,
    pub(super) delta: u64,
    /// Only to an item with this cas; zero, which no client can know of an item, is as none.
    pub(super) cas: Option<u64>,
    /// The cas of the sum; `None`: the next unique one.
    pub(super) new_cas: Option<u64>,
    /// The exptime of the sum on the store's clock; `None`: as it was.
    pub(super) exptime_ms: Option<u64>,
}

/// What was done to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    pub(super) number: u64,
    pub(super) cas: u64,
    /// As it was before, on the store's clock.
    pub(super) exptime_ms: u64,
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug)]
pub(super) enum NoSum {
    Missing,
    OtherCas,
    NonNumeric,
    OutOfMemory,
}

impl NoSum {
    /// As incr and decr say it.
    pub(super) const fn reply(self) -> &'static [u8] {
        match self {
            Self::Missing => text::NOT_FOUND,
            Self::OtherCas => text::EXISTS,
            Self::NonNumeric => text::NON_NUMERIC,
            Self::OutOfMemory => text::OUT_OF_MEMORY,
        }
    }
}

impl Session {
    pub(super) fn arith(&mut self, cx: &Context<'_>, arith: &Arith<'_>, out: &mut Vec<u8>) {
        let addition =
            Addition { verb: arith.verb, delta: arith.delta, cas: None, new_cas: None, exptime_ms: None };
        let result = self.take_claim(cx, [arith.key]).and_then(|claim| {
            let key = mutation::hashed(arith.key);
            mutation::create(cx, claim.as_ref(), key, |guard| add(cx, guard, key, &addition))
        });
        match result {
            Err(refused) => refuse(cx, refused, out),
            Ok(Ok(sum)) if !arith.noreply => put_number_line(out, sum.number),
            Ok(Ok(_)) => {}
            Ok(Err(no_sum)) => {
                if matches!(no_sum, NoSum::Missing) {
                    count_miss(cx, arith.verb);
                }
                answer(out, arith.noreply, no_sum.reply());
            }
        }
    }
}

/// Adds under the bucket's lock. The stored text never gets shorter: what a smaller number leaves over is
/// filled with spaces, as memcached does. Hits are counted here, misses by the caller, who may mend them.
pub(super) fn add(
    cx: &Context<'_>,
    guard: &mut BucketGuard<'_>,
    key: Key<'_>,
    addition: &Addition,
) -> Result<Sum, NoSum> {
    events::look_up(cx, guard, key);
    let old = guard.find(key, cx.now.store_ms).map_err(|_| NoSum::Missing)?;
    if addition.cas.is_some_and(|cas| cas != 0 && cas != old.cas) {
        return Err(NoSum::OtherCas);
    }
    let number = stored_number(old.value).ok_or(NoSum::NonNumeric)?;
    let (old_len, old_exptime_ms) = (old.value.len(), old.exptime_ms);
    let put = Put {
        flags: old.flags,
        exptime_ms: addition.exptime_ms.unwrap_or(old_exptime_ms),
        cas: addition.new_cas,
        marks: old.marks,
    };
    let number = match addition.verb {
        ArithVerb::Incr => {
            cx.counters.incr_hits.count();
            number.wrapping_add(addition.delta)
        }
        ArithVerb::Decr => {
            cx.counters.decr_hits.count();
            number.saturating_sub(addition.delta)
        }
    };
    let digits = Digits::new(number);
    let stored = guard.put(key, cx.now.store_ms, &put, old_len.max(digits.len()), |bytes, _| {
        let (front, padding) = bytes.split_at_mut(digits.len());
        front.copy_from_slice(&digits);
        padding.fill(b' ');
    });
    let cas = stored.map_err(|_| NoSum::OutOfMemory)?;
    Ok(Sum { number, cas, exptime_ms: old_exptime_ms })
}

/// Counts an incr or decr of what is not there.
pub(super) fn count_miss(cx: &Context<'_>, verb: ArithVerb) {
    match verb {
        ArithVerb::Incr => cx.counters.incr_misses.count(),
        ArithVerb::Decr => cx.counters.decr_misses.count(),
    }
}

/// A stored value as a number: spaces, digits that fit 64 bits, and then nothing or a space, which ends what is
/// looked at.
fn stored_number(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii_start();
    let value = value.strip_prefix(b"+").unwrap_or(value);
    let end = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
    let (digits, rest) = value.split_at_checked(end)?;
    if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
        return None;
    }
    proto::tokens::unsigned(digits)
}
