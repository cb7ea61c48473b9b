//! `stats settings`: memcached's names in its order; what has no meaning here shows memcached's default.

use std::sync::atomic::Ordering;

use net::Address;
use proto::reply::put_stat;

use super::yes_no;
use crate::engine::{Context, Engine};
use crate::options::Protocol;
use crate::tls::{ClientAuth, KeyFormat};

pub(super) fn write(cx: &Context<'_>, out: &mut Vec<u8>) {
    let engine = cx.engine;
    write_network(engine, out);
    write_limits(engine, out);
    write_fixed(engine, out);
}

fn write_network(engine: &Engine, out: &mut Vec<u8>) {
    let options = &engine.options;
    put_stat(out, "maxbytes", engine.store.stats().memory_limit);
    put_stat(out, "maxconns", options.max_connections);
    let bound = engine.network().and_then(|network| network.ports.first());
    put_stat(out, "tcpport", bound.or(options.listen.first()).map_or(0, std::net::SocketAddr::port));
    let bound = engine.network().and_then(|network| network.udp_ports.first());
    put_stat(out, "udpport", bound.or(options.udp.first()).map_or(0, std::net::SocketAddr::port));
    match options.listen.first() {
        Some(address) => put_stat(out, "inter", address.ip()),
        None => put_stat(out, "inter", "NULL"),
    }
    put_stat(out, "verbosity", engine.verbosity.load(Ordering::Relaxed));
    put_stat(out, "oldest", 0);
    put_stat(out, "evictions", if options.evict { "on" } else { "off" });
    match &options.unix_socket {
        Some(socket) => {
            put_stat(
                out,
                "domain_socket",
                Address::Unix(socket.path.clone()).to_string().replacen("unix:", "", 1),
            );
            put_stat(out, "umask", format_args!("{:o}", socket.mode));
        }
        None => {
            put_stat(out, "domain_socket", "NULL");
            put_stat(out, "umask", "700");
        }
    }
    put_stat(out, "shutdown_command", yes_no(options.shutdown_enabled));
}

fn write_limits(engine: &Engine, out: &mut Vec<u8>) {
    let options = &engine.options;
    put_stat(out, "growth_factor", "1.25");
    put_stat(out, "chunk_size", 48);
    put_stat(out, "num_threads", options.threads);
    put_stat(out, "num_threads_per_udp", options.threads);
    put_stat(out, "stat_key_prefix", char::from(engine.prefixes.delimiter()));
    put_stat(out, "detail_enabled", yes_no(engine.prefixes.is_on()));
    put_stat(out, "reqs_per_event", options.requests_per_turn);
    put_stat(out, "cas_enabled", "yes");
    put_stat(out, "tcp_backlog", options.backlog);
    put_stat(out, "binding_protocol", protocol_name(options.protocol));
    put_stat(out, "auth_enabled_sasl", yes_no(options.sasl.is_some()));
    match &options.auth_file {
        Some(file) => put_stat(out, "auth_enabled_ascii", file.path().display()),
        None => put_stat(out, "auth_enabled_ascii", "no"),
    }
    put_stat(out, "item_size_max", options.item_size_max.0);
    put_stat(out, "maxconns_fast", yes_no(options.reject_when_full));
}

fn write_fixed(engine: &Engine, out: &mut Vec<u8>) {
    for (name, value) in BEFORE_FLUSH {
        put_stat(out, name, value);
    }
    put_stat(out, "flush_enabled", yes_no(engine.options.flush_enabled));
    put_stat(out, "dump_enabled", yes_no(engine.options.dump_enabled));
    for (name, value) in BEFORE_IDLE {
        put_stat(out, name, value);
    }
    put_stat(out, "idle_timeout", engine.options.idle_timeout.map_or(0, |timeout| timeout.as_secs()));
    put_stat(out, "watcher_logbuf_size", engine.options.watcher_log_len.0);
    put_stat(out, "worker_logbuf_size", engine.options.worker_log_len.0);
    put_stat(out, "read_buf_mem_limit", 0);
    put_stat(out, "track_sizes", yes_no(engine.options.track_sizes));
    for (name, value) in AFTER_SIZES {
        put_stat(out, name, value);
    }
    write_tls(engine, out);
    for (name, value) in AFTER_TLS {
        put_stat(out, name, value);
    }
}

