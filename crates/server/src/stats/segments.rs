//! `stats items` and `stats slabs`: this node has no slab classes, so everything is shown as class 1.

use proto::reply::put_stat;

use crate::counters::Totals;
use crate::engine::Context;

/// The page size that tools expect.
const PAGE_LEN: u64 = 1 << 20;

pub(super) fn write_items(cx: &Context<'_>, out: &mut Vec<u8>) {
    let stats = cx.engine.store.stats();
    if stats.items == 0 {
        return;
    }
    for (name, value) in [
        ("number", stats.items),
        ("number_hot", 0),
        ("number_warm", 0),
        ("number_cold", stats.items),
        ("age_hot", 0),
        ("age_warm", 0),
        ("age", 0),
        ("mem_requested", stats.bytes),
        ("evicted", stats.evictions),
        ("evicted_nonzero", stats.evicted_with_exptime),
        ("evicted_time", 0),
        ("outofmemory", stats.out_of_memory),
        ("tailrepairs", 0),
        ("reclaimed", stats.reclaimed),
        ("expired_unfetched", stats.expired_unfetched),
        ("evicted_unfetched", stats.evicted_unfetched),
        ("evicted_active", 0),
        ("crawler_reclaimed", 0),
        ("crawler_items_checked", 0),
        ("lrutail_reflocked", 0),
        ("moves_to_cold", 0),
        ("moves_to_warm", 0),
        ("moves_within_lru", 0),
        ("direct_reclaims", 0),
        ("hits_to_hot", 0),
        ("hits_to_warm", 0),
        ("hits_to_cold", Totals::of(&cx.engine.counters).get_hits),
        ("hits_to_temp", 0),
    ] {
        put_stat(out, format_args!("items:1:{name}"), value);
    }
}

/// A chunk is the average item, so that used chunks times their size are what items occupy, and free chunks are how
/// many more such items the memory in use would hold.
pub(super) fn write_slabs(cx: &Context<'_>, out: &mut Vec<u8>) {
    let stats = cx.engine.store.stats();
    let totals = Totals::of(&cx.engine.counters);
    // Rounded up, so that no item is larger than its chunk on average.
    if let Some(chunk_size) = stats.bytes.checked_div(stats.items).map(|size| size + 1) {
        let free = stats.memory_used.saturating_sub(stats.items * chunk_size) / chunk_size;
        for (name, value) in [
            ("chunk_size", chunk_size),
            ("chunks_per_page", PAGE_LEN / chunk_size),
            ("total_pages", stats.memory_used.div_ceil(PAGE_LEN)),
            ("total_chunks", stats.items + free),
            ("used_chunks", stats.items),
            ("free_chunks", free),
            ("free_chunks_end", 0),
            ("get_hits", totals.get_hits),
            ("cmd_set", totals.cmd_set),
            ("delete_hits", totals.delete_hits),
            ("incr_hits", totals.incr_hits),
            ("decr_hits", totals.decr_hits),
            ("cas_hits", totals.cas_hits),
            ("cas_badval", totals.cas_badval),
            ("touch_hits", totals.touch_hits),
        ] {
            put_stat(out, format_args!("1:{name}"), value);
        }
    }
    put_stat(out, "active_slabs", u8::from(stats.items > 0));
    put_stat(out, "total_malloced", stats.memory_used);
}
