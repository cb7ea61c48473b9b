//! Hits over a trace of keys: the store against policies that are ideal in that they keep exactly so many items.
//!
//! ```text
//! cargo bench -p doled-store --bench hits -- FILE:FORMAT… [value LEN] [shares 0.01,0.1]
//! cargo bench -p doled-store --bench hits -- FILE:FORMAT… [value LEN] real memcached mib 8,64
//! ```
//! Formats: `i32`, `i64` (big-endian keys) and `oltp`; files may be compressed (`.xz`, `.zst`: the tools must be
//! installed). `zipf`, `zipf-drift`, `scans` and `loop` are made here. Each request is a get, and a set on a
//! miss. All policies get as many items as the store held on average. With `real` the server of that name runs
//! with so much memory, and the store gets first as many items as it held, then as much memory as it took.
//! Without an argument nothing is measured.
#![allow(clippy::print_stdout, reason = "prints its tables")]

mod policies;
mod real;
mod trace;

use doled_store::{Key, Put, Store, StoreOptions};
use stdx::ByteSize;
use xxhash_rust::xxh3::xxh3_64;

use crate::policies::POLICIES;
use crate::real::Memcached;
use crate::trace::Trace;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let option = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let value = option("value").map_or(400, |len| len.parse().expect("a length"));
    let shares = option("shares").map_or("0.01,0.03,0.1,0.3", String::as_str);
    let shares: Vec<f64> = shares.split(',').map(|share| share.parse().expect("a share")).collect();
    let is_option = |word: &String| ["value", "shares", "real", "mib"].contains(&word.as_str());
    let end = words.iter().position(is_option).unwrap_or(words.len());
    for word in &words[..end] {
        let (name, format) = word.split_once(':').unwrap_or((word, "i64"));
        let trace = Trace::open(name, format);
        println!("{name}: {} requests, {} keys, values of {value} B", trace.keys.len(), trace.unique);
        match option("real") {
            None => table(&trace, value, &shares),
            Some(program) => {
                let sizes = option("mib").map_or("64", String::as_str);
                let sizes = sizes.split(',').map(|mib| mib.parse().expect("MiB"));
                against(program, &trace, value, sizes);
            }
        }
    }
}

/// What the process takes besides the store's memory.
const PROCESS_BYTES: u64 = 7 << 20;

fn against(program: &str, trace: &Trace, value: usize, sizes: impl Iterator<Item = u64>) {
    println!(
        "-m     items    misses   model    | store: items   misses          | equal RSS: MiB  items    misses"
    );
    for mib in sizes {
        let real = Memcached::start(program, mib).replay(trace, value);
        let model = POLICIES[0].1(trace, real.items);
        let mut memory = (real.items * (value + 60)) as u64;
        let (mut misses, mut items) = (0, 0);
        for _ in 0..5 {
            (misses, items) = replay(trace, memory, value);
            if items.abs_diff(real.items) * 500 < real.items {
                break;
            }
            memory = (memory as f64 * real.items as f64 / items as f64) as u64;
        }
        let rate = |misses: u64| misses as f64 / trace.keys.len() as f64;
        let change = |misses: u64| (misses as f64 / real.misses as f64 - 1.0) * 100.0;
        print!("{mib:<6} {:<8} {:.4}   {:.4}   | ", real.items, rate(real.misses), rate(model));
        print!("{items:<14} {:.4} {:+6.1} % | ", rate(misses), change(misses));
        let (misses, items) = replay(trace, real.rss.saturating_sub(PROCESS_BYTES).max(1 << 20), value);
        println!("{:<15} {items:<8} {:.4} {:+6.1} %", real.rss >> 20, rate(misses), change(misses));
    }
}

fn table(trace: &Trace, value: usize, shares: &[f64]) {
    print!("{:<7}{:>8}{:>17}", "share", "items", "store");
    POLICIES.iter().for_each(|(name, _)| print!("{name:>17}"));
    println!();
    for share in shares {
        let memory = (trace.unique as f64 * share * (value + 60) as f64 * 1.06) as u64;
        let (misses, items) = replay(trace, memory.max(1 << 16), value);
        let all: Vec<u64> = POLICIES.iter().map(|(_, policy)| policy(trace, items)).collect();
        let show = |misses: u64| {
            let change = (misses as f64 / all[0] as f64 - 1.0) * 100.0;
            print!("{:>9.4} {change:+6.1}%", misses as f64 / trace.keys.len() as f64);
        };
        print!("{share:<7}{items:>8}");
        show(misses);
        all.iter().copied().for_each(show);
        println!();
    }
}

/// Misses of the store, and how many items it held.
fn replay(trace: &Trace, memory: u64, value: usize) -> (u64, usize) {
    let item_size_max = ByteSize::mib(1);
    let store =
        Store::new(&StoreOptions { memory: ByteSize(memory), item_size_max, evict: true, seed: 7 << 40 });
    let value = vec![b'v'; value];
    let (mut misses, mut held, mut looks) = (0, 0, 0);
    for (n, request) in trace.keys.iter().enumerate() {
        let name = format!("{request:016x}");
        let key = Key { bytes: name.as_bytes(), hash: xxh3_64(name.as_bytes()) };
        if store.get(key, n as u64, true, |_| ()).is_err() {
            misses += 1;
            let mut bucket = store.lock(key.bucket());
            let stored = bucket.put(key, n as u64, &Put::default(), value.len(), |bytes, _| {
                bytes.copy_from_slice(&value);
            });
            assert!(stored.is_ok(), "{stored:?}");
        }
        if n > trace.keys.len() / 4 && n % 1000 == 0 {
            held += store.stats().items;
            looks += 1;
        }
    }
    (misses, (held / looks).max(16) as usize)
}
