//! A memory file in memory: written, read, torn and changed at every place that can matter.

use std::io::{self, Write};

use stdx::{ByteSize, LeaseTime};
use store::{BUCKET_COUNT, Key, Put, Store, StoreOptions};

use super::format::{Facts, MAGIC};
use super::read::{Loaded, read, read_magic};
use super::write::write;
use super::{Cold, Moment};
use crate::limits::MEMORY_FILE_FRAME_LEN;

const OPTIONS: StoreOptions =
    StoreOptions { memory: ByteSize::mib(16), item_size_max: ByteSize::mib(1), evict: true, seed: 77 << 40 };

/// The node ended at this time of its clock.
const END_MS: u64 = 1_000_000;

fn at(boot_s: u64, unix_s: u64, boot_id: u128) -> Moment {
    let lease = LeaseTime { boot: boot_s * 1_000_000_000, raw: 0 };
    Moment { lease, unix_ms: unix_s * 1000, boot_id }
}

fn facts(store: &Store) -> Facts {
    Facts {
        memory: OPTIONS.memory.0,
        item_size_max: OPTIONS.item_size_max.0,
        store_ms: END_MS,
        unix_ms: 5_000_000,
        boot_ns: 300_000_000_000,
        boot_id: 9,
        flush_at_ms: 0,
        numbering: store.numbering(),
    }
}

fn filled(item_count: u64, value_len: usize) -> Store {
    let store = Store::new(&OPTIONS);
    for n in 0..item_count {
        let name = n.to_string();
        let key = Key::of(name.as_bytes());
        // One of 128 s, 256 s, … of the time that is left, and never.
        let exptime_ms = if n % 8 == 0 { 0 } else { END_MS.next_multiple_of(128_000) + n % 8 * 128_000 };
        let put = Put { exptime_ms, flags: (n % 3) as u32, ..Put::default() };
        let mut guard = store.lock(key.bucket());
        guard.put(key, 1000, &put, value_len, |bytes, _| bytes.fill(n as u8)).expect("memory");
    }
    store
}

fn file(store: &Store) -> Vec<u8> {
    let mut out = Vec::new();
    let facts = facts(store);
    write(&mut out, &facts, store, || false).expect("memory");
    out
}

fn load(mut bytes: &[u8], now: &Moment) -> Result<Loaded, Cold> {
    read_magic(&mut bytes)?;
    read(&mut bytes, &OPTIONS, now, |_| ())
}

fn same_moment() -> Moment {
    at(300, 5000, 9)
}

#[track_caller]
fn cold(bytes: &[u8], now: &Moment, expect: &str) {
    let error = load(bytes, now).expect_err("a file that is not taken").to_string();
    assert!(error.contains(expect), "{error}");
}

#[test]
fn exptimes_go_on_while_the_node_is_down() {
    let bytes = file(&filled(800, 10));
    let count = |now: &Moment| {
        let loaded = load(&bytes, now).expect("a whole file");
        assert_eq!((loaded.item_count, loaded.store.stats().items), (800, loaded.restored_count));
        loaded.restored_count
    };
    assert_eq!(count(&same_moment()), 800);
    // In one boot of the machine the wall clock says nothing.
    assert_eq!(count(&at(300, 1, 9)), 800);
    assert_eq!(count(&at(300 + 200, 9_999_999, 9)), 700);
    assert_eq!(count(&at(300 + 100_000, 5000, 9)), 100);
    // In another, only the wall clock can be asked.
    assert_eq!(count(&at(0, 5000, 10)), 800);
    assert_eq!(count(&at(0, 5000 + 200, 10)), 700);
    assert_eq!(count(&at(0, 5000 + 200, 0)), 700);
    cold(&bytes, &at(9999, 4990, 10), "went back by 10 s");
}

/// Of so many bytes in the middle of a file each is torn and changed once.
const PLACES: usize = 20;

