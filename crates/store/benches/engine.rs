//! Measures the engine alone: memory for each item, time for each operation, hits over a trace.
//!
//! ```text
//! cargo bench -p doled-store --bench engine -- memory
//! cargo bench -p doled-store --bench engine -- mixed
//! cargo bench -p doled-store --bench engine -- speed
//! cargo bench -p doled-store --bench engine -- buckets [ITEMS]
//! cargo bench -p doled-store --bench engine -- trace FILE [i32|i64|oltp]
//! ```
//! A trace file may be compressed (`.xz`, `.zst`: the tools must be installed). Without an argument nothing is
//! measured, so that a plain `cargo bench` or `cargo test --benches` only shows that it compiles.
#![allow(clippy::print_stdout, reason = "prints its tables")]

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Read};
use std::process::{Command, Stdio};
use std::time::Instant;

use doled_store::{BUCKET_COUNT, Change, Key, Put, Store, StoreOptions};
use stdx::{ByteSize, Prng};
use xxhash_rust::xxh3::xxh3_64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["memory"] => memory(),
        ["mixed"] => mixed(),
        ["speed"] => speed(),
        ["buckets"] => buckets(10_000_000),
        ["buckets", count] => buckets(count.parse().expect("a number of items")),
        ["trace", path] => trace(path, "i64"),
        ["trace", path, format] => trace(path, format),
        _ => println!("engine: memory | mixed | speed | buckets [ITEMS] | trace FILE [i32|i64|oltp]"),
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
    let (mut payload, mut items) = (0, 0);
    for bucket in 0..doled_store::BUCKET_COUNT {
        store.lock(bucket).scan(n / 1000, |item| {
            payload += (item.key.len() + item.value.len()) as u64;
            items += 1;
        });
    }
    report(&store, &format!("{mib:<7} mixed "), base, mib, payload / items.max(1));
}

