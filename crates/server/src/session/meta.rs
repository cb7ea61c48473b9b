//! What the meta commands share, and `me`.
//!
//! Flags are returned in the order in which they were asked for, and a flag that changes the exptime does so
//! where it stands. Quiet mode leaves out the one answer that each command calls uninteresting; refusals of
//! managed mode and errors are always told.

use proto::meta::{Flags, KeyScratch, Me, MeDetails, MetaCode, MetaKey, MetaLine, put_me};
use store::limits::MEMCACHED_ITEM_OVERHEAD;
use store::{ItemView, Marks};

use super::{Session, count_refusal};
use crate::engine::{Context, mutation};
use crate::exptime::to_store_ms;
use crate::managed::Refused;
use crate::watch::events;

/// `stats items` shows everything as this class.
pub(crate) const CLASS: u64 = 1;

impl Session {
    /// For people: leaves no trace of the access.
    pub(super) fn me(&mut self, cx: &Context<'_>, me: &Me<'_>, out: &mut Vec<u8>) {
        let mut scratch: KeyScratch = [0; _];
        let bytes = me.key.bytes(&mut scratch);
        let found = self.take_claim(cx, [bytes]).and_then(|claim| {
            let key = mutation::hashed(bytes);
            mutation::check(cx, claim.as_ref(), || cx.engine.store.tag(key.bucket()))?;
            cx.counters.cmd_meta.count();
            let found = cx.engine.store.get(key, cx.now.store_ms, false, |item| {
                put_me(out, &me.key, &details(&item, cx.now.store_ms));
                item.value.len()
            });
            events::fetch(cx, bytes, found);
            Ok(found)
        });
        match found {
            Err(refused) => refuse(cx, refused, &me.key, me.flags, out),
            Ok(Ok(_)) => {}
            Ok(Err(_)) => MetaLine::start(out, MetaCode::En).end(),
        }
    }
}

fn details(item: &ItemView<'_>, now_ms: u64) -> MeDetails {
    MeDetails {
        ttl_s: ttl_s(item.exptime_ms, now_ms),
        idle_s: idle_s(item, now_ms),
        cas: item.cas,
        fetched: item.marks.fetched,
        class: CLASS,
        size: size(item),
    }
}

/// Bytes of an item as memcached counts them.
pub(crate) fn size(item: &ItemView<'_>) -> u64 {
    let no_flags = if item.flags == 0 { size_of::<u32>() } else { 0 };
    (item.key.len() + item.value.len() + MEMCACHED_ITEM_OVERHEAD - no_flags) as u64
}

/// A refusal of managed mode: told in quiet mode too, with key and opaque where they were asked for, since a
/// client tells by them which of its commands it was.
#[cold]
pub(super) fn refuse(
    cx: &Context<'_>,
    refused: Refused,
    key: &MetaKey<'_>,
    flags: Flags<'_>,
    out: &mut Vec<u8>,
) {
    let code = match refused {
        Refused::NotOwner => MetaCode::NotOwner,
        Refused::Expired => MetaCode::Expired,
        Refused::NoClaim | Refused::BadClaim | Refused::KeyNotInBucket => {
            return super::refuse(cx, refused, out);
        }
    };
    count_refusal(cx, refused);
    MetaLine::put_echo(out, code, key, flags);
}

/// Whole seconds left, `None` for ever.
pub(super) fn ttl_s(exptime_ms: u64, now_ms: u64) -> Option<u64> {
    (exptime_ms != 0).then(|| exptime_ms.saturating_sub(now_ms) / 1000)
}

/// Seconds since the item was last fetched or written.
pub(super) fn idle_s(item: &ItemView<'_>, now_ms: u64) -> u64 {
    (now_ms / 1000).saturating_sub(item.last_access_ms / 1000)
}

/// The exptime of an item that N creates, on the store's clock: N's or T's, whichever stands behind the other.
pub(super) fn created_exptime_ms(
    cx: &Context<'_>,
    flags: Flags<'_>,
    vivify: Option<i64>,
    exptime: Option<i64>,
) -> u64 {
    let last = flags.filter(|flag| matches!(flag.letter, b'N' | b'T')).last();
    let exptime = if last.is_some_and(|flag| flag.letter == b'T') { exptime } else { vivify };
    to_store_ms(exptime.unwrap_or(0), &cx.now)
}

/// The marks of a new item.
pub(super) fn new_marks(key: &MetaKey<'_>) -> Marks {
    Marks { binary_key: key.is_base64(), ..Marks::default() }
}
