//! Measures the engine alone: memory for each item, time for each operation.
//!
//! ```text
//! cargo bench -p doled-store --bench engine -- memory
//! cargo bench -p doled-store --bench engine -- mixed
//! cargo bench -p doled-store --bench engine -- mixes DIRECTORY…
//! cargo bench -p doled-store --bench engine -- expiry
//! cargo bench -p doled-store --bench engine -- speed
//! cargo bench -p doled-store --bench engine -- buckets [ITEMS]
//! ```
//! A directory of `mixes` has a `sizes.json` of CacheLib's cachebench.
//! Without an argument nothing is measured, so that a plain `cargo bench` or `cargo test --benches` only shows
//! that it compiles.
#![allow(clippy::print_stdout, reason = "prints its tables")]

use std::time::Instant;

use doled_store::{BUCKET_COUNT, Change, Key, Put, Sought, Store, StoreOptions};
use stdx::{ByteSize, Prng};
use xxhash_rust::xxh3::xxh3_64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["memory"] => memory(),
        ["mixed"] => mixed(),
        ["mixes", ref directories @ ..] => directories.iter().for_each(|directory| mix(directory)),
        ["expiry"] => expiry(),
        ["speed"] => speed(),
        ["buckets"] => buckets(10_000_000),
        ["buckets", count] => buckets(count.parse().expect("a number of items")),
        _ => println!("engine: memory | mixed | mixes DIRECTORY… | expiry | speed | buckets [ITEMS]"),
    }
}

fn store(memory: u64) -> Store {
    let item_size_max = ByteSize::mib(1);
    Store::new(&StoreOptions { memory: ByteSize(memory), item_size_max, evict: true, seed: 7 << 40 })
}

fn key(bytes: &[u8]) -> Key<'_> {
    Key { bytes, hash: xxh3_64(bytes) }
}

fn set(store: &Store, name: &[u8], now_ms: u64, exptime_ms: u64, value: &[u8]) {
    let key = key(name);
    let put = Put { exptime_ms, ..Put::default() };
    let stored =
        store.lock(key.bucket()).put(key, now_ms, &put, value.len(), |bytes, _| bytes.copy_from_slice(value));
    assert!(stored.is_ok(), "{stored:?}");
}

fn rss() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages") * 4096
}

/// Fills a store beyond its memory, with a TTL on every item, and asks what is there and what it takes.
fn memory() {
    const LONG_MS: u64 = 86_400_000;
    let name = |n: u64| format!("key{n:013}").into_bytes();
    println!(
        "memory  value  items     items/MiB limit  items/MiB RSS  overhead B/item (RSS)  payload of RSS"
    );
    for mib in [64, 256, 1024] {
        for len in [32, 100, 300, 1000] {
            let base = rss();
            let store = store(mib << 20);
            let value = vec![b'v'; len as usize];
            let count = (mib << 20) * 3 / 2 / (len + 30);
            (0..count).for_each(|n| set(&store, &name(n), n / 1000, LONG_MS, &value));
            report(&store, &format!("{mib:<7} {len:<6}"), base, mib, 16 + len);
        }
    }
}

/// What is done with whole buckets, each one once, so that nothing of it is in a cache.
fn buckets(item_count: u64) {
    let store = store(8 << 30);
    let value = [b'v'; 32];
    (0..item_count).for_each(|n| set(&store, format!("key{n:013}").as_bytes(), 1, 0, &value));
    let report = |what: &str, times: &mut Vec<u128>| {
        times.sort_unstable();
        let at = |share: usize| times[times.len() * share / 1000] as f64 / 1000.0;
        println!("{what:<24} median {:8.2} µs   p99 {:8.2} µs   p99.9 {:8.2} µs", at(500), at(990), at(999));
    };
    let measure = |what: &str, work: &mut dyn FnMut(usize)| {
        let mut times = Vec::with_capacity(BUCKET_COUNT);
        for bucket in (0..BUCKET_COUNT).map(|n| n * 12_345 % BUCKET_COUNT) {
            let start = Instant::now();
            work(bucket);
            times.push(start.elapsed().as_nanos());
        }
        report(what, &mut times);
    };
    println!("{item_count} items, {} in a bucket", item_count / BUCKET_COUNT as u64);
    let (mut items, mut bytes) = (0, 0);
    measure("scan", &mut |bucket| {
        store.lock(bucket).scan(1, |item| {
            items += 1;
            bytes += item.key.len() + item.value.len();
        });
    });
    measure("export, one step", &mut |bucket| {
        let mut guard = store.lock(bucket);
        let stream = guard.start_export().expect("the first");
        guard
            .export(stream, 1, usize::MAX, |change| items += u64::from(matches!(change, Change::Fill(_))))
            .expect("a stream");
        guard.end_export(stream);
    });
    assert_eq!(items, 2 * item_count);
    measure("wipe", &mut |bucket| store.lock(bucket).wipe());
    println!("{bytes} bytes were met");
}

