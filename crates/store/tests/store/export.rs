//! A bucket's stream, applied to another store: random mutations in between, compared item by item.

use std::collections::{BTreeMap, VecDeque};

use doled_store::limits::{EXPORT_CHANGES_MAX, EXPORTS_MAX};
use doled_store::{Change, ExportError, ExportId, ItemView, Key, Marks, Put, Store};
use stdx::{ByteSize, Prng};

use crate::harness::{STEP_MS, key, stamped, store, store_with_seed};

/// All of these are in one bucket.
const BUCKET: usize = 7;

fn names(count: usize) -> Vec<Vec<u8>> {
    let numbers = (0u64..).map(|n| n.to_string().into_bytes());
    numbers.filter(|name| key(name).bucket() == BUCKET).take(count).collect()
}

#[derive(Clone, Debug, PartialEq)]
struct Item {
    value: Vec<u8>,
    flags: u32,
    cas: u64,
    exptime_ms: u64,
    marks: Marks,
}

impl Item {
    fn of(view: &ItemView<'_>) -> Self {
        let ItemView { flags, cas, exptime_ms, marks, .. } = *view;
        Self { value: view.value.to_vec(), flags, cas, exptime_ms, marks }
    }
}

/// A piece of a stream on its way.
enum Sent {
    Begin(u64),
    Wipe,
    Drop(u64),
    Fill(Vec<u8>, Item),
}

impl Sent {
    fn of(change: Change<'_>) -> Self {
        match change {
            Change::Begin { seq } => Self::Begin(seq),
            Change::Wipe => Self::Wipe,
            Change::Drop { hash } => Self::Drop(hash),
            Change::Fill(item) => Self::Fill(item.key.to_vec(), Item::of(&item)),
        }
    }

    fn apply(&self, store: &Store, now_ms: u64) {
        let change = match self {
            Self::Begin(seq) => Change::Begin { seq: *seq },
            Self::Wipe => Change::Wipe,
            Self::Drop(hash) => Change::Drop { hash: *hash },
            Self::Fill(key, item) => Change::Fill(ItemView {
                key,
                value: &item.value,
                flags: item.flags,
                cas: item.cas,
                exptime_ms: item.exptime_ms,
                last_access_ms: now_ms,
                marks: item.marks,
            }),
        };
        store.lock(BUCKET).apply(now_ms, change).expect("memory");
    }
}

fn items(store: &Store, now_ms: u64) -> BTreeMap<Vec<u8>, Item> {
    let mut items = BTreeMap::new();
    store.lock(BUCKET).scan(now_ms, |item| {
        items.insert(item.key.to_vec(), Item::of(&item));
    });
    items
}

struct Run {
    sender: Store,
    receiver: Store,
    names: Vec<Vec<u8>>,
    prng: Prng,
    now_ms: u64,
    stream: ExportId,
    on_the_way: VecDeque<Sent>,
    /// What was last written to each key, evicted or not.
    written: BTreeMap<Vec<u8>, Item>,
    value_len_max: u64,
}

impl Run {
    fn new(seed: u64, memory: ByteSize, value_len_max: u64, key_count: usize) -> Self {
        let mut prng = Prng::new(seed);
        let sender = store_with_seed(memory, prng.next_u64());
        let receiver = store_with_seed(ByteSize::mib(64), prng.next_u64());
        let stream = sender.lock(BUCKET).start_export().expect("the first");
        Self {
            sender,
            receiver,
            names: names(key_count),
            prng,
            now_ms: 1000,
            stream,
            on_the_way: VecDeque::new(),
            written: BTreeMap::new(),
            value_len_max,
        }
    }

    fn steps(&mut self, count: u64) {
        for _ in 0..count {
            let name = self.names[self.prng.below(self.names.len() as u64) as usize].clone();
            match self.prng.below(1000) {
                0..450 => self.put(&name),
                450..600 => self.remove(&name),
                600..680 => self.touch(&name),
                680..760 => self.mark(&name),
                760..763 => self.wipe(),
                763 if self.on_the_way.is_empty() => self.restart(),
                764..850 => self.export(),
                850..950 => self.receive(),
                _ => self.now_ms += self.prng.below(3) * STEP_MS,
            }
        }
        self.finish();
    }

