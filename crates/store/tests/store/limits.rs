//! Memory limits: what is refused, what is evicted, and that the sum is kept.

use doled_store::limits::{EVICTED_COUNT_MAX, MEMCACHED_ITEM_OVERHEAD};
use doled_store::{Put, PutError};
use stdx::{ByteSize, Prng};

use crate::harness::{STEP_MS, key, read_stamp, remove, set, set_with, stamped, store, value_of};

#[test]
fn the_item_limit_counts_as_memcached_does() {
    let store = store(ByteSize::mib(64), true);
    let largest = (1 << 20) - MEMCACHED_ITEM_OVERHEAD - 3;
    assert!(set(&store, b"key", 0, &vec![1; largest]).is_ok());
    assert_eq!(set(&store, b"key", 0, &vec![2; largest + 1]), Err(PutError::TooLarge));
    assert_eq!(value_of(&store, b"key", 0).map(|value| value[0]), Ok(1), "the old item is untouched");
    assert!(store.too_large(3, largest + 1) && !store.too_large(3, largest));
}

#[test]
fn memory_below_one_item_refuses_it() {
    for memory in [ByteSize(0), ByteSize(1), ByteSize::kib(1), ByteSize::kib(64)] {
        for evict in [true, false] {
            let store = store(memory, evict);
            assert_eq!(set(&store, b"key", 0, &vec![1; 100_000]), Err(PutError::OutOfMemory));
            assert!(store.stats().out_of_memory > 0);
        }
    }
}

#[test]
fn what_is_evicted_is_remembered_while_that_is_wanted() {
    let store = store(ByteSize::mib(2), true);
    let fill = |from: u64| {
        for n in from..from + 20_000 {
            set(&store, format!("key{n}").as_bytes(), n, &[1; 300]).expect("there is room for one");
        }
    };
    fill(0);
    assert_eq!(store.take_evicted(), (Vec::new(), 0), "nobody wanted it");
    store.note_evicted(true);
    let before = store.stats().evictions;
    fill(100_000);
    let (items, lost) = store.take_evicted();
    assert_eq!(items.len(), EVICTED_COUNT_MAX);
    assert_eq!(items.len() as u64 + lost, store.stats().evictions - before);
    for item in &items {
        assert!(item.key.starts_with(b"key") && item.value_len == 300 && item.exptime_ms == 0);
    }
    store.note_evicted(false);
    fill(200_000);
    assert_eq!(store.take_evicted(), (Vec::new(), 0));
}

/// Fills a store with values of mixed sizes, overwriting and deleting, and returns how many writes failed.
#[track_caller]
fn churn(store: &doled_store::Store, memory: u64, writes: u64, sizes: &[usize], seed: u64) -> u64 {
    let mut prng = Prng::new(seed);
    let mut failed = 0;
    for version in 0..writes {
        let n = prng.below(writes / 2);
        let name = format!("key{n}");
        if prng.chance(1, 10) {
            remove(store, name.as_bytes(), version);
            continue;
        }
        let len = sizes[prng.below(sizes.len() as u64) as usize];
        failed += u64::from(set(store, name.as_bytes(), version, &stamped(n, version, len)).is_err());
        if version % 64 == 0 {
            let bytes = store.stats().bytes;
            assert!(bytes <= memory, "{bytes} bytes are used of {memory}, after {version} writes");
        }
        if let Ok(value) = value_of(store, format!("key{}", prng.below(writes / 2)).as_bytes(), version) {
            read_stamp(&value);
        }
    }
    failed
}

#[test]
fn a_full_store_evicts_and_stays_within_its_memory() {
    for (memory, sizes, writes) in [
        (ByteSize::mib(2), &[16, 40, 100, 300][..], 60_000),
        (ByteSize::mib(8), &[16, 1000, 5000][..], 30_000),
        (ByteSize::mib(8), &[100, 30_000, 200_000][..], 3000),
    ] {
        let store = store(memory, true);
        assert_eq!(churn(&store, memory.0, writes, sizes, 3), 0, "no write fails where items can be evicted");
        let stats = store.stats();
        assert!(stats.evictions > 0 && stats.items > 0, "{stats:?}");
        assert!(stats.bytes * 10 >= memory.0 * 6, "a full store uses its memory: {stats:?}");
    }
}

#[test]
fn without_eviction_a_full_store_refuses_and_keeps_what_it_has() {
    let store = store(ByteSize::mib(4), false);
    let mut kept = Vec::new();
    for n in 0..40_000u64 {
        match set(&store, format!("key{n}").as_bytes(), 0, &stamped(n, 1, 100)) {
            Ok(_) => kept.push(n),
            Err(error) => assert_eq!(error, PutError::OutOfMemory),
        }
    }
    assert!(kept.len() > 10_000 && kept.len() < 38_000, "{} items", kept.len());
    for n in &kept {
        let value = value_of(&store, format!("key{n}").as_bytes(), 0).expect("kept");
        assert_eq!(read_stamp(&value), (*n, 1));
    }
    let stats = store.stats();
    assert_eq!((stats.evictions, stats.items), (0, kept.len() as u64));
    assert_eq!(stats.out_of_memory, 40_000 - kept.len() as u64);
}

