//! Section hits: misses of both servers on the same traces, at equal item count and at equal memory.

use anyhow::{Context, Result};
use bench::{ReplayOptions, ReplayReport, Sizes, Ttl, replay};
use serde_json::json;

use crate::client::Client;
use crate::memory::{Full, capacity, mib};
use crate::report::{Section, Table};
use crate::server::{Programs, Rival, Server, Setup};
use crate::trace::Keys;
use crate::{NodeArgs, Scale};

/// Cache size at equal memory, and value lengths there.
const RSS_SHARE: f64 = 0.1;
const RSS_VALUES: &[usize] = &[100, 300];

/// Caches of fewer items are made larger by copies of the trace.
const ITEMS_MIN: f64 = 2000.0;

/// Copies of a trace at most.
const COPIES_MAX: f64 = 16.0;

/// What memcached spends on an item besides its value, bytes: with a 16-byte key and size classes. Only a first guess.
const ITEM_OVERHEAD: usize = 90;

/// Keys of a get in a replay.
const BATCH: u32 = 16;

/// Search for the memory that holds as much as memcached's: steps at most, and how near is near enough.
const SEARCH_STEPS: u32 = 8;
const SEARCH_NEAR: f64 = 0.003;

/// Measures the whole section.
pub(crate) fn run(programs: &Programs, scale: &Scale, args: &NodeArgs) -> Result<Section> {
    let files = args.traces();
    eprintln!("    reading traces");
    let traces = if files.is_empty() {
        Keys::generated(scale.requests)
    } else {
        files.iter().map(|file| Keys::read(file, scale.requests)).collect::<Result<_>>()?
    };
    let mut section = Section::default();
    equal_items(programs, scale, &traces, &mut section)?;
    equal_memory(programs, scale, &traces, &mut section)?;
    Ok(section)
}

/// A replay of both.
struct Pair {
    doled: Outcome,
    memcached: Outcome,
}

struct Outcome {
    report: ReplayReport,
    items: u64,
    rss_kib: u64,
}

impl Pair {
    /// Misses more than memcached's, per cent.
    fn difference(&self) -> f64 {
        let misses = |outcome: &Outcome| outcome.report.misses.max(1) as f64;
        (misses(&self.doled) / misses(&self.memcached) - 1.0) * 100.0
    }

    fn raw(&self, case: &str, name: &str, size: &Size) -> serde_json::Value {
        let of = |outcome: &Outcome, memory: u64| {
            json!({
                "memory_kib": memory, "items": outcome.items, "rss_kib": outcome.rss_kib,
                "gets": outcome.report.gets, "misses": outcome.report.misses, "errors": outcome.report.errors,
                "per_second": outcome.report.requests_per_second.round(),
                "cpu_us": outcome.report.server_cpu_us_per_request,
            })
        };
        json!({
            "case": case, "trace": name, "value": size.value, "copies": size.copies,
            "doled": of(&self.doled, size.doled_kib), "memcached": of(&self.memcached, size.memcached_kib),
        })
    }
}

/// A cache of both servers.
struct Size {
    value: usize,
    copies: u32,
    doled_kib: u64,
    memcached_kib: u64,
}

fn equal_items(programs: &Programs, scale: &Scale, traces: &[Keys], section: &mut Section) -> Result<()> {
    let mut table = Table::new(
        "Misses at equal item count",
        "Get, then set on a miss; one value length for a trace. memcached gets the memory for about that share of the \
         trace's keys; doled's `-m` is then searched so that it holds as many items as memcached when both are filled \
         with different keys. Items are counted again after the replay. Small caches are made larger by replaying \
         copies of the trace over different keys. Asked: 6 % fewer misses on average, never more than 5 % more on one.",
        &[
            "trace, cache of its keys",
            "items doled",
            "items memcached",
            "miss ratio doled",
            "memcached",
            "misses",
        ],
    );
    let mut differences = Vec::new();
    for trace in traces {
        for share in scale.shares {
            let items = trace.unique as f64 * share;
            let budget = (scale.requests as f64 / trace.keys.len() as f64).floor().max(1.0);
            let copies = (ITEMS_MIN / items).ceil().min(budget).clamp(1.0, COPIES_MAX) as u32;
            let held = items * f64::from(copies);
            let value = (scale.cache_min / held).clamp(100.0, 12_000.0) as usize;
            let memcached_kib = memcached_kib(held, value);
            let target = capacity(programs, Rival::Memcached, memcached_kib, value)?;
            let doled_kib = search(programs, memcached_kib, value, target.items, |full| full.items)?;
            let size = Size { value, copies, doled_kib, memcached_kib };
            let pair = both(programs, trace, &size)?;
            section.raw(pair.raw("equal items", &trace.name, &size));
            differences.push(pair.difference());
            table.row(vec![
                format!(
                    "{}, {:.0} %",
                    trace.name,
                    target.items as f64 / f64::from(copies) / trace.unique as f64 * 100.0
                ),
                pair.doled.items.to_string(),
                pair.memcached.items.to_string(),
                format!("{:.4}", pair.doled.report.miss_ratio),
                format!("{:.4}", pair.memcached.report.miss_ratio),
                format!("{:+.1} %", pair.difference()),
            ]);
        }
    }
    summary(&mut table, &differences);
    section.table(table);
    Ok(())
}

