//! One test for each thing that a store does.

use doled_store::{Absent, BUCKET_COUNT, Marks, Put};
use stdx::{ByteSize, Prng};

use crate::harness::{STEP_MS, key, remove, set, set_with, store, value_of};

#[test]
fn an_item_is_read_as_it_was_written() {
    let store = store(ByteSize::mib(8), true);
    let marks = Marks { stale: true, won: true, binary_key: true, fetched: false };
    for (flags, cas, exptime_ms) in [(0, None, 0), (7, None, 5 * STEP_MS), (u32::MAX, Some(9), 0)] {
        let put = Put { flags, cas, exptime_ms, marks };
        let stored = set_with(&store, b"k", 1, &put, b"value").expect("room");
        assert!(cas.is_none_or(|cas| cas == stored));
        let read = store.get(key(b"k"), 1, false, |item| {
            assert_eq!((item.key, item.value), (&b"k"[..], &b"value"[..]));
            (item.flags, item.cas, item.exptime_ms, item.marks)
        });
        assert_eq!(read, Ok((flags, stored, exptime_ms, marks)));
    }
}

#[test]
fn empty_values_and_the_longest_keys_are_items() {
    let store = store(ByteSize::mib(8), true);
    for len in 1..=250 {
        let name = vec![b'k'; len];
        set(&store, &name, 0, b"").expect("room");
        assert_eq!(value_of(&store, &name, 0), Ok(vec![]));
    }
    assert_eq!(store.stats().items, 250);
}

#[test]
fn values_of_every_kind_of_length_come_back() {
    let store = store(ByteSize::mib(64), true);
    for len in (0..70).chain((100..3000).step_by(97)).chain((4000..1_000_000).step_by(49_999)) {
        let value: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
        set(&store, b"k", 0, &value).expect("room");
        assert_eq!(value_of(&store, b"k", 0).expect("stored"), value, "{len}");
    }
}

#[test]
fn an_item_is_gone_from_its_exptime_on() {
    let store = store(ByteSize::mib(8), true);
    let put = Put { exptime_ms: 3 * STEP_MS, ..Put::default() };
    set_with(&store, b"k", 0, &put, b"v").expect("room");
    assert!(value_of(&store, b"k", 3 * STEP_MS - 1).is_ok());
    assert!(value_of(&store, b"k", 3 * STEP_MS).is_err());
    assert!(!remove(&store, b"k", 3 * STEP_MS));
}

#[test]
fn an_exptime_already_past_hides_the_item_at_once() {
    let store = store(ByteSize::mib(8), true);
    for now_ms in [1, STEP_MS - 1, STEP_MS, 10 * STEP_MS + 3] {
        for exptime_ms in [1, now_ms] {
            set_with(&store, b"k", now_ms, &Put { exptime_ms, ..Put::default() }, b"v").expect("room");
            assert!(value_of(&store, b"k", now_ms).is_err());
            set(&store, b"k", now_ms, b"v").expect("room");
            let key = key(b"k");
            let changed = store.lock(key.bucket()).set_exptime(key, now_ms, exptime_ms);
            assert_eq!(changed, Ok(()));
            assert!(value_of(&store, b"k", now_ms).is_err());
        }
    }
}

#[test]
fn an_exptime_is_late_by_less_than_a_step_and_never_early() {
    let store = store(ByteSize::mib(8), true);
    for exptime_ms in [1000, 1001, 1127, 1128, 2_000_000_123, 400_000_000_000] {
        set_with(&store, b"k", 0, &Put { exptime_ms, ..Put::default() }, b"v").expect("room");
        let kept = store.get(key(b"k"), 0, false, |item| item.exptime_ms).expect("alive");
        assert!((exptime_ms..exptime_ms + STEP_MS).contains(&kept), "{exptime_ms} became {kept}");
        assert!(value_of(&store, b"k", exptime_ms - 1).is_ok());
        assert!(value_of(&store, b"k", exptime_ms + STEP_MS).is_err());
    }
}

