//! Seeded random operations against a map. What the store answers must be what the map says; where it may
//! evict, it may also have nothing.

use std::collections::BTreeMap;

use doled_store::{BUCKET_COUNT, Key, Marks, Put, PutError, Store};
use stdx::{ByteSize, Prng};
use xxhash_rust::xxh3::xxh3_64;

use crate::harness::{STEP_MS, store};

#[derive(Clone, Debug, PartialEq)]
struct Expected {
    value: Vec<u8>,
    flags: u32,
    cas: u64,
    exptime_ms: u64,
    marks: Marks,
}

struct Run {
    store: Store,
    model: BTreeMap<Vec<u8>, Expected>,
    tags: BTreeMap<usize, u64>,
    prng: Prng,
    now_ms: u64,
    /// A live item may be gone.
    may_miss: bool,
    value_len_max: u64,
    key_count: u64,
}

impl Run {
    fn new(seed: u64, memory: ByteSize, evict: bool, value_len_max: u64, key_count: u64) -> Self {
        let may_miss = evict && memory < ByteSize::mib(100);
        let store = store(memory, evict);
        let (model, tags) = (BTreeMap::new(), BTreeMap::new());
        Self { store, model, tags, prng: Prng::new(seed), now_ms: 1, may_miss, value_len_max, key_count }
    }

    fn steps(&mut self, count: u64) {
        for _ in 0..count {
            let n = self.prng.below(self.key_count);
            let name = format!("{n}-{}", "x".repeat((n % 40) as usize)).into_bytes();
            match self.prng.below(100) {
                0..40 => self.put(&name),
                40..70 => self.get(&name),
                70..80 => self.remove(&name),
                80..85 => self.touch(&name),
                85..90 => self.mark(&name),
                90 => self.wipe(&name),
                91..94 => self.tag(&name),
                94 if self.prng.chance(1, 20) => self.scan(&name),
                _ => self.now_ms += self.prng.below(3) * STEP_MS,
            }
        }
        self.check_all();
    }

    fn alive(&mut self, name: &[u8]) -> Option<Expected> {
        let now_ms = self.now_ms;
        let alive = |item: &&Expected| item.exptime_ms == 0 || item.exptime_ms > now_ms;
        let found = self.model.get(name).filter(alive).cloned();
        if found.is_none() {
            self.model.remove(name);
        }
        found
    }

    fn exptime(&mut self) -> u64 {
        match self.prng.below(3) {
            0 => (self.now_ms / STEP_MS + 1 + self.prng.below(20)) * STEP_MS,
            _ => 0,
        }
    }

    fn marks(&mut self) -> Marks {
        let bits = self.prng.below(16);
        Marks { fetched: bits & 1 != 0, stale: bits & 2 != 0, won: bits & 4 != 0, binary_key: bits & 8 != 0 }
    }

    fn put(&mut self, name: &[u8]) {
        let bits = self.prng.next_u64();
        let put = Put {
            flags: if bits & 3 == 0 { bits as u32 } else { 0 },
            exptime_ms: self.exptime(),
            cas: (bits & 0xf0 == 0).then_some(bits),
            marks: self.marks(),
        };
        let len = self.prng.below(self.value_len_max) >> self.prng.below(8);
        let value: Vec<u8> = (0..len).map(|i| (bits.wrapping_add(i * 11)) as u8).collect();
        let expected_old = self.alive(name);
        let key = key(name);
        let mut guard = self.store.lock(key.bucket());
        let before = guard.find(key, self.now_ms).is_ok();
        let mut saw_old = false;
        let result = guard.put(key, self.now_ms, &put, value.len(), |bytes, old| {
            bytes.copy_from_slice(&value);
            if let Some(old) = old {
                saw_old = true;
                assert_eq!(Some(old.value), expected_old.as_ref().map(|item| &item.value[..]));
            }
        });
        drop(guard);
        match result {
            Ok(cas) => {
                assert_eq!(saw_old, before, "the old item is shown iff it is alive");
                assert!(put.cas.is_none_or(|wanted| wanted == cas));
                let Put { flags, exptime_ms, marks, .. } = put;
                self.model.insert(name.to_vec(), Expected { value, flags, cas, exptime_ms, marks });
            }
            Err(error) => assert!(error == PutError::OutOfMemory && !self.may_miss, "{error}"),
        }
    }

    fn get(&mut self, name: &[u8]) {
        let bump = self.prng.chance(1, 2);
        let found = self.store.get(key(name), self.now_ms, bump, |item| Expected {
            value: item.value.to_vec(),
            flags: item.flags,
            cas: item.cas,
            exptime_ms: item.exptime_ms,
            marks: item.marks,
        });
        self.compare(name, found.ok().as_ref());
        if let Some(item) = self.model.get_mut(name).filter(|_| bump) {
            item.marks.fetched = true;
        }
    }

