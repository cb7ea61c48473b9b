//! Threads that write, read, wipe and evict at once.
//!
//! A reader that starts after a write returned must not see an older version, whatever else happens; the
//! value says whose it is and which version, so a torn value or another key's shows at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use doled_store::{Key, Put, Store};
use stdx::{ByteSize, Prng};
use xxhash_rust::xxh3::xxh3_64;

use crate::harness::{read_stamp, stamped, store};

const KEY_COUNT: u64 = 3000;

struct World {
    store: Store,
    /// Version of the last mutation that returned, by key.
    settled: Vec<AtomicU64>,
    versions: AtomicU64,
    stop: AtomicBool,
}

impl World {
    fn new(memory: ByteSize) -> Self {
        let settled = (0..KEY_COUNT).map(|_| AtomicU64::new(0)).collect();
        Self {
            store: store(memory, true),
            settled,
            versions: AtomicU64::new(1),
            stop: AtomicBool::new(false),
        }
    }

    fn name(n: u64) -> Vec<u8> {
        format!("key{n}-{}", "y".repeat((n % 30) as usize)).into_bytes()
    }

    /// Each key is written by one thread only, so its versions rise.
    fn write(&self, thread: u64, threads: u64, rounds: u64, len_max: u64) {
        let mut prng = Prng::new(thread);
        for _ in 0..rounds {
            let n = prng.below(KEY_COUNT / threads) * threads + thread;
            let name = Self::name(n);
            let key = Key { bytes: &name, hash: xxh3_64(&name) };
            let version = self.versions.fetch_add(1, Ordering::SeqCst);
            let mut guard = self.store.lock(key.bucket());
            match prng.below(10) {
                0 => {
                    guard.remove(key, 0);
                }
                1 => guard.wipe(),
                _ => {
                    let value = stamped(n, version, prng.below(len_max) as usize);
                    let put = Put { flags: prng.below(2) as u32, ..Put::default() };
                    let stored = guard.put(key, 0, &put, value.len(), |bytes, old| {
                        bytes.copy_from_slice(&value);
                        if let Some(old) = old {
                            assert_eq!(read_stamp(old.value).0, n);
                        }
                    });
                    assert!(stored.is_ok());
                }
            }
            drop(guard);
            self.settled[n as usize].store(version, Ordering::SeqCst);
        }
    }

    fn read(&self, seed: u64) -> u64 {
        let mut prng = Prng::new(seed);
        let mut hits = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let n = prng.below(KEY_COUNT);
            let name = Self::name(n);
            let key = Key { bytes: &name, hash: xxh3_64(&name) };
            let settled = self.settled[n as usize].load(Ordering::SeqCst);
            let found = self.store.get(key, 0, prng.chance(1, 2), |item| {
                assert_eq!(item.key, name);
                read_stamp(item.value)
            });
            if let Ok((owner, version)) = found {
                hits += 1;
                assert_eq!(owner, n, "a value of another key");
                assert!(version >= settled, "key {n}: version {version} after {settled} had returned");
            }
        }
        hits
    }
}

/// So many times the rounds of a usual run, for a long one: `DOLED_STRESS=10 cargo test -p doled-store stress`.
fn times() -> u64 {
    let text = std::env::var("DOLED_STRESS").unwrap_or_else(|_| "1".to_owned());
    text.parse().expect("DOLED_STRESS is a whole number")
}

#[track_caller]
fn run(memory: ByteSize, writers: u64, readers: u64, rounds: u64, len_max: u64) {
    let rounds = rounds * times();
    let world = World::new(memory);
    std::thread::scope(|scope| {
        let writing: Vec<_> = (0..writers)
            .map(|thread| {
                scope.spawn({
                    let world = &world;
                    move || world.write(thread, writers, rounds, len_max)
                })
            })
            .collect();
        let reading: Vec<_> = (0..readers)
            .map(|n| {
                scope.spawn({
                    let world = &world;
                    move || world.read(1000 + n)
                })
            })
            .collect();
        let written: Vec<_> = writing.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        world.stop.store(true, Ordering::Relaxed);
        let hits: u64 = reading.into_iter().map(|thread| thread.join().expect("no reader failed")).sum();
        assert!(written.iter().all(Result::is_ok), "no writer failed");
        assert!(hits > 0, "readers found something");
    });
    let stats = world.store.stats();
    assert!(stats.bytes <= stats.memory_limit, "{stats:?}");
}

#[test]
fn readers_see_no_torn_no_foreign_and_no_older_value() {
    run(ByteSize::mib(64), 2, 2, 40_000, 600);
}

#[test]
fn nor_while_items_are_evicted() {
    run(ByteSize::kib(512), 2, 2, 15_000, 600);
    run(ByteSize::mib(1), 4, 2, 5000, 3000);
}

#[test]
fn nor_when_values_are_large() {
    run(ByteSize::mib(16), 2, 2, 1000, 200_000);
}

/// The wipe is acknowledged through an atomic; whoever has seen that must not see an item from before it.
#[test]
fn nothing_from_before_a_wipe_is_seen_after_it_returned() {
    let store = store(ByteSize::mib(8), true);
    let wiped = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let key = Key { bytes: b"key", hash: xxh3_64(b"key") };
    let put = |round: u64| {
        let value = stamped(7, round, 64);
        let mut guard = store.lock(key.bucket());
        guard
            .put(key, 0, &Put::default(), value.len(), |bytes, _| bytes.copy_from_slice(&value))
            .expect("room");
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let floor = wiped.load(Ordering::SeqCst);
                    if let Ok((_, round)) = store.get(key, 0, true, |item| read_stamp(item.value)) {
                        assert!(round > floor, "round {round} is visible after the wipe of {floor} returned");
                    }
                }
            });
        }
        for round in 1..50_000 {
            put(round);
            store.lock(key.bucket()).wipe();
            wiped.store(round, Ordering::SeqCst);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