    fn exptime(&mut self) -> u64 {
        let at_ms = (self.now_ms / STEP_MS + 1 + self.prng.below(200)) * STEP_MS;
        if self.prng.chance(1, 3) { at_ms } else { 0 }
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
            cas: (bits & 0x70 == 0).then_some(bits),
            marks: self.marks(),
        };
        let value = stamped(1, bits, self.prng.below(self.value_len_max) as usize);
        let mut guard = self.sender.lock(BUCKET);
        let stored =
            guard.put(key(name), self.now_ms, &put, value.len(), |bytes, _| bytes.copy_from_slice(&value));
        drop(guard);
        if let Ok(cas) = stored {
            let Put { flags, exptime_ms, marks, .. } = put;
            self.written.insert(name.to_vec(), Item { value, flags, cas, exptime_ms, marks });
        }
    }

    fn remove(&mut self, name: &[u8]) {
        self.sender.lock(BUCKET).remove(key(name), self.now_ms);
        self.written.remove(name);
    }

    fn touch(&mut self, name: &[u8]) {
        let exptime_ms = self.exptime();
        let done = self.sender.lock(BUCKET).set_exptime(key(name), self.now_ms, exptime_ms).is_ok();
        if let Some(item) = self.written.get_mut(name).filter(|_| done) {
            item.exptime_ms = exptime_ms;
        }
    }

    fn mark(&mut self, name: &[u8]) {
        let marks = self.marks();
        let done = self.sender.lock(BUCKET).set_marks(key(name), self.now_ms, marks).is_ok();
        if let Some(item) = self.written.get_mut(name).filter(|_| done) {
            item.marks = marks;
        }
    }

    fn wipe(&mut self) {
        self.sender.lock(BUCKET).wipe();
        self.written.clear();
    }

    fn restart(&mut self) {
        let mut guard = self.sender.lock(BUCKET);
        guard.end_export(self.stream);
        self.stream = guard.start_export().expect("the only one");
    }

    fn export(&mut self) {
        let bytes_max = self.prng.below(4000) as usize;
        let mut guard = self.sender.lock(BUCKET);
        let noted = guard.noted().expect("there is a stream");
        let (now_ms, on_the_way) = (self.now_ms, &mut self.on_the_way);
        let exported = guard
            .export(self.stream, now_ms, bytes_max, |change| on_the_way.push_back(Sent::of(change)))
            .expect("fewer keys than may wait");
        assert!(exported.covers == noted || (exported.has_more && exported.covers < noted));
    }

    fn receive(&mut self) {
        let count = self.prng.below(self.on_the_way.len() as u64 + 1) as usize;
        for sent in self.on_the_way.drain(..count) {
            sent.apply(&self.receiver, self.now_ms);
        }
    }

    /// Everything is handed over and applied; then both have the same, but for what the sender evicted.
    fn finish(&mut self) {
        loop {
            self.receive();
            let mut guard = self.sender.lock(BUCKET);
            let on_the_way = &mut self.on_the_way;
            let exported =
                guard.export(self.stream, self.now_ms, 3000, |change| on_the_way.push_back(Sent::of(change)));
            if !exported.expect("a stream").has_more {
                break;
            }
        }
        self.on_the_way.drain(..).for_each(|sent| sent.apply(&self.receiver, self.now_ms));
        let (here, there) = (items(&self.sender, self.now_ms), items(&self.receiver, self.now_ms));
        for (name, item) in &here {
            assert_eq!(there.get(name), Some(item), "{}", String::from_utf8_lossy(name));
        }
        for (name, item) in &there {
            assert_eq!(self.written.get(name), Some(item), "{}", String::from_utf8_lossy(name));
        }
        if self.sender.stats().evictions == 0 {
            assert_eq!(here, there);
        }
        self.new_cas_is_new(&there);
    }

    /// After a promotion, the receiver numbers on.
    fn new_cas_is_new(&self, items: &BTreeMap<Vec<u8>, Item>) {
        let mut guard = self.receiver.lock(BUCKET);
        let name = &self.names[0];
        let cas = guard.put(key(name), self.now_ms, &Put::default(), 0, |_, _| ()).expect("memory");
        assert!(items.values().all(|item| item.cas != cas));
        guard.remove(key(name), self.now_ms);
    }
}

