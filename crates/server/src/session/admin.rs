//! What is not about single keys: flush_all, stats, version, verbosity, cache_memlimit, shutdown, lru_crawler,
//! refresh_certs, config get, mn, and the managed words that have a reply.

use proto::meta::{MetaCode, MetaLine};
use proto::reply::text;
use proto::reply::{put_config, put_version};
use proto::request::{CacheMemlimit, FlushAll, LruCrawler, Request, ShutdownMode};

use super::dump::put_end;
use super::{Session, Step, answer, managed};
use crate::engine::Context;
use crate::exptime::to_store_ms;
use crate::limits::{MEMORY_MAX_MIB, MEMORY_MIN_MIB, VERBOSITY_MAX};
use crate::managed::Managed;
use crate::stop::StopReason;
use crate::tls::Tls;
use crate::{VERSION, stats};

impl Session {
    pub(super) fn other(
        &mut self,
        cx: &Context<'_>,
        request: &Request<'_>,
        line_len: usize,
        out: &mut Vec<u8>,
    ) -> Step {
        match request {
            Request::Quit => return Step::Quit(line_len),
            Request::Watch(_) if self.datagram => out.extend_from_slice(text::ERROR),
            Request::Watch(watch) => {
                self.watch(cx, *watch, out);
                return Step::Pause(line_len);
            }
            Request::Shutdown(shutdown) => return shutdown_node(cx, shutdown.mode, line_len, out),
            Request::FlushAll(flush) => flush_all(cx, *flush, out),
            // What looks at all items, and what has no end.
            Request::Stats(args) if self.datagram && stats::is_scan(cx, args.args) => {
                out.extend_from_slice(text::ERROR);
            }
            Request::Stats(args) if stats::is_sizes(cx, args.args) => return self.sizes(cx, line_len, out),
            Request::Stats(args) => stats::write(cx, args.args, out),
            Request::Version => put_version(out, VERSION),
            Request::Verbosity(verbosity) => {
                cx.engine.set_verbosity(verbosity.level.min(VERBOSITY_MAX));
                answer(out, verbosity.noreply, text::OK);
            }
            Request::CacheMemlimit(limit) => cache_memlimit(cx, *limit, out),
            Request::RefreshCerts { noreply } => refresh_certs(cx, *noreply, out),
            Request::Own(own) => self.own(cx, *own, out),
            Request::Disown(bucket) => self.disown(cx, *bucket, out),
            Request::Clock => with_managed(cx, out, |managed, out| managed::clock(cx, managed, out)),
            Request::Node => with_managed(cx, out, managed::node),
            Request::Map(held) => with_managed(cx, out, |managed, out| managed::map(managed, *held, out)),
            Request::Tune(reply) => out.extend_from_slice(reply),
            Request::LruCrawler(LruCrawler::Background) => out.extend_from_slice(text::OK),
            Request::LruCrawler(LruCrawler::Dump { format, class_1: true }) => {
                return self.dump(cx, *format, line_len, out);
            }
            Request::LruCrawler(LruCrawler::Dump { format, class_1: false }) => put_end(*format, out),
            Request::DebugTime(seconds) => return debug_time(cx, *seconds, line_len, out),
            Request::ConfigGet(what) => config_get(cx, what, out),
            Request::Mn => MetaLine::start(out, MetaCode::Mn).end(),
            // Everything else has keys and is executed by the caller.
            _ => out.extend_from_slice(text::ERROR),
        }
        Step::Done(line_len)
    }
}

impl Session {
    /// Goes on over many turns, as a dump does.
    fn sizes(&mut self, cx: &Context<'_>, line_len: usize, out: &mut Vec<u8>) -> Step {
        if self.sizes.get_or_insert_default().advance(cx, out) {
            self.sizes = None;
            return Step::Done(line_len);
        }
        Step::Full
    }
}

