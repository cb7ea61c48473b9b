//! The store against a map: any sequence of writes, reads, deletes, changes in place, wipes, changes of the
//! memory limit and jumps of the clock. What the store says is what the map says; a store that may evict may also
//! have nothing, and then has nothing until the next write. One that may not evict loses nothing.

use std::collections::BTreeMap;

use stdx::ByteSize;
use store::limits::EXPTIME_STEP_MS;
use store::{Absent, BUCKET_COUNT, ItemView, Key, Marks, Put, PutError, Store, StoreOptions};
use xxhash_rust::xxh3::xxh3_64;

use crate::input::Input;

/// Steps of one input.
const STEPS_MAX: usize = 2000;

/// Different keys.
const KEY_COUNT: u64 = 256;

/// Memory at the start.
const SIZES: [ByteSize; 4] = [ByteSize::kib(512), ByteSize::mib(1), ByteSize::mib(4), ByteSize::mib(64)];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    value: Vec<u8>,
    flags: u32,
    cas: u64,
    exptime_ms: u64,
    marks: Marks,
}

struct World {
    store: Store,
    items: BTreeMap<Vec<u8>, Item>,
    tags: BTreeMap<usize, u64>,
    now_ms: u64,
    evict: bool,
    /// So much that nothing has to go.
    is_ample: bool,
}

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = usize::from(input.byte());
    let evict = choice & 4 == 0;
    let memory = SIZES[choice & 3];
    let options = StoreOptions { memory, item_size_max: ByteSize::kib(256), evict, seed: 1 << 40 };
    let mut world = World {
        store: Store::new(&options),
        items: BTreeMap::new(),
        tags: BTreeMap::new(),
        now_ms: 1000,
        evict,
        is_ample: memory == SIZES[3],
    };
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    world.check_all();
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let name = name(input.byte());
        let key = Key { bytes: &name, hash: xxh3_64(&name) };
        match what % 32 {
            0..10 => self.put(key, input),
            10..12 => self.fill(input),
            12..18 => self.get(key, input.chance(2)),
            18..21 => self.remove(key),
            21..23 => self.touch(key, input),
            23 | 24 => self.mark(key, input.byte()),
            25 => self.wipe(key.bucket()),
            26 => self.wipe_all(input),
            27 => self.tag(key.bucket(), input.number()),
            28 => self.limit(input),
            29 => self.scan(key.bucket()),
            30 => self.add(key, input),
            _ => self.now_ms += exptime_step(input),
        }
    }

    fn put(&mut self, key: Key<'_>, input: &mut Input<'_>) {
        let how = input.byte();
        let put = Put {
            flags: if how & 1 == 1 { u32::from(input.byte()) } else { 0 },
            exptime_ms: if how & 2 == 2 { self.exptime(input) } else { 0 },
            cas: (how & 12 == 12).then(|| input.number()),
            marks: marks(how >> 4),
        };
        let len = value_len(input);
        let value: Vec<u8> = (0..len).map(|at| (at as u8).wrapping_mul(7) ^ how).collect();
        self.write(key, &put, value);
    }

    /// Many small items at once, so that short inputs fill the memory.
    fn fill(&mut self, input: &mut Input<'_>) {
        let (first, count, len) = (input.byte(), input.byte(), value_len(input).min(8 << 10));
        for n in 0..count {
            let name = name(first.wrapping_add(n));
            let key = Key { bytes: &name, hash: xxh3_64(&name) };
            self.write(key, &Put::default(), vec![n; len]);
        }
    }

    fn write(&mut self, key: Key<'_>, put: &Put, value: Vec<u8>) {
        let expected_old = self.alive(key.bytes);
        let mut guard = self.store.lock(key.bucket());
        let before = guard.find(key, self.now_ms).is_ok();
        assert!(before || expected_old.is_none() || self.may_miss(), "{:?} is lost", key.bytes);
        let mut saw_old = false;
        let result = guard.put(key, self.now_ms, put, value.len(), |bytes, old| {
            bytes.copy_from_slice(&value);
            if let Some(old) = old {
                saw_old = true;
                assert_eq!(Some(old.value), expected_old.as_ref().map(|item| &item.value[..]));
            }
        });
        match result {
            Ok(cas) => {
                assert_eq!(saw_old, before, "the old item is shown iff it is alive");
                assert!(put.cas.is_none_or(|wanted| wanted == cas));
                let Put { flags, exptime_ms, marks, .. } = *put;
                self.items.insert(key.bytes.to_vec(), Item { value, flags, cas, exptime_ms, marks });
            }
            Err(PutError::TooLarge) => assert!(self.store.too_large(key.bytes.len(), value.len())),
            Err(PutError::OutOfMemory) => {
                assert!(!self.is_ample, "no memory");
                assert_eq!(guard.find(key, self.now_ms).is_ok(), before, "a refused write has no effect");
            }
        }
    }

    /// A compound command: nothing may come between its look and its write.
    fn add(&mut self, key: Key<'_>, input: &mut Input<'_>) {
        let value = vec![b'a'; value_len(input) & 0xff];
        let mut guard = self.store.lock(key.bucket());
        if guard.find(key, self.now_ms).is_ok() {
            return;
        }
        let put = Put::default();
        let result = guard.put(key, self.now_ms, &put, value.len(), |bytes, old| {
            assert!(old.is_none(), "there was no item a moment ago");
            bytes.copy_from_slice(&value);
        });
        drop(guard);
        let was_there = self.alive(key.bytes).is_some();
        assert!(!was_there || self.may_miss());
        self.items.remove(key.bytes);
        if let Ok(cas) = result {
            let (flags, exptime_ms, marks) = (0, 0, Marks::default());
            self.items.insert(key.bytes.to_vec(), Item { value, flags, cas, exptime_ms, marks });
        }
    }

    fn get(&mut self, key: Key<'_>, bump: bool) {
        let found = self.store.get(key, self.now_ms, bump, |item| {
            assert_eq!(item.key, key.bytes);
            seen(&item)
        });
        let expected = self.alive(key.bytes);
        match found {
            Ok(found) => {
                assert_eq!(Some(&found), expected.as_ref());
                if let Some(item) = self.items.get_mut(key.bytes).filter(|_| bump) {
                    item.marks.fetched = true;
                }
            }
            Err(_) => self.missed(key.bytes),
        }
    }

    fn remove(&mut self, key: Key<'_>) {
        let removed = self.store.lock(key.bucket()).remove(key, self.now_ms);
        assert!(!removed || self.alive(key.bytes).is_some(), "removed what was not there");
        if !removed {
            self.missed(key.bytes);
        }
        self.items.remove(key.bytes);
        assert_eq!(self.store.get(key, self.now_ms, false, |_| ()), Err(Absent::Missing));
    }

    fn touch(&mut self, key: Key<'_>, input: &mut Input<'_>) {
        let exptime_ms = self.exptime(input);
        let done = self.store.lock(key.bucket()).set_exptime(key, self.now_ms, exptime_ms).is_ok();
        self.changed(key.bytes, done, |item| item.exptime_ms = exptime_ms);
    }

    fn mark(&mut self, key: Key<'_>, bits: u8) {
        let marks = marks(bits);
        let done = self.store.lock(key.bucket()).set_marks(key, self.now_ms, marks).is_ok();
        self.changed(key.bytes, done, |item| item.marks = marks);
    }

    fn changed(&mut self, name: &[u8], done: bool, change: impl FnOnce(&mut Item)) {
        if !done {
            return self.missed(name);
        }
        assert!(self.alive(name).is_some(), "changed what was not there");
        change(self.items.get_mut(name).expect("alive"));
    }

    fn wipe(&mut self, bucket: usize) {
        self.store.lock(bucket).wipe();
        self.items.retain(|name, _| bucket_of(name) != bucket);
    }

    fn wipe_all(&mut self, input: &mut Input<'_>) {
        // It takes as long as some hundred other steps.
        if input.chance(4) {
            self.store.wipe_all();
            self.items.clear();
        }
    }

    fn tag(&mut self, bucket: usize, tag: u64) {
        assert_eq!(self.store.tag(bucket), self.tags.get(&bucket).copied().unwrap_or(0));
        self.store.lock(bucket).set_tag(tag);
        assert_eq!(self.store.lock(bucket).tag(), tag);
        self.tags.insert(bucket, tag);
    }

    fn limit(&mut self, input: &mut Input<'_>) {
        let memory = SIZES[usize::from(input.byte()) % SIZES.len()];
        if memory < SIZES[3] && self.evict {
            self.is_ample = false;
            self.store.set_memory(memory);
        }
    }

    fn scan(&self, bucket: usize) {
        let mut count = 0;
        self.store.lock(bucket).scan(self.now_ms, |item| {
            assert_eq!(bucket_of(item.key), bucket);
            assert_eq!(Some(&seen(&item)), self.items.get(item.key), "a dead item is shown");
            count += 1;
        });
        let here = |(name, item): &(&Vec<u8>, &Item)| bucket_of(name) == bucket && self.is_alive(item);
        let expected = self.items.iter().filter(here).count();
        assert!(count == expected || (count < expected && self.may_miss()), "{count} of {expected}");
    }

    /// The store says that there is nothing: true, or evicted, which is for good.
    fn missed(&mut self, name: &[u8]) {
        assert!(self.alive(name).is_none() || self.may_miss(), "{} is lost", String::from_utf8_lossy(name));
        self.items.remove(name);
    }

    fn may_miss(&self) -> bool {
        self.evict && !self.is_ample
    }

    fn is_alive(&self, item: &Item) -> bool {
        item.exptime_ms == 0 || item.exptime_ms > self.now_ms
    }

    fn alive(&self, name: &[u8]) -> Option<Item> {
        self.items.get(name).filter(|item| self.is_alive(item)).cloned()
    }

    fn exptime(&self, input: &mut Input<'_>) -> u64 {
        match input.byte() {
            0 => 0,
            1 => 1,
            n => (self.now_ms / EXPTIME_STEP_MS + u64::from(n)) * EXPTIME_STEP_MS,
        }
    }

    fn check_all(&mut self) {
        for n in 0..KEY_COUNT {
            let name = name(n as u8);
            self.get(Key { bytes: &name, hash: xxh3_64(&name) }, false);
        }
        let mut live = 0;
        let buckets: std::collections::BTreeSet<_> =
            (0..KEY_COUNT).map(|n| bucket_of(&name(n as u8))).collect();
        for bucket in buckets {
            assert!(bucket < BUCKET_COUNT);
            self.scan(bucket);
            self.store.lock(bucket).scan(self.now_ms, |_| live += 1);
        }
        let stats = self.store.stats();
        assert!(live <= stats.items, "{live} live items, {stats:?}");
    }
}