/// Millions of steps take a few minutes: `EXPORT_STEPS=5000000 cargo test --release -p doled-store export`.
fn step_count() -> u64 {
    std::env::var("EXPORT_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

#[test]
fn who_applies_a_stream_in_order_has_the_same_bucket() {
    let count = step_count();
    for (seed, key_count) in [(1, 1), (2, 5), (3, 60), (4, 200)] {
        let run = &mut Run::new(seed, ByteSize::mib(64), 300, key_count);
        for _ in 0..10 {
            run.steps(count / 10);
        }
    }
}

#[test]
fn what_the_sender_evicts_is_never_older_at_the_receiver() {
    for seed in 0..3 {
        let run = &mut Run::new(100 + seed, ByteSize::mib(1), 30_000, 100);
        for _ in 0..10 {
            run.steps(step_count() / 20);
        }
        assert!(run.sender.stats().evictions > 0);
    }
}

#[test]
fn a_stream_whose_reader_is_too_slow_is_given_up_and_the_others_go_on() {
    let store = store(ByteSize::mib(64), true);
    let names = names(EXPORT_CHANGES_MAX + 1);
    let mut guard = store.lock(BUCKET);
    let [slow, fast] = [(); 2].map(|()| guard.start_export().expect("few"));
    guard.export(slow, 1, 1, |_| ()).expect("a stream");
    guard.export(fast, 1, 1, |_| ()).expect("a stream");
    for (n, name) in names.iter().enumerate() {
        // Changed again and again, a key waits once.
        for _ in 0..3 {
            guard.put(key(name), 1, &Put::default(), 1, |bytes, _| bytes.fill(b'v')).expect("memory");
        }
        if n == EXPORT_CHANGES_MAX / 2 {
            guard.export(fast, 1, usize::MAX, |_| ()).expect("a stream");
        }
    }
    assert_eq!(guard.export(slow, 1, 1, |_| ()), Err(ExportError::Overrun));
    assert_eq!(guard.export(slow, 1, 1, |_| ()), Err(ExportError::Ended));
    let done = guard.export(fast, 1, usize::MAX, |_| ()).expect("a stream");
    assert_eq!((done.covers, done.is_complete, done.has_more), (names.len() as u64 * 3, true, false));
    guard.end_export(fast);
    assert_eq!(guard.noted(), None);
}

#[test]
fn a_bucket_has_few_streams() {
    let store = store(ByteSize::mib(64), true);
    let mut guard = store.lock(BUCKET);
    (0..EXPORTS_MAX).for_each(|_| assert!(guard.start_export().is_ok()));
    assert_eq!(guard.start_export(), Err(ExportError::TooMany));
}

#[test]
fn a_delete_that_finds_nothing_travels_too() {
    let store = store(ByteSize::mib(64), true);
    let name = &names(1)[0];
    let mut guard = store.lock(BUCKET);
    let stream = guard.start_export().expect("the first");
    guard.export(stream, 1, 100, |_| ()).expect("a stream");
    assert!(!guard.remove(key(name), 1));
    let mut dropped = Vec::new();
    let visit = |change: Change<'_>| {
        if let Change::Drop { hash } = change {
            dropped.push(hash);
        }
    };
    assert_eq!(guard.export(stream, 1, 100, visit).map(|exported| exported.covers), Ok(1));
    assert_eq!(dropped, [key(name).hash]);
}

#[test]
fn steps_hold_what_was_asked_for_and_one_item_at_least() {
    let store = store(ByteSize::mib(64), true);
    let names = names(50);
    for name in &names {
        store
            .lock(BUCKET)
            .put(key(name), 1, &Put::default(), 100, |bytes, _| bytes.fill(b'v'))
            .expect("memory");
    }
    let mut guard = store.lock(BUCKET);
    for (bytes_max, most) in [(1, 1), (500, 5), (usize::MAX, 50)] {
        let stream = guard.start_export().expect("few");
        let mut met = 0;
        loop {
            let mut count = 0;
            let visit = |change: Change<'_>| count += usize::from(matches!(change, Change::Fill(_)));
            let exported = guard.export(stream, 1, bytes_max, visit).expect("a stream");
            met += count;
            assert!(count <= most && (count > 0 || !exported.has_more), "{count}");
            if !exported.has_more {
                break;
            }
        }
        assert_eq!(met, names.len());
        guard.end_export(stream);
    }
}

#[test]
fn fill_leaves_what_is_there() {
    let store = store(ByteSize::mib(64), true);
    let name = &names(1)[0];
    let view = |cas| ItemView {
        key: name,
        value: b"filled",
        flags: 3,
        cas,
        exptime_ms: 0,
        last_access_ms: 0,
        marks: Marks::default(),
    };
    let mut guard = store.lock(BUCKET);
    assert_eq!(guard.fill(&view(77), 1), Ok(true));
    assert_eq!(guard.fill(&view(78), 1), Ok(false));
    assert_eq!(guard.find(Key::of(name), 1).map(|item| (item.cas, item.flags)), Ok((77, 3)));
    // A number at or below the floor would be dead from the start.
    guard.wipe();
    assert_eq!(guard.fill(&view(1 << 15 | BUCKET as u64), 1), Ok(true));
    assert_eq!(guard.find(Key::of(name), 1).map(|item| item.cas), Ok(1 << 15 | BUCKET as u64));
}

#[test]
fn a_cas_that_the_sender_gave_out_is_never_given_out_again() {
    let (low, high) =
        (store_with_seed(ByteSize::mib(64), 1 << 30), store_with_seed(ByteSize::mib(64), 1 << 50));
    let name = &names(1)[0];
    for (sender, receiver) in [(&high, &low), (&low, &high)] {
        let put = |store: &Store| {
            let mut guard = store.lock(BUCKET);
            guard.put(key(name), 1, &Put::default(), 0, |_, _| ()).expect("memory")
        };
        let given = put(sender);
        sender.lock(BUCKET).remove(key(name), 1);
        let stream = sender.lock(BUCKET).start_export().expect("the first");
        let mut guard = sender.lock(BUCKET);
        let apply = |change: Change<'_>| receiver.lock(BUCKET).apply(1, change).expect("memory");
        guard.export(stream, 1, 100, apply).expect("a stream");
        drop(guard);
        assert!(put(receiver) > given);
    }
}
