//! A store that is drained, and another that takes its items.

use std::collections::BTreeMap;

use doled_store::{Key, Marks, Numbering, Put, Saved, Store, StoreOptions};
use stdx::{ByteSize, Prng};

use crate::harness::{STEP_MS, key, remove, set, set_with, stamped, value_of};

fn options(memory: ByteSize, seed: u64) -> StoreOptions {
    StoreOptions { memory, item_size_max: ByteSize::mib(1), evict: true, seed }
}

/// Drains a store into another of the same size, at the same moment.
fn move_all(old: &Store, now_ms: u64) -> Store {
    let memory = ByteSize(old.stats().memory_limit);
    let new = Store::resume(&options(memory, 0), &old.numbering()).expect("a store's numbering");
    old.drain(now_ms, |saved| {
        assert_eq!(new.restore(saved, now_ms), Ok(true));
        true
    });
    new
}

type Facts = (Vec<u8>, u32, u64, u64, u64, Marks);

fn all(store: &Store, now_ms: u64) -> BTreeMap<Vec<u8>, Facts> {
    let mut all = BTreeMap::new();
    for bucket in 0..doled_store::BUCKET_COUNT {
        store.lock(bucket).scan(now_ms, |item| {
            let facts =
                (item.value.to_vec(), item.flags, item.cas, item.exptime_ms, item.last_access_ms, item.marks);
            all.insert(item.key.to_vec(), facts);
        });
    }
    all
}

#[test]
fn all_live_items_come_back_as_they_were() {
    let old = Store::new(&options(ByteSize::mib(64), 99 << 40));
    let mut prng = Prng::new(5);
    for n in 0..20_000u64 {
        let bits = prng.next_u64();
        let put = Put {
            flags: if bits & 1 == 0 { 0 } else { bits as u32 },
            exptime_ms: if bits & 6 == 0 { (1 + prng.below(900)) * STEP_MS } else { 0 },
            cas: (bits & 0x70 == 0).then_some(bits),
            marks: Marks { stale: bits & 8 != 0, ..Marks::default() },
        };
        let len = if n % 1000 == 0 { 300_000 } else { prng.below(500) };
        let name = format!("k{}", prng.below(15_000));
        set_with(&old, name.as_bytes(), n * 10, &put, &stamped(n, bits, len as usize)).expect("memory");
        if n % 7 == 0 {
            let _ = value_of(&old, format!("k{}", prng.below(15_000)).as_bytes(), n * 10);
            remove(&old, format!("k{}", prng.below(15_000)).as_bytes(), n * 10);
        }
    }
    old.lock(3).wipe();
    old.lock(4).wipe();
    let now_ms = 210_000;
    let (expected, last) = (all(&old, now_ms), old.numbering());
    let new = move_all(&old, now_ms);
    let found = all(&new, now_ms);
    assert_eq!(found.len(), expected.len());
    assert!(found == expected && new.numbering() == last);
    assert_eq!(new.stats().items, expected.len() as u64);
    assert!(all(&old, now_ms).is_empty() && old.stats().items == 0);
    // Only the index is left.
    assert!(old.stats().memory_used <= 4 << 20, "{:?}", old.stats());
}

#[test]
fn what_was_hot_stays_and_what_was_old_goes_first() {
    let old = Store::new(&options(ByteSize::mib(8), 1 << 40));
    let name = |n: u64| format!("key-{n}").into_bytes();
    let write = |store: &Store, n: u64| set(store, &name(n), n, &[7; 900]).expect("memory");
    (0..2000).for_each(|n| assert!(write(&old, n) > 0));
    for _ in 0..3 {
        (0..200).for_each(|n| drop(value_of(&old, &name(n), 2000)));
    }
    (2000..16_000).for_each(|n| assert!(write(&old, n) > 0));
    let is_there = |store: &Store, n: u64| store.get(key(&name(n)), 16_000, false, |_| ()).is_ok();
    let hot = (0..200).filter(|n| is_there(&old, *n)).count();
    assert!(hot > 150, "{hot}");
    let new = move_all(&old, 16_000);
    assert_eq!((0..200).filter(|n| is_there(&new, *n)).count(), hot);
    let before: Vec<u64> = (200..16_000).filter(|n| is_there(&new, *n)).collect();
    (20_000..20_500).for_each(|n| assert!(write(&new, n) > 0));
    assert_eq!((0..200).filter(|n| is_there(&new, *n)).count(), hot);
    let (older, newer) = before.split_at(before.len() / 2);
    let gone = |names: &[u64]| names.iter().filter(|n| !is_there(&new, **n)).count();
    assert!(gone(older) > 100 && gone(newer) == 0, "{} and {}", gone(older), gone(newer));
}

#[test]
fn a_visitor_may_stop() {
    let old = Store::new(&options(ByteSize::mib(8), 1 << 40));
    (0..100u64).for_each(|n| assert!(set(&old, &n.to_be_bytes(), 1, b"v").is_ok()));
    let mut count = 0;
    old.drain(1, |_| {
        count += 1;
        count < 10
    });
    assert_eq!(count, 10);
}

#[test]
fn what_does_not_fit_to_the_numbering_is_left_out() {
    let numbering = Store::new(&options(ByteSize::mib(8), 9 << 40)).numbering();
    let start = numbering.start;
    let bad = |start: u64, last: Vec<u64>| {
        Store::resume(&options(ByteSize::mib(8), 0), &Numbering { start, last }).is_none()
    };
    assert!(bad(start, numbering.last[1..].to_vec()));
    assert!(bad(start + 1, numbering.last.clone()));
    assert!(bad(1 << 41, vec![1 << 42; doled_store::BUCKET_COUNT]));
    assert!(bad(start, vec![1 << 48; doled_store::BUCKET_COUNT]));
    let last = vec![start + 5; doled_store::BUCKET_COUNT];
    let store = Store::resume(&options(ByteSize::mib(8), 0), &Numbering { start, last }).expect("possible");
    let restore = |name: &[u8], seq: u64, exptime_ms: u64| {
        let item = doled_store::ItemView {
            key: name,
            value: b"v",
            flags: 0,
            cas: 0,
            exptime_ms,
            last_access_ms: 0,
            marks: Marks::default(),
        };
        let saved = Saved { item, seq, has_own_cas: false, frequency: 9, is_main: true };
        store.restore(&saved, 1000).expect("memory")
    };
    assert!(!restore(b"a", start, 0) && !restore(b"a", start + 6, 0) && !restore(b"a", start + 1, 1000));
    assert!(restore(b"a", start + 1, 2000) && !restore(b"a", start + 2, 0));
    let a = Key::of(b"a");
    let cas = store.get(a, 1000, false, |item| item.cas);
    assert_eq!(cas, Ok((start + 1) << 15 | a.bucket() as u64));
}