fn report(store: &Store, head: &str, base: u64, mib: u64, payload: u64) {
    let stats = store.stats();
    let rss = rss();
    // The process itself counts too: as large as it was, but not what earlier rows left behind.
    let rss = rss - base + base.min(4 << 20);
    println!(
        "{head} {:<9} {:<16} {:<14} {:<22.1} {:.1} %   (used {} MiB, RSS {} MiB)",
        stats.items,
        stats.items / mib,
        (stats.items << 20) / rss,
        rss as f64 / stats.items as f64 - payload as f64,
        (stats.items * payload) as f64 * 100.0 / rss as f64,
        stats.memory_used >> 20,
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
        let mut read = |name: &[u8]| {
            sum += store.get(key(name), 1, true, |item| item.value[0] as usize).unwrap_or(0);
        };
        for round in 0..2 {
            let hits = time(&names, |name| read(name));
            let misses = time(&absent, |name| read(name));
            let batches = time_batches(&names, 16, |batch| {
                store.prefetch(batch.iter().map(|name| key(name)));
                batch.iter().for_each(|name| read(name));
            });
            let sets = time(&names, |name| set(&store, name, 1, 0, &value));
            let set_batches = time_batches(&names, 16, |batch| {
                store.prefetch(batch.iter().map(|name| key(name)));
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

/// Get, then set on a miss; the models get as many items as the store held.
fn trace(path: &str, format: &str) {
    let keys = read_trace(path, format);
    let unique = keys.iter().collect::<std::collections::BTreeSet<_>>().len();
    println!("{} requests, {unique} keys", keys.len());
    println!("share   items    store    LRU      memcached  misses against memcached");
    let value = [b'v'; 400];
    for share in [0.01, 0.03, 0.1, 0.3] {
        let store = store((unique as f64 * share * 460.0 * 1.06) as u64);
        let (mut misses, mut held, mut looks) = (0, 0, 0);
        for (n, request) in keys.iter().enumerate() {
            let name = format!("{request:016x}");
            if store.get(key(name.as_bytes()), n as u64, true, |_| ()).is_err() {
                misses += 1;
                set(&store, name.as_bytes(), n as u64, 0, &value);
            }
            if n > keys.len() / 4 && n % 1000 == 0 {
                held += store.stats().items;
                looks += 1;
            }
        }
        let items = (held / looks).max(16) as usize;
        let mine = misses as f64 / keys.len() as f64;
        let lru = Lru::misses(&keys, items);
        let memcached = Segmented::misses(&keys, items);
        let change = (mine / memcached - 1.0) * 100.0;
        println!("{share:<7} {items:<8} {mine:.4}   {lru:.4}   {memcached:.4}     {change:+.1} %");
    }
}

fn read_trace(path: &str, format: &str) -> Vec<u64> {
    let tool = match path.rsplit('.').next() {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => "cat",
    };
    let mut command = Command::new(tool);
    if tool != "cat" {
        command.arg("-dc");
    }
    let mut child = command.arg(path).stdout(Stdio::piped()).spawn().expect("the tool is installed");
    let mut output = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut keys = Vec::new();
    if format == "oltp" {
        for line in output.lines() {
            let line = line.expect("text");
            let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().expect("a number"));
            let (start, count) = (numbers.next().expect("start"), numbers.next().expect("count"));
            keys.extend(start..start + count);
        }
    } else {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).expect("readable");
        let wide = if format == "i32" { 4 } else { 8 };
        keys.extend(
            bytes.chunks_exact(wide).map(|key| key.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))),
        );
    }
    assert!(child.wait().expect("ended").success() && !keys.is_empty(), "{path} is a trace");
    keys
}

/// Plain LRU.
#[derive(Default)]
struct Lru {
    order: BTreeMap<u64, u64>,
    stamps: HashMap<u64, u64>,
    clock: u64,
}

impl Lru {
    fn misses(keys: &[u64], capacity: usize) -> f64 {
        let mut lru = Self::default();
        let mut misses = 0;
        for key in keys {
            misses += u64::from(!lru.stamps.contains_key(key));
            lru.put(*key);
            if lru.stamps.len() > capacity {
                lru.pop();
            }
        }
        misses as f64 / keys.len() as f64
    }

    fn put(&mut self, key: u64) {
        self.clock += 1;
        if let Some(old) = self.stamps.insert(key, self.clock) {
            self.order.remove(&old);
        }
        self.order.insert(self.clock, key);
    }

    fn take(&mut self, key: u64) -> bool {
        self.stamps.remove(&key).is_some_and(|stamp| self.order.remove(&stamp).is_some())
    }

    fn pop(&mut self) -> Option<u64> {
        let (_, key) = self.order.pop_first()?;
        self.stamps.remove(&key);
        Some(key)
    }
}

/// memcached's HOT, WARM and COLD queues: 20 % and 40 % at most; two uses make an item active.
#[derive(Default)]
struct Segmented {
    queues: [Lru; 3],
    uses: HashMap<u64, u8>,
}

const HOT: usize = 0;
const WARM: usize = 1;
const COLD: usize = 2;

impl Segmented {
    fn misses(keys: &[u64], capacity: usize) -> f64 {
        let mut cache = Self::default();
        let mut misses = 0;
        for key in keys {
            match cache.uses.get_mut(key) {
                Some(uses) => {
                    *uses = (*uses + 1).min(2);
                    if *uses == 2 && cache.queues[COLD].take(*key) {
                        cache.uses.insert(*key, 1);
                        cache.queues[WARM].put(*key);
                    }
                }
                None => {
                    misses += 1;
                    while cache.uses.len() >= capacity {
                        cache.evict(capacity);
                    }
                    cache.uses.insert(*key, 0);
                    cache.queues[HOT].put(*key);
                }
            }
            cache.juggle(capacity);
        }
        misses as f64 / keys.len() as f64
    }

    /// Moves the tails of HOT and WARM on while these are over their shares.
    fn juggle(&mut self, capacity: usize) {
        for (queue, share) in [(HOT, 20), (WARM, 40)] {
            while self.queues[queue].stamps.len() * 100 > capacity * share {
                let Some(key) = self.queues[queue].pop() else { break };
                let active = self.uses.get(&key) == Some(&2);
                if active {
                    self.uses.insert(key, 1);
                }
                self.queues[if active { WARM } else { COLD }].put(key);
            }
        }
    }

    fn evict(&mut self, capacity: usize) {
        self.juggle(capacity);
        let key = [COLD, WARM, HOT].into_iter().find_map(|queue| self.queues[queue].pop());
        self.uses.remove(&key.expect("a full cache has items"));
    }
}