#[test]
fn touching_changes_the_exptime_and_keeps_the_cas() {
    let store = store(ByteSize::mib(8), true);
    let cas = set(&store, b"k", 0, b"v").expect("room");
    let key = key(b"k");
    assert_eq!(store.lock(key.bucket()).set_exptime(key, 0, 2 * STEP_MS), Ok(()));
    assert_eq!(store.get(key, 0, false, |item| (item.cas, item.exptime_ms)), Ok((cas, 2 * STEP_MS)));
    assert!(store.get(key, 2 * STEP_MS, false, |_| ()).is_err());
    assert!(store.lock(key.bucket()).set_exptime(key, 2 * STEP_MS, 0).is_err());
}

#[test]
fn marks_change_alone() {
    let store = store(ByteSize::mib(8), true);
    let cas = set_with(&store, b"k", 0, &Put { flags: 3, ..Put::default() }, b"v").expect("room");
    let key = key(b"k");
    for bits in 0..16 {
        let marks = Marks {
            fetched: bits & 1 != 0,
            stale: bits & 2 != 0,
            won: bits & 4 != 0,
            binary_key: bits & 8 != 0,
        };
        assert_eq!(store.lock(key.bucket()).set_marks(key, 0, marks), Ok(()));
        let read = store.get(key, 0, false, |item| (item.marks, item.flags, item.cas, item.value.to_vec()));
        assert_eq!(read, Ok((marks, 3, cas, b"v".to_vec())));
    }
}

#[test]
fn a_use_marks_the_item_as_fetched_and_dates_it() {
    let store = store(ByteSize::mib(8), true);
    set(&store, b"k", 1000, b"v").expect("room");
    let seen = |bump, now_ms| {
        store.get(key(b"k"), now_ms, bump, |item| (item.marks.fetched, item.last_access_ms)).expect("alive")
    };
    assert_eq!(seen(false, 60_000), (false, 1000));
    seen(true, 60_000);
    assert_eq!(seen(false, 90_000), (true, 60_000));
    set(&store, b"k", 120_000, b"v").expect("room");
    assert_eq!(seen(false, 120_000), (false, 120_000));
}

#[test]
fn the_old_item_is_at_hand_while_the_new_one_is_written() {
    let store = store(ByteSize::mib(8), true);
    let key = key(b"k");
    set(&store, b"k", 0, b"left").expect("room");
    let appended = store.lock(key.bucket()).put(key, 0, &Put::default(), 9, |bytes, old| {
        let old = old.expect("the live item").value;
        bytes[..old.len()].copy_from_slice(old);
        bytes[old.len()..].copy_from_slice(b"right");
    });
    assert!(appended.is_ok());
    assert_eq!(value_of(&store, b"k", 0), Ok(b"leftright".to_vec()));
    store.lock(key.bucket()).wipe();
    let fresh = store.lock(key.bucket()).put(key, 0, &Put::default(), 1, |bytes, old| {
        assert!(old.is_none(), "a wiped item is not alive");
        bytes[0] = b'x';
    });
    assert!(fresh.is_ok());
}

#[test]
fn each_write_has_a_cas_of_its_own_and_a_later_one_for_its_key() {
    let store = store(ByteSize::mib(16), true);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..5 {
        for n in 0..2000 {
            let name = format!("key{n}");
            let before = store.get(key(name.as_bytes()), 0, false, |item| item.cas).ok();
            let cas = set(&store, name.as_bytes(), 0, b"v").expect("room");
            assert!(seen.insert(cas), "cas {cas} came twice, in round {round}");
            assert!(before.is_none_or(|before| before < cas));
        }
    }
}

#[test]
fn a_wiped_bucket_is_empty_and_its_neighbours_are_not() {
    let store = store(ByteSize::mib(16), true);
    let names: Vec<String> = (0..1000).map(|n| format!("key{n}")).collect();
    for name in &names {
        set(&store, name.as_bytes(), 0, b"v").expect("room");
    }
    let wiped = key(names[7].as_bytes()).bucket();
    store.lock(wiped).wipe();
    for name in &names {
        let alive = value_of(&store, name.as_bytes(), 0).is_ok();
        assert_eq!(alive, key(name.as_bytes()).bucket() != wiped, "{name}");
    }
    assert_eq!(value_of(&store, names[7].as_bytes(), 0).err(), Some(Absent::Flushed));
    set(&store, names[7].as_bytes(), 0, b"new").expect("room");
    assert_eq!(value_of(&store, names[7].as_bytes(), 0), Ok(b"new".to_vec()));
    store.wipe_all();
    assert!(names.iter().all(|name| value_of(&store, name.as_bytes(), 0).is_err()));
}

