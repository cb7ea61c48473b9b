//! `stats cachedump <class> <limit>`: keys with their lengths and exptimes, at most 2 MB of them as in memcached.
//!
//! Keys of the meta protocol that are not text are left out, as there. `lru_crawler metadump` tells all.

use std::io::Write;

use proto::reply::text;
use proto::tokens::{Tokens, unsigned_plus};
use store::{BUCKET_COUNT, ItemView};

use crate::clock::Now;
use crate::engine::Context;
use crate::limits::{CACHEDUMP_LEN_MAX, SLAB_CLASSES};
use crate::session::meta::CLASS;

pub(super) fn write(cx: &Context<'_>, mut args: Tokens<'_>, out: &mut Vec<u8>) {
    if !cx.engine.options.dump_enabled {
        return out.extend_from_slice(text::CACHEDUMP_NOT_ALLOWED);
    }
    let (Some(class), Some(limit)) = (args.next(), args.next()) else {
        return out.extend_from_slice(text::BAD_LINE);
    };
    let number = |word| unsigned_plus(word).and_then(|number| u32::try_from(number).ok());
    let (Some(class), Some(limit)) = (number(class), number(limit)) else {
        return out.extend_from_slice(text::BAD_FORMAT);
    };
    if class >= SLAB_CLASSES {
        return out.extend_from_slice(text::ILLEGAL_SLAB_ID);
    }
    if u64::from(class) == CLASS {
        put_items(cx, if limit == 0 { u32::MAX } else { limit }, out);
    }
    out.extend_from_slice(text::END);
}

fn put_items(cx: &Context<'_>, limit: u32, out: &mut Vec<u8>) {
    let start = out.len();
    let mut left = limit;
    for bucket in 0..BUCKET_COUNT {
        if left == 0 || out.len() - start >= CACHEDUMP_LEN_MAX {
            return;
        }
        let guard = cx.engine.store.lock(bucket);
        if cx.engine.managed.is_some() && guard.tag() == 0 {
            // Not owned: what lies there is nobody's.
            continue;
        }
        guard.scan(cx.now.store_ms, |item| {
            if left > 0 && !item.marks.binary_key && out.len() - start < CACHEDUMP_LEN_MAX {
                put_item(out, &item, &cx.now);
                left -= 1;
            }
        });
    }
}

fn put_item(out: &mut Vec<u8>, item: &ItemView<'_>, now: &Now) {
    let unix_s = if item.exptime_ms == 0 { 0 } else { (now.unix_start_ms + item.exptime_ms) / 1000 };
    out.extend_from_slice(b"ITEM ");
    out.extend_from_slice(item.key);
    write!(out, " [{} b; {unix_s} s]\r\n", item.value.len()).expect("a vector takes everything");
}