/// What a log with holes keeps: values of many sizes, overwritten and deleted.
fn mixed() {
    const LONG_MS: u64 = 86_400_000;
    let name = |n: u64| format!("key{n:013}").into_bytes();
    println!(
        "a quarter overwrites, one op in five a delete, sizes 20 B to 8 KiB (log-uniform), four times the memory"
    );
    let mib = 256;
    let base = rss();
    let store = store(mib << 20);
    let mut prng = Prng::new(1);
    let value = vec![b'v'; 8192];
    let (mut written, mut n) = (0, 0);
    let start = Instant::now();
    while written < (mib << 20) * 4 {
        n += 1;
        let len = (20.0 * (8192.0f64 / 20.0).powf(prng.unit())) as usize;
        let back = prng.below(n.min(100_000));
        if prng.chance(1, 5) {
            let name = name(n - back);
            store.lock(key(&name).bucket()).remove(key(&name), n / 1000);
        } else {
            let n = if prng.chance(1, 4) { n - back } else { n };
            set(&store, &name(n), n / 1000, LONG_MS, &value[..len]);
            written += len as u64;
        }
    }
    println!("{:.0} ns for each operation", start.elapsed().as_nanos() as f64 / n as f64);
    let (payload, items) = live(&store, n / 1000);
    report(&store, &format!("{mib:<7} mixed "), base, mib, payload / items.max(1));
}

/// Lengths of values, with the sum of the shares up to each.
fn sizes(directory: &str) -> Vec<(f64, f64, f64)> {
    let text = std::fs::read_to_string(format!("{directory}/sizes.json")).expect("sizes.json");
    let list = |name: &str| -> Vec<f64> {
        let after = text.split(&format!("\"{name}\"")).nth(1).expect("both lists are there");
        let inside = after.split(['[', ']']).nth(1).expect("a list");
        inside.split(',').map(|number| number.trim().parse().expect("a number")).collect()
    };
    let (bounds, shares) = (list("valSizeRange"), list("valSizeRangeProbability"));
    let mut sum = 0.0;
    bounds
        .iter()
        .zip(bounds.iter().skip(1))
        .zip(shares)
        .map(|((from, to), share)| {
            sum += share;
            (*from, *to, sum)
        })
        .collect()
}

/// Values of a production's sizes, all memory overwritten three times: first new keys only, then with one write
/// in five to a key that is there and one operation in five a delete.
fn mix(directory: &str) {
    const LONG_MS: u64 = 86_400_000;
    let sizes = sizes(directory);
    let total = sizes.last().expect("not empty").2;
    let mib = 256;
    let value = vec![b'v'; 1 << 20];
    println!("{directory}");
    for holes in [false, true] {
        let base = rss();
        let store = store(mib << 20);
        let name = |n: u64| format!("key{n:021}").into_bytes();
        let mut prng = Prng::new(5);
        let (mut written, mut n) = (0, 0u64);
        while written < (mib << 20) * 4 {
            let at = prng.unit() * total;
            let (from, to, _) = sizes[sizes.partition_point(|(_, _, sum)| *sum < at).min(sizes.len() - 1)];
            let len = ((from + (to - from) * prng.unit()) as usize).min(value.len() - 200);
            let old = n - prng.below(n.clamp(1, 100_000));
            if holes && prng.chance(1, 5) {
                let name = name(old);
                store.lock(key(&name).bucket()).remove(key(&name), n / 1000);
                continue;
            }
            if holes && prng.chance(1, 5) {
                set(&store, &name(old), n / 1000, LONG_MS, &value[..len]);
            } else {
                n += 1;
                set(&store, &name(n), n / 1000, LONG_MS, &value[..len]);
            }
            written += len as u64;
        }
        let (payload, items) = live(&store, n / 1000);
        report(
            &store,
            if holes { "  holes        " } else { "  new keys     " },
            base,
            mib,
            payload / items.max(1),
        );
    }
}

