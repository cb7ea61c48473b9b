//! `lru_crawler metadump` and `mgdump`: every key of the node, bucket by bucket.
//!
//! A dump goes on over many turns of its connection's loop: a turn ends when the output is full or enough
//! buckets were looked at, and the session remembers the bucket. A bucket is locked while its lines are
//! written, one at a time, so what a dump shows is true of each bucket at some moment, and of the whole at none.

use net::limits::OUTPUT_HIGH;
use proto::meta::put_key;
use proto::reply::{Digits, text};
use proto::request::DumpFormat;
use store::{BUCKET_COUNT, ItemView};

use super::meta::{CLASS, size};
use super::{Session, Step};
use crate::clock::Now;
use crate::engine::Context;
use crate::limits::DUMP_BUCKETS_PER_TURN;
use crate::watch::line;

impl Session {
    pub(super) fn dump(
        &mut self,
        cx: &Context<'_>,
        format: DumpFormat,
        line_len: usize,
        out: &mut Vec<u8>,
    ) -> Step {
        if self.datagram {
            // Without an answer, as memcached.
            return Step::Close(line_len);
        }
        if !cx.engine.options.dump_enabled {
            out.extend_from_slice(match format {
                DumpFormat::Meta => text::METADUMP_NOT_ALLOWED,
                DumpFormat::Mg => text::MGDUMP_NOT_ALLOWED,
            });
            return Step::Done(line_len);
        }
        let first = std::mem::take(&mut self.progress);
        let last = (first + DUMP_BUCKETS_PER_TURN).min(BUCKET_COUNT);
        for bucket in first..last {
            if out.len() >= OUTPUT_HIGH {
                self.progress = bucket;
                return Step::Full;
            }
            dump_bucket(cx, bucket, format, out);
        }
        if last < BUCKET_COUNT {
            self.progress = last;
            return Step::Full;
        }
        put_end(format, out);
        Step::Done(line_len)
    }
}

/// What follows the last key.
pub(super) fn put_end(format: DumpFormat, out: &mut Vec<u8>) {
    out.extend_from_slice(match format {
        DumpFormat::Meta => text::END,
        DumpFormat::Mg => b"EN\r\n",
    });
}

fn dump_bucket(cx: &Context<'_>, bucket: usize, format: DumpFormat, out: &mut Vec<u8>) {
    let guard = cx.engine.store.lock(bucket);
    if cx.engine.managed.is_some() && guard.tag() == 0 {
        // Not owned: what lies there is nobody's.
        return;
    }
    guard.scan(cx.now.store_ms, |item| match format {
        DumpFormat::Meta => put_facts(out, &item, &cx.now),
        DumpFormat::Mg => {
            out.extend_from_slice(b"mg ");
            put_key(out, item.key, item.marks.binary_key || !is_plain(item.key));
            out.extend_from_slice(b"\r\n");
        }
    });
}

/// True for a key that is one word on a line.
fn is_plain(key: &[u8]) -> bool {
    key.iter().all(|&byte| byte > b' ' && byte != 0x7f)
}

/// The line's end is as memcached's: a space and a bare `\n`.
fn put_facts(out: &mut Vec<u8>, item: &ItemView<'_>, now: &Now) {
    out.extend_from_slice(b"key=");
    line::put_key(out, item.key);
    let unix_s = |store_ms: u64| Digits::new((now.unix_start_ms + store_ms) / 1000);
    let mut part = |name: &[u8], value: &[u8]| {
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    };
    match item.exptime_ms {
        0 => part(b" exp=", b"-1"),
        exptime_ms => part(b" exp=", &unix_s(exptime_ms)),
    }
    part(b" la=", &unix_s(item.last_access_ms));
    part(b" cas=", &Digits::new(item.cas));
    part(b" fetch=", if item.marks.fetched { b"yes" } else { b"no" });
    part(b" cls=", &Digits::new(CLASS));
    part(b" size=", &Digits::new(size(item)));
    part(b" flags=", &Digits::new(u64::from(item.flags)));
    part(b" \n", b"");
}
