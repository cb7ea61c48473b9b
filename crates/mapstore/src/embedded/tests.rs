//! The embedded store on a disk that fails at its n-th call, and on one that loses power.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use stdx::Prng;

use super::{EmbeddedStore, OpenError, SharedDisk, format};
use crate::map_store::{CasError, MapStore, Revision, Write};

/// Torn writes happen at the borders of sectors.
const SECTOR: usize = 512;

/// A disk in memory that knows which bytes an fsync has made durable.
#[derive(Debug, Default)]
struct TestDisk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What reads see.
    seen: Vec<u8>,
    /// What is on the platter.
    durable: Vec<u8>,
    /// Writes since the last fsync, in order: offset and bytes.
    unsynced: Vec<(usize, Vec<u8>)>,
    /// Calls that change something, left before each one fails; `None`: never.
    calls_left: Option<u64>,
    /// Bytes that fit; more fail as on a full disk.
    capacity: Option<usize>,
}

impl State {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.calls_left {
            Some(0) => Err(io::Error::other("injected")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn grow(&mut self, len: usize) -> io::Result<()> {
        if self.capacity.is_some_and(|capacity| len > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.seen.resize(len.max(self.seen.len()), 0);
        Ok(())
    }
}

impl TestDisk {
    /// A disk with an empty store on it.
    fn initialized() -> Arc<Self> {
        let disk = Arc::new(Self::default());
        let shared: Arc<dyn StorageBackend> = Arc::clone(&disk) as Arc<dyn StorageBackend>;
        format::initialize(SharedDisk(shared)).expect("a new store");
        disk
    }

    fn holding(bytes: Vec<u8>) -> Arc<Self> {
        let state = State { seen: bytes.clone(), durable: bytes, ..State::default() };
        Arc::new(Self(Mutex::new(state)))
    }

    fn store(self: &Arc<Self>) -> Result<EmbeddedStore, OpenError> {
        EmbeddedStore::on(PathBuf::from("test-disk"), Arc::clone(self) as Arc<dyn StorageBackend>)
    }

    fn set_calls_left(&self, calls: Option<u64>) {
        self.0.lock().unwrap().calls_left = calls;
    }

    fn set_capacity(&self, capacity: Option<usize>) {
        self.0.lock().unwrap().capacity = capacity;
    }

    /// What a power loss now leaves: what was synced, and of the rest any sectors.
    fn after_power_loss(&self, prng: &mut Prng) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        let mut left = state.durable.clone();
        for (offset, bytes) in &state.unsynced {
            for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                let start = offset + index * SECTOR;
                if prng.chance(1, 2) {
                    left.resize(left.len().max(start + sector.len()), 0);
                    left[start..start + sector.len()].copy_from_slice(sector);
                }
            }
        }
        left
    }
}

impl StorageBackend for TestDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (state, start) = (self.0.lock().unwrap(), offset as usize);
        let bytes = state.seen.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.spend()?;
        state.grow(len as usize)?;
        state.seen.truncate(len as usize);
        // Journalled by file systems, and in order: taken as durable at once, which is the worse case.
        state.durable.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.spend()?;
        state.durable = state.seen.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (mut state, start) = (self.0.lock().unwrap(), offset as usize);
        state.spend()?;
        state.grow(start + data.len())?;
        state.seen[start..start + data.len()].copy_from_slice(data);
        state.unsynced.push((start, data.to_vec()));
        Ok(())
    }
}

/// A change of several records that all say the same number.
fn numbered(number: u64) -> Vec<Write> {
    (0..8).map(|index| (format!("record/{index}"), Some(number.to_be_bytes().repeat(300)))).collect()
}

/// The number that the store's records agree on; zero in an empty store.
#[track_caller]
fn number(store: &mut EmbeddedStore) -> u64 {
    let snapshot = store.load().expect("a state");
    let first = snapshot.records.values().next().cloned().unwrap_or_default();
    assert!(snapshot.records.values().all(|bytes| *bytes == first), "a change was applied in part");
    let number = first.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    assert_eq!(snapshot.revision, Revision(number));
    number
}

#[test]
fn a_change_fails_cleanly_at_each_call_of_the_disk() {
    let disk = TestDisk::initialized();
    let mut store = disk.store().unwrap();
    let (mut acknowledged, mut refused, mut unknown) = (0, 0, 0);
    for calls in 0.. {
        disk.set_calls_left(Some(calls));
        let result = store.compare_and_set(Revision(acknowledged), &numbered(acknowledged + 1));
        disk.set_calls_left(None);
        match result {
            Ok(revision) => {
                assert_eq!(revision, Revision(acknowledged + 1));
                break;
            }
            Err(CasError::Io { .. }) => {
                refused += 1;
                assert_eq!(number(&mut store), acknowledged, "it was said that nothing was changed");
            }
            Err(CasError::Unknown { .. }) => {
                unknown += 1;
                let found = number(&mut store);
                assert!(found == acknowledged || found == acknowledged + 1, "{found} after {acknowledged}");
                acknowledged = found;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused + unknown > 3, "{refused} refused, {unknown} unknown: the disk was never asked");
    assert_eq!(number(&mut store), acknowledged + 1);
}

#[test]
fn a_full_disk_refuses_and_serves_again_when_there_is_room() {
    let disk = TestDisk::initialized();
    let mut store = disk.store().unwrap();
    store.compare_and_set(Revision(0), &numbered(1)).unwrap();
    let large = [("large".to_owned(), Some(vec![7; 16 << 20]))];
    let len = disk.len().unwrap() as usize;
    disk.set_capacity(Some(len + (1 << 20)));
    for _ in 0..3 {
        let error = store.compare_and_set(Revision(1), &large).unwrap_err();
        assert!(matches!(error, CasError::Io { .. } | CasError::Unknown { .. }), "{error}");
        assert_eq!(number(&mut store), 1);
    }
    disk.set_capacity(None);
    store.compare_and_set(Revision(1), &large).unwrap();
}

#[test]
fn power_loss_at_each_call_loses_nothing_acknowledged() {
    for seed in 0..150 {
        let mut prng = Prng::new(seed);
        let disk = TestDisk::initialized();
        let mut store = disk.store().unwrap();
        let mut acknowledged = 0;
        disk.set_calls_left(Some(prng.below(60)));
        while store.compare_and_set(Revision(acknowledged), &numbered(acknowledged + 1)).is_ok() {
            acknowledged += 1;
        }
        let left = disk.after_power_loss(&mut prng);
        let mut store =
            TestDisk::holding(left).store().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found = number(&mut store);
        assert!(
            (acknowledged..=acknowledged + 1).contains(&found),
            "seed {seed}: {found} after {acknowledged}"
        );
    }
}
