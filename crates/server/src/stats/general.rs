//! `stats` without arguments.

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicU64, Ordering};

use net::LoopStats;
use proto::reply::put_stat;

use crate::VERSION;
use crate::counters::Totals;
use crate::engine::{Context, Engine};

/// Ticks of `/proc` a second; fixed in the kernel's interface on all its common machines.
const TICKS_PER_SECOND: u64 = 100;

pub(super) fn write(cx: &Context<'_>, out: &mut Vec<u8>) {
    let totals = Totals::of(&cx.engine.counters);
    write_process(cx, out);
    write_connections(cx.engine, out);
    write_commands(&totals, out);
    write_traffic(cx.engine, out);
    write_internals(cx.engine, out);
    write_items(cx.engine, out);
    write_managed(cx, &totals, out);
}

fn write_process(cx: &Context<'_>, out: &mut Vec<u8>) {
    let (user, system) = cpu_time();
    put_stat(out, "pid", std::process::id());
    put_stat(out, "uptime", cx.engine.start.elapsed_max_ms(cx.now.lease) / 1000);
    put_stat(out, "time", cx.now.unix_ms() / 1000);
    put_stat(out, "version", VERSION);
    put_stat(out, "libevent", "none");
    put_stat(out, "pointer_size", usize::BITS);
    put_stat(out, "rusage_user", user);
    put_stat(out, "rusage_system", system);
}

fn write_connections(engine: &Engine, out: &mut Vec<u8>) {
    let (current, total, rejected) = engine.network().map_or((0, 0, 0), |network| {
        let stats = &network.connections;
        // Its UDP sockets memcached counts as connections.
        let udp = network.udp_ports.len() as u64;
        (load(&stats.current) + udp, load(&stats.total) + udp, load(&stats.rejected))
    });
    put_stat(out, "max_connections", engine.options.max_connections);
    put_stat(out, "curr_connections", current);
    put_stat(out, "total_connections", total);
    put_stat(out, "rejected_connections", rejected);
    put_stat(out, "connection_structures", current);
    zeros(out, &["response_obj_oom", "response_obj_count", "response_obj_bytes"]);
    zeros(out, &["read_buf_count", "read_buf_bytes", "read_buf_bytes_free", "read_buf_oom", "reserved_fds"]);
}

fn write_commands(totals: &Totals, out: &mut Vec<u8>) {
    for (name, value) in [
        ("cmd_get", totals.cmd_get),
        ("cmd_set", totals.cmd_set),
        ("cmd_flush", totals.cmd_flush),
        ("cmd_touch", totals.cmd_touch),
        ("cmd_meta", totals.cmd_meta),
        ("get_hits", totals.get_hits),
        ("get_misses", totals.get_misses),
        ("get_expired", totals.get_expired),
        ("get_flushed", totals.get_flushed),
        ("delete_misses", totals.delete_misses),
        ("delete_hits", totals.delete_hits),
        ("incr_misses", totals.incr_misses),
        ("incr_hits", totals.incr_hits),
        ("decr_misses", totals.decr_misses),
        ("decr_hits", totals.decr_hits),
        ("cas_misses", totals.cas_misses),
        ("cas_hits", totals.cas_hits),
        ("cas_badval", totals.cas_badval),
        ("touch_hits", totals.touch_hits),
        ("touch_misses", totals.touch_misses),
        ("store_too_large", totals.store_too_large),
        ("store_no_memory", totals.store_no_memory),
        ("auth_cmds", totals.auth_cmds),
        ("auth_errors", totals.auth_errors),
    ] {
        put_stat(out, name, value);
    }
}

fn write_traffic(engine: &Engine, out: &mut Vec<u8>) {
    let mut sums = [0; 4];
    let loops = engine.network().map_or(&[][..], |network| &network.loops[..]);
    for stats in loops {
        let all = [&stats.idle_closes, &stats.bytes_read, &stats.bytes_written, &stats.yields];
        for (sum, counter) in sums.iter_mut().zip(all) {
            *sum += load(counter);
        }
    }
    let [idle, read, written, yields] = sums;
    if engine.options.idle_timeout.is_some() {
        put_stat(out, "idle_kicks", idle);
    }
    put_stat(out, "bytes_read", read);
    put_stat(out, "bytes_written", written);
    put_stat(out, "limit_maxbytes", engine.store.stats().memory_limit);
    put_stat(out, "accepting_conns", 1);
    let pauses = engine.network().map_or(0, |network| load(&network.connections.accept_pauses));
    put_stat(out, "listen_disabled_num", pauses);
    put_stat(out, "time_in_listen_disabled_us", 0);
    put_stat(out, "threads", engine.options.threads);
    put_stat(out, "conn_yields", yields);
}