#[test]
fn a_file_that_is_torn_anywhere_is_not_taken() {
    // Facts and some frames of items.
    let bytes = file(&filled(6000, 500));
    assert!(bytes.len() > 2 * MEMORY_FILE_FRAME_LEN && load(&bytes, &same_moment()).is_ok());
    let step = bytes.len() / PLACES + 1;
    let end = bytes.len() - 40;
    let places = (0..40).step_by(3).chain((40..end).step_by(step)).chain((end..bytes.len()).step_by(3));
    for len in places {
        assert!(load(&bytes[..len], &same_moment()).is_err(), "{len} of {}", bytes.len());
        let mut changed = bytes.clone();
        changed[len] ^= 1 << (len % 8);
        assert!(load(&changed, &same_moment()).is_err(), "changed at {len}");
    }
    cold(&[&bytes[..], b"x"].concat(), &same_moment(), "behind its end");
    cold(&bytes[..bytes.len() - 1], &same_moment(), "ends in the middle");
    cold(b"", &same_moment(), "ends in the middle");
    cold(b"# Some notes\n", &same_moment(), "no memory file");
    let zeros = vec![0; bytes.len() - 100_000];
    cold(&[&bytes[..100_000], &zeros].concat(), &same_moment(), "checksum");
}

#[test]
fn frames_are_taken_in_their_order_only() {
    let bytes = file(&filled(6000, 500));
    let mut starts = vec![MAGIC.len() + 4];
    while let Some(head) = bytes.get(starts[starts.len() - 1]..).and_then(|rest| rest.first_chunk::<4>()) {
        starts.push(starts[starts.len() - 1] + 16 + u32::from_le_bytes(*head) as usize);
    }
    let frame = |n: usize| &bytes[starts[n]..starts[n + 1]];
    let begin = &bytes[..starts[2]];
    let last = starts.len() - 2;
    assert!(last >= 4);
    let swapped = [begin, frame(3), frame(2), &bytes[starts[4]..]].concat();
    cold(&swapped, &same_moment(), "cannot be");
    cold(&[begin, frame(2), &bytes[starts[4]..]].concat(), &same_moment(), "cannot be");
    cold(&[begin, frame(last)].concat(), &same_moment(), "cannot be");
}

#[test]
fn other_settings_and_formats_start_cold() {
    let bytes = file(&filled(10, 10));
    let with = |options: StoreOptions| {
        let mut rest = &bytes[MAGIC.len()..];
        read(&mut rest, &options, &same_moment(), |_| ()).expect_err("other settings").to_string()
    };
    assert_eq!(with(StoreOptions { memory: ByteSize::mib(32), ..OPTIONS }), "-m was 16 MiB, and is 32 MiB");
    let smaller = StoreOptions { item_size_max: ByteSize::kib(512), ..OPTIONS };
    assert_eq!(with(smaller), "-I was 1 MiB, and is 512 KiB");
    let mut newer = bytes.clone();
    newer[MAGIC.len()] = 2;
    cold(&newer, &same_moment(), "format 2");
}

#[test]
fn what_was_flushed_stays_away_and_no_cas_comes_twice() {
    let store = filled(100, 10);
    store.wipe_all();
    let key = Key::of(b"new");
    let put = |store: &Store| {
        let mut guard = store.lock(key.bucket());
        guard.put(key, 1000, &Put::default(), 0, |_, _| ()).expect("memory")
    };
    let cas = put(&store);
    store.lock(key.bucket()).remove(key, 1000);
    let loaded = load(&file(&store), &same_moment()).expect("a whole file");
    assert_eq!(loaded.item_count, 0);
    assert!(put(&loaded.store) > cas);
}

#[test]
fn who_runs_out_of_time_writes_a_whole_file_of_fewer_items() {
    let store = filled(6000, 500);
    let mut out = Vec::new();
    let facts = facts(&store);
    let written = write(&mut out, &facts, &store, || true).expect("memory");
    assert!(written.was_cut_short && (1..6000).contains(&written.item_count));
    let loaded = load(&out, &same_moment()).expect("a whole file");
    assert_eq!((loaded.item_count, loaded.restored_count), (written.item_count, written.item_count));
}

/// Takes so many bytes, then is full.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.0);
        self.0 -= len;
        if len > 0 { Ok(len) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_wherever_it_comes() {
    let len = file(&filled(3000, 500)).len();
    for room in (0..len).step_by(len / 20).chain([len - 1]) {
        let store = filled(3000, 500);
        let facts = facts(&store);
        let error = write(&mut Full(room), &facts, &store, || false).expect_err("a full disk");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn facts_are_read_as_written() {
    let store = filled(10, 10);
    let facts = Facts { flush_at_ms: 12, ..facts(&store) };
    let mut bytes = Vec::new();
    facts.encode(&mut bytes);
    assert_eq!(bytes.len(), 1 + 7 * 8 + 16 + 8 * BUCKET_COUNT);
    assert_eq!(Facts::decode(&bytes[1..]), Some(facts));
    assert_eq!(Facts::decode(&bytes[1..bytes.len() - 1]), None);
}