    #[track_caller]
    fn compare(&mut self, name: &[u8], found: Option<&Expected>) {
        let expected = self.alive(name);
        if found.is_none() && self.may_miss {
            self.model.remove(name);
        } else {
            assert_eq!(found, expected.as_ref(), "{} at {}", String::from_utf8_lossy(name), self.now_ms);
        }
    }

    fn remove(&mut self, name: &[u8]) {
        let key = key(name);
        let removed = self.store.lock(key.bucket()).remove(key, self.now_ms);
        let expected = self.alive(name).is_some();
        assert!(removed == expected || (!removed && self.may_miss));
        self.model.remove(name);
        assert!(self.store.get(key, self.now_ms, false, |_| ()).is_err());
    }

    fn touch(&mut self, name: &[u8]) {
        let exptime_ms = self.exptime();
        let key = key(name);
        let done = self.store.lock(key.bucket()).set_exptime(key, self.now_ms, exptime_ms).is_ok();
        assert!(done == self.alive(name).is_some() || (!done && self.may_miss));
        if let Some(item) = self.model.get_mut(name).filter(|_| done) {
            item.exptime_ms = exptime_ms;
        }
    }

    fn mark(&mut self, name: &[u8]) {
        let marks = self.marks();
        let key = key(name);
        let done = self.store.lock(key.bucket()).set_marks(key, self.now_ms, marks).is_ok();
        assert!(done == self.alive(name).is_some() || (!done && self.may_miss));
        if let Some(item) = self.model.get_mut(name).filter(|_| done) {
            item.marks = marks;
        }
    }

    fn wipe(&mut self, name: &[u8]) {
        if self.prng.chance(1, 200) {
            self.store.wipe_all();
            self.model.clear();
        } else {
            let bucket = key(name).bucket();
            self.store.lock(bucket).wipe();
            self.model.retain(|name, _| key(name).bucket() != bucket);
        }
    }

    fn tag(&mut self, name: &[u8]) {
        let bucket = key(name).bucket();
        assert_eq!(self.store.tag(bucket), self.tags.get(&bucket).copied().unwrap_or(0));
        let tag = self.prng.next_u64();
        self.store.lock(bucket).set_tag(tag);
        self.tags.insert(bucket, tag);
    }

    fn scan(&mut self, name: &[u8]) {
        let bucket = key(name).bucket();
        let mut met = BTreeMap::new();
        self.store.lock(bucket).scan(self.now_ms, |item| {
            assert!(met.insert(item.key.to_vec(), item.value.to_vec()).is_none(), "met twice");
        });
        for (name, value) in &met {
            assert_eq!(self.model.get(name).map(|item| &item.value), Some(value));
        }
        let now_ms = self.now_ms;
        let alive = |item: &Expected| item.exptime_ms == 0 || item.exptime_ms > now_ms;
        let here = |name: &[u8]| key(name).bucket() == bucket;
        let count = self.model.iter().filter(|(name, item)| here(name) && alive(item)).count();
        assert!(met.len() == count || self.may_miss, "{} of {count}", met.len());
    }

    fn check_all(&mut self) {
        let names: Vec<Vec<u8>> = self.model.keys().cloned().collect();
        for name in names {
            self.get(&name);
        }
        let mut live = 0;
        for bucket in 0..BUCKET_COUNT {
            self.store.lock(bucket).scan(self.now_ms, |_| live += 1);
        }
        let stats = self.store.stats();
        assert!(live <= stats.items, "{live} live items, {stats:?}");
        assert!(stats.bytes <= stats.memory_limit, "{stats:?}");
    }
}

fn key(bytes: &[u8]) -> Key<'_> {
    Key { bytes, hash: xxh3_64(bytes) }
}

#[test]
fn with_ample_memory_the_store_is_a_map() {
    for seed in 0..8 {
        Run::new(seed, ByteSize::mib(128), true, 500, 50 << (seed % 5 * 2)).steps(60_000);
    }
}

#[test]
fn while_evicting_every_answer_is_the_maps_or_a_miss() {
    for seed in 0..8 {
        let run = &mut Run::new(100 + seed, ByteSize::mib(1 + seed), true, 3000, 30_000);
        run.steps(60_000);
        assert!(seed > 0 || run.store.stats().evictions > 0);
    }
}

#[test]
fn large_values_follow_the_same_rules() {
    for seed in 0..4 {
        Run::new(200 + seed, ByteSize::mib(8), true, 1_000_000, 200).steps(1000);
    }
}

#[test]
fn without_eviction_nothing_is_ever_missing() {
    for seed in 0..6 {
        Run::new(300 + seed, ByteSize::mib(1 + seed), false, 3000, 10_000).steps(20_000);
    }
}