/// Names of what this node does not have, and the figures of `watch` among them.
fn write_internals(engine: &Engine, out: &mut Vec<u8>) {
    zeros(out, &["hash_power_level", "hash_bytes", "hash_is_expanding"]);
    zeros(out, &["slab_reassign_rescues", "slab_reassign_chunk_rescues", "slab_reassign_inline_reclaim"]);
    zeros(out, &["slab_reassign_busy_items", "slab_reassign_busy_deletes", "slab_reassign_busy_nomem"]);
    zeros(out, &["slab_reassign_last_busy_status", "slab_reassign_running", "slabs_moved"]);
    if engine.options.crawler_stats {
        zeros(out, &["lru_crawler_running", "lru_crawler_starts"]);
    }
    if engine.options.lru_stats {
        zeros(out, &["lru_maintainer_juggles"]);
    }
    zeros(out, &["malloc_fails"]);
    let counters = &engine.watch.counters;
    put_stat(out, "log_worker_dropped", load(&counters.dropped));
    put_stat(out, "log_worker_written", load(&counters.written));
    put_stat(out, "log_watcher_skipped", load(&counters.skipped));
    put_stat(out, "log_watcher_sent", load(&counters.sent));
    put_stat(out, "log_watchers", engine.watch.count());
    write_tls(engine, out);
    zeros(out, &["unexpected_napi_ids", "round_robin_fallback"]);
}

fn write_tls(engine: &Engine, out: &mut Vec<u8>) {
    let Some(tls) = &engine.options.tls else { return };
    let loops = engine.network().map_or(&[][..], |network| &network.loops[..]);
    let sum = |counter: fn(&LoopStats) -> &AtomicU64| -> u64 {
        loops.iter().map(|stats| load(counter(stats))).sum()
    };
    if tls.options().session_cache {
        put_stat(out, "ssl_new_sessions", sum(|stats| &stats.tls_sessions));
    }
    put_stat(out, "ssl_handshake_errors", sum(|stats| &stats.tls_handshake_errors));
    put_stat(out, "ssl_proto_errors", sum(|stats| &stats.tls_protocol_errors));
    put_stat(out, "time_since_server_cert_refresh", tls.age_s());
}

fn write_items(engine: &Engine, out: &mut Vec<u8>) {
    let stats = engine.store.stats();
    put_stat(out, "bytes", stats.bytes);
    put_stat(out, "curr_items", stats.items);
    put_stat(out, "total_items", stats.total_items);
    put_stat(out, "slab_global_page_pool", 0);
    put_stat(out, "expired_unfetched", stats.expired_unfetched);
    put_stat(out, "evicted_unfetched", stats.evicted_unfetched);
    if engine.options.lru_stats {
        put_stat(out, "evicted_active", 0);
    }
    put_stat(out, "evictions", stats.evictions);
    put_stat(out, "reclaimed", stats.reclaimed);
    zeros(out, &["crawler_reclaimed", "crawler_items_checked", "lrutail_reflocked"]);
    if engine.options.lru_stats {
        zeros(out, &["moves_to_cold", "moves_to_warm", "moves_within_lru", "direct_reclaims"]);
        zeros(out, &["lru_bumps_dropped"]);
    }
}

/// What only a managed node has, behind everything that tools know by position.
fn write_managed(cx: &Context<'_>, totals: &Totals, out: &mut Vec<u8>) {
    let Some(managed) = &cx.engine.managed else { return };
    let owned = proto::Bucket::all().filter(|bucket| cx.engine.store.tag(bucket.index()) != 0).count();
    put_stat(out, "managed_node", &managed.node);
    put_stat(out, "managed_cluster", managed.cluster());
    put_stat(out, "managed_incarnation", managed.incarnation);
    put_stat(out, "managed_map_version", managed.map.version());
    put_stat(out, "managed_buckets", owned);
    put_stat(out, "managed_lease_valid", u8::from(managed.lease.get().is_valid(cx.now.lease)));
    put_stat(out, "managed_not_owner", totals.not_owner);
    put_stat(out, "managed_expired", totals.expired_deadline);
}

fn zeros(out: &mut Vec<u8>, names: &[&str]) {
    for name in names {
        put_stat(out, name, 0);
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Seconds with six decimals.
struct Seconds {
    ticks: u64,
}

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.ticks * (1_000_000 / TICKS_PER_SECOND);
        write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// CPU time of the process in user and system mode: fields 14 and 15 of `/proc/self/stat`.
fn cpu_time() -> (Seconds, Seconds) {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is a name in brackets that may contain anything.
    let behind_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = behind_name.split_ascii_whitespace().skip(11).map(|field| field.parse().unwrap_or(0));
    let mut next = || Seconds { ticks: fields.next().unwrap_or(0) };
    (next(), next())
}