#[test]
fn a_scan_meets_the_live_items_of_its_bucket_once() {
    let store = store(ByteSize::mib(64), true);
    let names: Vec<String> = (0..100_000).map(|n| format!("key{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let exptime_ms = if n % 3 == 0 { STEP_MS } else { 0 };
        set_with(&store, name.as_bytes(), 0, &Put { exptime_ms, ..Put::default() }, name.as_bytes())
            .expect("room");
    }
    for bucket in (0..BUCKET_COUNT).step_by(997) {
        let mut met: Vec<String> = Vec::new();
        store.lock(bucket).scan(STEP_MS, |item| {
            assert_eq!(item.key, item.value);
            met.push(String::from_utf8_lossy(item.key).into_owned());
        });
        met.sort();
        let mut wanted: Vec<String> = (names.iter().enumerate())
            .filter(|(n, name)| n % 3 != 0 && key(name.as_bytes()).bucket() == bucket)
            .map(|(_, name)| name.clone())
            .collect();
        wanted.sort();
        assert_eq!(met, wanted, "bucket {bucket}");
    }
}

#[test]
fn tags_are_kept_for_each_bucket_and_survive_a_wipe() {
    let store = store(ByteSize::mib(8), true);
    assert_eq!(store.tag(5), 0);
    store.lock(5).set_tag(77);
    store.lock(5).wipe();
    assert_eq!((store.tag(5), store.lock(5).tag(), store.tag(6)), (77, 77, 0));
    assert_eq!(store.tag(BUCKET_COUNT), 0);
}

#[test]
fn counters_count_and_reset() {
    let store = store(ByteSize::mib(8), true);
    set(&store, b"a", 0, b"v").expect("room");
    set(&store, b"a", 0, b"v").expect("room");
    set(&store, b"b", 0, b"v").expect("room");
    let stats = store.stats();
    assert_eq!((stats.items, stats.total_items, stats.memory_limit), (2, 3, 8 << 20));
    assert!(remove(&store, b"a", 0));
    assert!(!remove(&store, b"a", 0));
    store.reset_stats();
    let stats = store.stats();
    assert_eq!((stats.items, stats.total_items), (1, 0));
}

/// Memory of a large value that is gone serves the next one, cut to it; nothing of the old value shows, and none of
/// the memory is counted twice or lost.
#[test]
fn large_values_that_follow_one_another_keep_their_bytes_and_the_limit() {
    let limit = ByteSize::mib(64);
    let store = store(limit, true);
    let mut prng = Prng::new(11);
    for round in 0..2000_u64 {
        let name = prng.below(40).to_be_bytes();
        let value = vec![round as u8; 70_000 + prng.below(900_000) as usize];
        set(&store, &name, 0, &value).expect("room by eviction");
        assert_eq!(value_of(&store, &name, 0).as_deref(), Ok(&value[..]), "round {round}");
        if prng.chance(1, 4) {
            let name = prng.below(40).to_be_bytes();
            store.lock(key(&name).bucket()).remove(key(&name), 0);
        }
        assert!(store.stats().memory_used <= limit.0, "round {round}: {}", store.stats().memory_used);
    }
    for name in 0..40_u64 {
        let name = name.to_be_bytes();
        store.lock(key(&name).bucket()).remove(key(&name), 0);
    }
    // What was removed is collected with the next write.
    set(&store, b"last", 0, &[0; 100_000]).expect("room");
    let mib = 1 << 20;
    assert!(store.stats().memory_used <= 12 * mib, "{} bytes for nothing", store.stats().memory_used);
}
