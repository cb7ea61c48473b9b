//! incr and decr, which may create what they count.

use proto::binary::{Arith, Reply, Request, Status};
use proto::reply::Digits;
use store::{BucketGuard, Key, Put};

use super::{Refusal, change};
use crate::engine::Context;
use crate::exptime::to_store_ms;
use crate::session::arith::{Addition, NoSum, add, count_miss};
use crate::watch::events::{self, Stored};

/// memcached's texts where there is no memory.
const NO_MEMORY_SUM: &[u8] = b"Out of memory incrementing value";
const NO_MEMORY_NEW: &[u8] = b"Out of memory allocating new item";

pub(super) fn arith(cx: &Context<'_>, request: &Request<'_>, arith: &Arith, out: &mut Vec<u8>) {
    let addition = Addition {
        verb: arith.verb,
        delta: arith.delta,
        cas: Some(request.cas),
        new_cas: None,
        exptime_ms: None,
    };
    let result = change(cx, request, |guard, key| match add(cx, guard, key, &addition) {
        Ok(sum) => Ok((sum.number, sum.cas)),
        Err(NoSum::Missing) => create(cx, guard, key, arith),
        Err(NoSum::OtherCas) => Err(Status::Exists.into()),
        Err(NoSum::NonNumeric) => Err(Status::NonNumeric.into()),
        Err(NoSum::OutOfMemory) => Err(Refusal::out_of_memory(NO_MEMORY_SUM)),
    });
    match result {
        Ok(_) if request.quiet => {}
        Ok((number, cas)) => Reply::value(cas, &number.to_be_bytes()).put(request.echo, out),
        Err(refusal) => refusal.reply().put(request.echo, out),
    }
}

/// Stores the initial number, if one is to be; returns it with its cas.
fn create(
    cx: &Context<'_>,
    guard: &mut BucketGuard<'_>,
    key: Key<'_>,
    arith: &Arith,
) -> Result<(u64, u64), Refusal> {
    let Some(exptime) = arith.create_exptime else {
        count_miss(cx, arith.verb);
        return Err(Status::NotFound.into());
    };
    let put = Put { exptime_ms: to_store_ms(i64::from(exptime), &cx.now), ..Put::default() };
    let digits = Digits::new(arith.initial);
    let stored =
        guard.put(key, cx.now.store_ms, &put, digits.len(), |bytes, _| bytes.copy_from_slice(&digits));
    events::look_up_missing(cx, key.bytes);
    events::store(cx, key.bytes, || Stored {
        status: if stored.is_ok() { "stored" } else { "no_memory" },
        command: "add",
        exptime_ms: put.exptime_ms,
        value_len: digits.len(),
    });
    stored.map(|cas| (arith.initial, cas)).map_err(|_| Refusal::out_of_memory(NO_MEMORY_NEW))
}
