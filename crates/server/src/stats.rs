//! `stats` in all its forms: memcached's names in memcached's order, as far as the figures exist here. What
//! memcached counts about its slabs, crawler and LRU lists, and has no meaning here, is shown as zero, so that
//! tools that expect the name find it.

pub(crate) mod connections;
mod general;
pub(crate) mod prefixes;
mod segments;
mod settings;

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
        Some(b"sizes") => put_stat(out, "sizes_status", "disabled"),
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

fn reset(cx: &Context<'_>) {
    for counters in &cx.engine.counters {
        counters.reset();
    }
    cx.engine.store.reset_stats();
    cx.engine.prefixes.reset();
}

fn yes_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}