/// Bytes of keys and values, and how many items.
fn live(store: &Store, now_ms: u64) -> (u64, u64) {
    let (mut payload, mut items) = (0, 0);
    for bucket in 0..BUCKET_COUNT {
        store.lock(bucket).scan(now_ms, |item| {
            payload += (item.key.len() + item.value.len()) as u64;
            items += 1;
        });
    }
    (payload, items)
}

/// Items of three lifetimes, mixed, fill most of the memory at once. Two seconds after the first of them expired
/// come as many new ones: that memory must do for them, so no live item may go.
fn expiry() {
    println!(
        "lifetimes of 60, 300 and 3600 s in equal parts, 100 B; evicted and reclaimed while as many come as expired"
    );
    for mib in [8, 16, 64, 256] {
        let store = store(mib << 20);
        let count = (mib << 20) / 165;
        let put = |n: u64, now_ms: u64, seconds: u64| {
            set(&store, &name_of("ttl", n), now_ms, now_ms + seconds * 1000, &[b'v'; 100]);
        };
        // At an even pace, within five seconds.
        (0..count).for_each(|n| put(n, n * 5000 / count, [60, 300, 3600][(n % 3) as usize]));
        print!("{mib:>4} MiB");
        for (after, expired) in [(60, 1), (300, 2)] {
            store.reset_stats();
            let now_ms = (after + 7) * 1000;
            let before = live(&store, now_ms).1;
            (0..count / 3).for_each(|n| put(count * expired + n, now_ms, 3600));
            let stats = store.stats();
            let lost = before + count / 3 - live(&store, now_ms).1;
            print!(
                "; at {after} s {} evicted, {} reclaimed, {lost} of {before} lost",
                stats.evictions, stats.reclaimed
            );
        }
        println!();
    }
}

fn report(store: &Store, head: &str, base: u64, mib: u64, payload: u64) {
    let stats = store.stats();
    let rss = rss();
    // The process itself counts too: as large as it was, but not what earlier rows left behind.
    let rss = rss - base + base.min(4 << 20);
    println!(
        "{head} {:<9} {:<16} {:<14} {:<22.1} {:.1} %   (used {} MiB, of that items and index {:.1} %, RSS {} MiB)",
        stats.items,
        stats.items / mib,
        (stats.items << 20) / rss,
        rss as f64 / stats.items as f64 - payload as f64,
        (stats.items * payload) as f64 * 100.0 / rss as f64,
        stats.memory_used >> 20,
        stats.bytes as f64 * 100.0 / stats.memory_used as f64,
        rss >> 20,
    );
}

