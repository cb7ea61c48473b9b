//! Hits over a trace of keys: the store against policies that are ideal in that they keep exactly so many items.
//!
//! ```text
//! cargo bench -p doled-store --bench hits -- FILE:FORMAT… [value LEN] [shares 0.01,0.1]
//! ```
//! Formats: `i32`, `i64` (big-endian keys) and `oltp`; files may be compressed (`.xz`, `.zst`: the tools must be
//! installed). `zipf`, `zipf-drift`, `scans` and `loop` are made here. Each request is a get, and a set on a
//! miss. All policies get as many items as the store held on average. Without an argument nothing is measured.
#![allow(clippy::print_stdout, reason = "prints its tables")]

mod policies;
mod trace;

use doled_store::{Key, Put, Store, StoreOptions};
use stdx::ByteSize;
use xxhash_rust::xxh3::xxh3_64;

use crate::policies::POLICIES;
use crate::trace::Trace;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let option = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let value = option("value").map_or(400, |len| len.parse().expect("a length"));
    let shares = option("shares").map_or("0.01,0.03,0.1,0.3", String::as_str);
    let shares: Vec<f64> = shares.split(',').map(|share| share.parse().expect("a share")).collect();
    let end = words.iter().position(|word| word == "value" || word == "shares").unwrap_or(words.len());
    for word in &words[..end] {
        let (name, format) = word.split_once(':').unwrap_or((word, "i64"));
        table(name, &Trace::open(name, format), value, &shares);
    }
}

fn table(name: &str, trace: &Trace, value: usize, shares: &[f64]) {
    println!("{name}: {} requests, {} keys, values of {value} B", trace.keys.len(), trace.unique);
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
