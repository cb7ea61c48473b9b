//! `stats` in all its forms: memcached's names in memcached's order, as far as the figures exist here. What
//! memcached counts about its slabs, crawler and LRU lists, and has no meaning here, is shown as zero, so that
//! tools that expect the name find it.

mod cachedump;
pub(crate) mod connections;
mod general;
pub(crate) mod prefixes;
mod segments;
mod settings;
pub(crate) mod sizes;

use std::sync::atomic::Ordering;

use proto::reply::put_stat;
use proto::reply::text;
use proto::tokens::Tokens;

use crate::engine::Context;

/// Answers `stats [what]`.
pub(crate) fn write(cx: &Context<'_>, mut args: Tokens<'_>, out: &mut Vec<u8>) {
    match args.next() {
        None => general::write(cx, out),
        Some(b"settings") => settings::write(cx, out),
        Some(b"items") => segments::write_items(cx, out),
        Some(b"slabs") => segments::write_slabs(cx, out),
        // In the text protocol, where it is enabled, the session answers: see `is_sizes`.
        Some(b"sizes") => put_sizes_status(cx, out),
        Some(word @ (b"sizes_enable" | b"sizes_disable")) => {
            cx.engine.tracks_sizes.store(word == b"sizes_enable", Ordering::Relaxed);
            put_sizes_status(cx, out);
        }
        Some(b"cachedump") => return cachedump::write(cx, args, out),
        Some(b"conns") => connections::write(cx, out),
        Some(b"detail") => return cx.engine.prefixes.detail(args.next(), out),
        Some(b"reset") => {
            reset(cx);
            out.extend_from_slice(text::RESET);
            return;
        }
        Some(_) => {
            out.extend_from_slice(text::ERROR);
            return;
        }
    }
    out.extend_from_slice(text::END);
}

fn put_sizes_status(cx: &Context<'_>, out: &mut Vec<u8>) {
    let is_on = cx.engine.tracks_sizes.load(Ordering::Relaxed);
    put_stat(out, "sizes_status", if is_on { "enabled" } else { "disabled" });
}

/// What looks at all items.
pub(crate) fn is_scan(cx: &Context<'_>, mut args: Tokens<'_>) -> bool {
    is_sizes(cx, args) || args.next() == Some(b"cachedump")
}

/// `stats sizes` where it is enabled, which is answered over many turns.
pub(crate) fn is_sizes(cx: &Context<'_>, mut args: Tokens<'_>) -> bool {
    args.next() == Some(b"sizes") && cx.engine.tracks_sizes.load(Ordering::Relaxed)
}

fn reset(cx: &Context<'_>) {
    for counters in &cx.engine.counters {
        counters.reset();
    }
    cx.engine.store.reset_stats();
    cx.engine.prefixes.reset();
    cx.engine.watch.counters.reset();
}

fn yes_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}
