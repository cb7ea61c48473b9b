//! The critical section of a command that changes something: its key's bucket is locked, ownership is checked
//! under that lock, then the change is made (hazard j).

use proto::KeyHash;
use store::{BucketGuard, Key};

use crate::engine::Context;
use crate::managed::{Claim, Refused};

/// A key with its hash.
#[inline]
pub fn hashed(key: &[u8]) -> Key<'_> {
    Key { bytes: key, hash: KeyHash::of(key).0 }
}

/// Checks a claim against the lease and the bucket's tag, in this order. `None`: the node is not managed.
#[inline]
pub fn check(cx: &Context<'_>, claim: Option<&Claim>, tag: impl FnOnce() -> u64) -> Result<(), Refused> {
    let (Some(claim), Some(managed)) = (claim, &cx.engine.managed) else { return Ok(()) };
    let (lease, tag) = managed.lease.with_tag(tag);
    claim.may_execute(tag, lease, cx.now.lease)
}

/// Checks the deadline of a claim, if it has one, against the clock as it was read with the request.
#[inline]
pub fn in_time(cx: &Context<'_>, claim: Option<&Claim>) -> Result<(), Refused> {
    match (claim, &cx.engine.managed) {
        (Some(claim), Some(managed)) => claim.in_time(managed.clock_ms(cx.now.lease)),
        _ => Ok(()),
    }
}

/// Changes what is there: deletes, exptimes.
pub fn change<R>(
    cx: &Context<'_>,
    claim: Option<&Claim>,
    key: Key<'_>,
    apply: impl FnOnce(&mut BucketGuard<'_>) -> R,
) -> Result<R, Refused> {
    let mut guard = cx.engine.store.lock(key.bucket());
    check(cx, claim, || guard.tag())?;
    Ok(apply(&mut guard))
}

/// Creates or changes a value. With a deadline, it is checked before and again after: who was late drops the
/// key, since the client may have given up and another write may have been acknowledged elsewhere (hazard b).
pub fn create<R>(
    cx: &Context<'_>,
    claim: Option<&Claim>,
    key: Key<'_>,
    apply: impl FnOnce(&mut BucketGuard<'_>) -> R,
) -> Result<R, Refused> {
    let mut guard = cx.engine.store.lock(key.bucket());
    check(cx, claim, || guard.tag())?;
    let timed = claim.filter(|claim| claim.has_deadline()).zip(cx.engine.managed.as_ref());
    let Some((claim, managed)) = timed else { return Ok(apply(&mut guard)) };
    claim.in_time(managed.clock_ms(cx.now.lease))?;
    let result = apply(&mut guard);
    let after = managed.clock_ms((cx.read_clock)());
    if let Err(late) = claim.in_time(after) {
        guard.remove(key, cx.now.store_ms);
        return Err(late);
    }
    Ok(result)
}