fn with_managed(cx: &Context<'_>, out: &mut Vec<u8>, write: impl FnOnce(&Managed, &mut Vec<u8>)) {
    match &cx.engine.managed {
        Some(managed) => write(managed, out),
        None => out.extend_from_slice(text::ERROR),
    }
}

/// Allowed without a claim on a managed node too: dropping items is always right.
fn flush_all(cx: &Context<'_>, flush: FlushAll, out: &mut Vec<u8>) {
    if !cx.engine.options.flush_enabled {
        return answer(out, flush.noreply, text::FLUSH_ALL_NOT_ALLOWED);
    }
    flush_at(cx, flush.exptime);
    answer(out, flush.noreply, text::OK);
}

/// Flushes when the exptime says so, at once where it is zero or over.
pub(super) fn flush_at(cx: &Context<'_>, exptime: i64) {
    cx.counters.cmd_flush.count();
    let at_ms = to_store_ms(exptime, &cx.now);
    if at_ms <= cx.now.store_ms {
        cx.engine.flush.now(&cx.engine.store);
    } else {
        cx.engine.flush.later(at_ms);
    }
}

fn cache_memlimit(cx: &Context<'_>, limit: CacheMemlimit, out: &mut Vec<u8>) {
    let reply = match limit.limit_mb {
        ..MEMORY_MIN_MIB => text::MEMLIMIT_TOO_SMALL,
        MEMORY_MIN_MIB..=MEMORY_MAX_MIB => {
            cx.engine.set_memory_mib(limit.limit_mb);
            text::OK
        }
        _ => text::MEMLIMIT_NOT_BYTES,
    };
    answer(out, limit.noreply, reply);
}

/// The files are small, and whoever may ask for this is an operator: they are read here and now.
fn refresh_certs(cx: &Context<'_>, noreply: bool, out: &mut Vec<u8>) {
    match cx.engine.options.tls.as_ref().map(Tls::reload) {
        None => answer(out, noreply, text::TLS_NOT_ENABLED),
        Some(Ok(_)) => answer(out, noreply, text::OK),
        Some(Err(error)) => answer(out, noreply, format!("Error {error}\r\n").as_bytes()),
    }
}

/// What was received behind the command is handled with the new time.
fn debug_time(cx: &Context<'_>, seconds: Option<u64>, line_len: usize, out: &mut Vec<u8>) -> Step {
    if !cx.engine.options.debug_time_enabled {
        out.extend_from_slice(text::ERROR);
        return Step::Done(line_len);
    }
    let is_done = seconds.is_some_and(|seconds| cx.engine.add_debug_time(seconds, cx.now.store_ms));
    out.extend_from_slice(if is_done { text::OK } else { text::BAD_FORMAT });
    Step::Pause(line_len)
}

/// The list of nodes for clients that ask for one; a node that has none is a memcached, which has no such word.
fn config_get(cx: &Context<'_>, what: &[u8], out: &mut Vec<u8>) {
    match (&cx.engine.options.discovery, what) {
        (None, _) => out.extend_from_slice(text::ERROR),
        (Some(discovery), b"cluster") => discovery.read(|version, nodes| put_config(out, version, nodes)),
        (Some(_), _) => out.extend_from_slice(text::END),
    }
}

fn shutdown_node(cx: &Context<'_>, mode: ShutdownMode, line_len: usize, out: &mut Vec<u8>) -> Step {
    if !cx.engine.options.shutdown_enabled {
        out.extend_from_slice(text::SHUTDOWN_NOT_ENABLED);
        return Step::Done(line_len);
    }
    match mode {
        ShutdownMode::Unknown => {
            out.extend_from_slice(text::INVALID_SHUTDOWN_MODE);
            Step::Done(line_len)
        }
        ShutdownMode::Now => {
            cx.engine.stop.stop_for(StopReason::Command);
            Step::Close(line_len)
        }
        ShutdownMode::Graceful => {
            cx.engine.stop.stop_gracefully();
            Step::Close(line_len)
        }
    }
}