fn write_tls(engine: &Engine, out: &mut Vec<u8>) {
    let Some(tls) = &engine.options.tls else {
        return NO_TLS.iter().for_each(|(name, value)| put_stat(out, *name, value));
    };
    let options = tls.options();
    // OpenSSL's flags for the modes 0 to 3, as memcached shows them.
    let verify_mode = match options.client_auth {
        ClientAuth::None => 0,
        ClientAuth::Requested => 1,
        ClientAuth::Required => 3,
        ClientAuth::RequiredOnce => 7,
    };
    put_stat(out, "ssl_enabled", "yes");
    put_stat(out, "ssl_chain_cert", options.chain.display());
    put_stat(out, "ssl_key", options.key.display());
    put_stat(out, "ssl_verify_mode", verify_mode);
    put_stat(out, "ssl_keyformat", if options.key_format == KeyFormat::Pem { 1 } else { 2 });
    put_stat(out, "ssl_ciphers", options.ciphers.as_deref().unwrap_or("NULL"));
    match &options.authorities {
        Some(path) => put_stat(out, "ssl_ca_cert", path.display()),
        None => put_stat(out, "ssl_ca_cert", "NULL"),
    }
    put_stat(out, "ssl_wbuf_size", u64::from(options.write_buffer_kib) * 1024);
    put_stat(out, "ssl_session_cache", yes_no(options.session_cache));
    put_stat(out, "ssl_kernel_tls", "no");
    put_stat(out, "ssl_min_version", if options.tls12 { "tlsv1.2" } else { "tlsv1.3" });
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Auto => "auto-negotiate",
        Protocol::Ascii => "ascii",
        Protocol::Binary => "binary",
    }
}

const BEFORE_FLUSH: [(&str, &str); 11] = [
    ("hashpower_init", "0"),
    ("slab_reassign", "no"),
    ("slab_automove", "0"),
    ("slab_automove_ratio", "0.80"),
    ("slab_automove_window", "30"),
    ("slab_chunk_max", "524288"),
    ("lru_crawler", "no"),
    ("lru_crawler_sleep", "100"),
    ("lru_crawler_tocrawl", "0"),
    ("tail_repair_time", "0"),
    ("client_flags_size", "4"),
];

const BEFORE_IDLE: [(&str, &str); 9] = [
    ("hash_algorithm", "xxh3"),
    ("lru_maintainer_thread", "no"),
    ("lru_segmented", "no"),
    ("hot_lru_pct", "20"),
    ("warm_lru_pct", "40"),
    ("hot_max_factor", "0.20"),
    ("warm_max_factor", "2.00"),
    ("temp_lru", "no"),
    ("temporary_ttl", "61"),
];

const AFTER_SIZES: [(&str, &str); 1] = [("inline_ascii_response", "no")];

const AFTER_TLS: [(&str, &str); 2] = [("num_napi_ids", "(null)"), ("memory_file", "(null)")];

/// memcached's defaults.
const NO_TLS: [(&str, &str); 11] = [
    ("ssl_enabled", "no"),
    ("ssl_chain_cert", "(null)"),
    ("ssl_key", "(null)"),
    ("ssl_verify_mode", "0"),
    ("ssl_keyformat", "1"),
    ("ssl_ciphers", "NULL"),
    ("ssl_ca_cert", "NULL"),
    ("ssl_wbuf_size", "16384"),
    ("ssl_session_cache", "no"),
    ("ssl_kernel_tls", "no"),
    ("ssl_min_version", "tlsv1.2"),
];