fn equal_memory(programs: &Programs, scale: &Scale, traces: &[Keys], section: &mut Section) -> Result<()> {
    let mut table = Table::new(
        "Misses at equal memory",
        "As above, but doled's `-m` is searched so that a full server's RSS, less that of an empty one, is memcached's. \
         Asked: 12 % fewer misses for small and medium items.",
        &["trace, value", "items doled", "items memcached", "RSS doled, MiB", "memcached", "misses"],
    );
    let mut differences = Vec::new();
    for trace in traces {
        for &value in RSS_VALUES {
            let wanted = scale.cache_min / (trace.unique as f64 * RSS_SHARE * (value + ITEM_OVERHEAD) as f64);
            let copies = wanted.ceil().clamp(1.0, COPIES_MAX) as u32;
            // Half the requests are enough here; copies count.
            let part = trace.first(scale.requests / 2 / u64::from(copies));
            let held = part.unique as f64 * RSS_SHARE * f64::from(copies);
            let memcached_kib = memcached_kib(held, value);
            let target = capacity(programs, Rival::Memcached, memcached_kib, value)?;
            let doled_kib = search(programs, memcached_kib, value, target.rss_kib, |full| full.rss_kib)?;
            let size = Size { value, copies, doled_kib, memcached_kib };
            let pair = both(programs, &part, &size)?;
            section.raw(pair.raw("equal memory", &trace.name, &size));
            differences.push(pair.difference());
            table.row(vec![
                format!("{}, {value} B", trace.name),
                pair.doled.items.to_string(),
                pair.memcached.items.to_string(),
                mib(pair.doled.rss_kib),
                mib(pair.memcached.rss_kib),
                format!("{:+.1} %", pair.difference()),
            ]);
        }
    }
    summary(&mut table, &differences);
    section.table(table);
    Ok(())
}

fn summary(table: &mut Table, differences: &[f64]) {
    let mean = differences.iter().sum::<f64>() / differences.len().max(1) as f64;
    let worst = differences.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let empty = String::new;
    table.row(vec!["**mean**".to_owned(), empty(), empty(), empty(), empty(), format!("**{mean:+.1} %**")]);
    table.row(vec!["worst".to_owned(), empty(), empty(), empty(), empty(), format!("{worst:+.1} %")]);
}

/// Whole MiB, since memcached knows no others.
fn memcached_kib(items: f64, value: usize) -> u64 {
    let bytes = items * (value + value / 10 + ITEM_OVERHEAD) as f64;
    ((bytes / f64::from(1 << 20)).ceil() as u64).max(8) << 10
}

/// The `-m` of doled at which `measure` is what memcached has. What a server holds grows about as its memory does.
fn search(
    programs: &Programs,
    start_kib: u64,
    value: usize,
    target: u64,
    measure: impl Fn(Full) -> u64,
) -> Result<u64> {
    let (mut kib, mut best) = (start_kib, (f64::INFINITY, start_kib));
    for _ in 0..SEARCH_STEPS {
        let found = measure(capacity(programs, Rival::Doled, kib, value)?);
        let ratio = target as f64 / found.max(1) as f64;
        if (ratio - 1.0).abs() < best.0 {
            best = ((ratio - 1.0).abs(), kib);
        }
        if best.0 < SEARCH_NEAR {
            break;
        }
        // At least 4 MiB: a server refuses less than two items of the largest size.
        kib = ((kib as f64 * ratio.clamp(0.2, 5.0)) as u64).max(4 << 10);
    }
    Ok(best.1)
}

fn both(programs: &Programs, trace: &Keys, size: &Size) -> Result<Pair> {
    Ok(Pair {
        doled: one(programs, trace, size, Rival::Doled, size.doled_kib)?,
        memcached: one(programs, trace, size, Rival::Memcached, size.memcached_kib)?,
    })
}

fn one(programs: &Programs, trace: &Keys, size: &Size, rival: Rival, memory_kib: u64) -> Result<Outcome> {
    let server = Server::start(programs, &Setup { memory_kib, ..Setup::new(rival, 0) })?;
    let options = ReplayOptions {
        target: server.target(),
        batch: BATCH,
        value_size: Sizes::Fixed(size.value),
        ttl: Ttl::Fixed(0),
        requests: None,
        server_pids: vec![server.pid()],
        cpu: Some(1),
    };
    // In a thread of its own: a replay pins its thread.
    let report = std::thread::scope(|scope| {
        let thread = scope.spawn(|| replay(&options, trace.requests(size.copies), |_| {}));
        thread.join().expect("a replay does not panic")
    });
    let report = report.with_context(|| format!("{} of {}", rival.name(), trace.name))?;
    let items = Client::connect(&server)?.stat("curr_items")?;
    Ok(Outcome { report, items, rss_kib: server.rss_kib()? })
}