fn speed() {
    for (count, len) in [(100_000, 100), (2_000_000, 100), (100_000, 1000)] {
        let store = store(1 << 30);
        let value = vec![b'v'; len];
        (0..count).for_each(|n| set(&store, &name_of("key", n), 0, 0, &value));
        // In the order of use, as requests come in.
        let mut prng = Prng::new(3);
        let order: Vec<u64> = (0..1_000_000).map(|_| prng.below(count)).collect();
        let names: Vec<[u8; 16]> = order.iter().map(|n| name_of("key", *n)).collect();
        let absent: Vec<[u8; 16]> = order.iter().map(|n| name_of("abs", *n)).collect();
        println!("{count} items of {len} B, ns for each, one thread, hash included");
        let mut sum = 0;
        let mut read = |sought: Sought<'_>| {
            sum += store.get(sought, 1, true, |item| item.value[0] as usize).unwrap_or(0);
        };
        for round in 0..2 {
            let hits = time(&names, |name| read(key(name).into()));
            let misses = time(&absent, |name| read(key(name).into()));
            let batches = time_batches(&names, 16, |batch| {
                let mut sought: [Sought<'_>; 16] = std::array::from_fn(|n| key(&batch[n]).into());
                store.prefetch(&mut sought);
                sought.iter().for_each(|sought| read(*sought));
            });
            let sets = time(&names, |name| set(&store, name, 1, 0, &value));
            let set_batches = time_batches(&names, 16, |batch| {
                let mut sought: [Sought<'_>; 16] = std::array::from_fn(|n| key(&batch[n]).into());
                store.prefetch(&mut sought);
                batch.iter().for_each(|name| set(&store, name, 1, 0, &value));
            });
            if round > 0 {
                println!(
                    "  get hit {hits:.0}, miss {misses:.0}, overwrite {sets:.0}; in batches of 16: hit {batches:.0}, overwrite {set_batches:.0}"
                );
            }
        }
        assert!(sum > 0);
        let threads = |threads: usize| {
            let run = &|thread: usize| {
                let (late, early) = names.split_at(thread * names.len() / 2);
                let start = cpu_ns();
                early.iter().chain(late).for_each(|name| set(&store, name, 1, 0, &value));
                (cpu_ns() - start) / names.len() as f64
            };
            std::thread::scope(|scope| {
                let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || run(n))).collect();
                running.into_iter().map(|thread| thread.join().expect("ran")).sum::<f64>() / threads as f64
            })
        };
        println!("  overwrite by one thread {:.0}, by two at once {:.0} each", threads(1), threads(2));
        let full = self::store(64 << 20);
        let start = cpu_ns();
        (0..3_000_000u64).for_each(|n| set(&full, &name_of("new", n), 0, 0, &value));
        println!("  set of a new key into a full store {:.0}", (cpu_ns() - start) / 3e6);
        let start = cpu_ns();
        (0..doled_store::BUCKET_COUNT).for_each(|bucket| store.lock(bucket).wipe());
        println!("  wipe of a bucket {:.0}", (cpu_ns() - start) / 32768.0);
    }
    latency();
    scan();
}

/// The slowest writes into a full store: nobody should pay for a whole segment.
fn latency() {
    let store = store(256 << 20);
    let mut times: Vec<u64> = Vec::new();
    for n in 0..4_000_000u64 {
        let name = format!("new{n:013}");
        let start = Instant::now();
        set(&store, name.as_bytes(), 0, 0, &[b'v'; 100]);
        if n > 2_500_000 {
            times.push(start.elapsed().as_nanos() as u64);
        }
    }
    times.sort_unstable();
    let at = |share: f64| times[(times.len() as f64 * share) as usize];
    println!(
        "set into a full store: p50 {} p99 {} p99.9 {} p99.99 {} ns",
        at(0.5),
        at(0.99),
        at(0.999),
        at(0.9999)
    );
}

fn scan() {
    let store = store(2 << 30);
    (0..10_000_000u64).for_each(|n| set(&store, format!("key{n:013}").as_bytes(), 0, 0, &[b'v'; 32]));
    let (start, mut count) = (Instant::now(), 0u64);
    for bucket in 0..1000 {
        store.lock(bucket * 32).scan(0, |item| count += u64::from(item.value[0] == b'v'));
    }
    let each = start.elapsed().as_nanos() as f64 / 1000.0 / 1000.0;
    println!("scan of a bucket of {} items among {}: {each:.1} us", count / 1000, store.stats().items);
}

/// CPU time of this thread: others use the machine as well.
fn cpu_ns() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

fn time(names: &[[u8; 16]], mut run: impl FnMut(&[u8; 16])) -> f64 {
    let start = cpu_ns();
    names.iter().for_each(&mut run);
    (cpu_ns() - start) / names.len() as f64
}

fn time_batches(names: &[[u8; 16]], len: usize, run: impl FnMut(&[[u8; 16]])) -> f64 {
    let start = cpu_ns();
    names.chunks(len).for_each(run);
    (cpu_ns() - start) / names.len() as f64
}

fn name_of(head: &str, n: u64) -> [u8; 16] {
    let text = format!("{head}{n:013}");
    *text.as_bytes().first_chunk().expect("sixteen bytes")
}