fn seen(item: &ItemView<'_>) -> Item {
    let (flags, cas, exptime_ms, marks) = (item.flags, item.cas, item.exptime_ms, item.marks);
    Item { value: item.value.to_vec(), flags, cas, exptime_ms, marks }
}

/// Some share a bucket and slots: they differ in the low bits only, of which the index knows little.
fn name(n: u8) -> Vec<u8> {
    let filling = match n % 4 {
        0 => 0,
        1 => 3,
        2 => 40,
        _ => 200,
    };
    format!("{n}-{}", "x".repeat(filling)).into_bytes()
}

fn bucket_of(name: &[u8]) -> usize {
    (xxh3_64(name) >> 49) as usize
}

fn marks(bits: u8) -> Marks {
    Marks { fetched: bits & 1 != 0, stale: bits & 2 != 0, won: bits & 4 != 0, binary_key: bits & 8 != 0 }
}

/// Mostly short; seldom large enough for memory of its own.
fn value_len(input: &mut Input<'_>) -> usize {
    let (shift, len) = (input.byte(), input.byte());
    match shift % 16 {
        0..10 => usize::from(len),
        10..13 => usize::from(len) << 4,
        13 | 14 => usize::from(len) << 7,
        _ => usize::from(len) << 10,
    }
}

fn exptime_step(input: &mut Input<'_>) -> u64 {
    let n = input.byte();
    if n < 250 { u64::from(n) * EXPTIME_STEP_MS } else { 3_600_000 }
}