#[test]
fn without_eviction_deleted_expired_and_wiped_memory_is_used_again() {
    let store = store(ByteSize::mib(4), false);
    let exptime = |n: u64, round: u64| if round == 1 { (round * 10_000 + 1 + n % 7) * STEP_MS } else { 0 };
    let mut counts = Vec::new();
    for round in 0..4u64 {
        let now_ms = round * 10_000 * STEP_MS;
        let mut count = 0;
        for n in 0..40_000u64 {
            let put = Put { exptime_ms: exptime(n, round), ..Put::default() };
            if set_with(&store, format!("{round}-{n}").as_bytes(), now_ms, &put, &[b'v'; 100]).is_err() {
                break;
            }
            count += 1;
        }
        match round {
            0 => (0..count).for_each(|n| assert!(remove(&store, format!("0-{n}").as_bytes(), now_ms))),
            1 => {} // They expire before the next round.
            _ => store.wipe_all(),
        }
        counts.push(count);
    }
    let least = counts.iter().min().expect("four rounds");
    assert!(least * 10 > counts[0] * 9, "each round finds the same room: {counts:?}");
    assert_eq!(store.stats().evictions, 0);
}

#[test]
fn expired_memory_serves_new_items_before_live_ones_are_evicted() {
    let memory = 8 << 20;
    let store = store(ByteSize(memory), true);
    let fill = |name: &str, share: u64, exptime_ms: u64| {
        let put = Put { exptime_ms, ..Put::default() };
        let count = (0..).take_while(|n| {
            set_with(&store, format!("{name}{n}").as_bytes(), 0, &put, &[b'v'; 100]).expect("room");
            n % 100 != 0 || store.stats().bytes < memory / 100 * share
        });
        count.count() as u64
    };
    let short = fill("short", 50, 10 * STEP_MS);
    fill("long", 85, 0);
    let before = store.stats().evictions;
    for n in 0..short * 3 / 4 {
        set(&store, format!("new{n}").as_bytes(), 10 * STEP_MS, &[b'v'; 100]).expect("room");
    }
    let stats = store.stats();
    assert!(
        stats.reclaimed > short / 4 && stats.evictions <= before + 500,
        "{before} before, then {stats:?}"
    );
}

#[test]
fn a_lower_limit_takes_effect_and_a_higher_one_gives_room() {
    let store = store(ByteSize::mib(8), true);
    let fill = |from: u64, to: u64| {
        for n in from..to {
            set(&store, format!("key{n}").as_bytes(), 0, &[b'v'; 100]).expect("room");
        }
    };
    fill(0, 100_000);
    let full = store.stats().items;
    store.set_memory(ByteSize::mib(4));
    fill(100_000, 200_000);
    let stats = store.stats();
    assert!(stats.bytes <= 4 << 20 && stats.memory_limit == 4 << 20, "{stats:?}");
    store.set_memory(ByteSize::mib(12));
    fill(200_000, 400_000);
    let stats = store.stats();
    assert!(stats.items > full && stats.bytes <= 12 << 20, "{full} items at first, then {stats:?}");
}

#[test]
fn used_items_outlive_unused_ones() {
    let store = store(ByteSize::mib(4), true);
    let hot: Vec<String> = (0..2000).map(|n| format!("hot{n}")).collect();
    for name in &hot {
        set(&store, name.as_bytes(), 0, &[b'h'; 100]).expect("room");
    }
    for n in 0..200_000u64 {
        set(&store, format!("scan{n}").as_bytes(), n, &[b's'; 100]).expect("room");
        let name = &hot[(n % 2000) as usize];
        let _ = value_of(&store, name.as_bytes(), n);
    }
    let left = hot.iter().filter(|name| value_of(&store, name.as_bytes(), 200_000).is_ok()).count();
    assert!(left > 1900, "{left} of 2000 hot items are left");
}

#[test]
fn a_burst_of_uses_right_after_the_write_does_not_make_room_for_itself() {
    let store = store(ByteSize::mib(4), true);
    let steady: Vec<String> = (0..2000).map(|n| format!("steady{n}")).collect();
    for name in &steady {
        set(&store, name.as_bytes(), 0, &[b'h'; 100]).expect("room");
    }
    for n in 0..200_000u64 {
        let burst = format!("burst{n}");
        set(&store, burst.as_bytes(), n, &[b'b'; 100]).expect("room");
        (0..3).for_each(|_| assert!(value_of(&store, burst.as_bytes(), n).is_ok()));
        let _ = value_of(&store, steady[(n % 2000) as usize].as_bytes(), n);
    }
    let left = steady.iter().filter(|name| value_of(&store, name.as_bytes(), 200_000).is_ok()).count();
    assert!(left > 1900, "{left} of 2000 are left");
}

#[test]
fn large_values_in_use_outlive_unused_ones() {
    let store = store(ByteSize::mib(8), true);
    set(&store, b"used", 0, &[b'u'; 200_000]).expect("room");
    for n in 0..500u64 {
        set(&store, format!("unused{n}").as_bytes(), n, &[b'n'; 200_000]).expect("room");
        assert!(value_of(&store, b"used", n).is_ok(), "after {n}");
    }
}

#[test]
fn one_bucket_may_hold_far_more_than_its_share() {
    let store = store(ByteSize::mib(4), true);
    let bucket = key(b"k").bucket();
    let mut count = 0u64;
    for n in 0..1_000_000u64 {
        let name = format!("k{n}");
        if key(name.as_bytes()).bucket() == bucket {
            set(&store, name.as_bytes(), 0, &stamped(n, 0, 16)).expect("room");
            count += 1;
        }
    }
    let mut met = 0;
    store.lock(bucket).scan(0, |item| {
        read_stamp(item.value);
        met += 1;
    });
    assert_eq!(met, count, "one bucket holds many items");
}
