//! Stores, keys and values for the tests.

use doled_store::{Absent, Key, Put, PutError, Store, StoreOptions};
use stdx::ByteSize;
use xxhash_rust::xxh3::xxh3_64;

/// Exptimes are kept in steps; tests use whole ones, so that every engine expires at the same moment.
pub(crate) const STEP_MS: u64 = doled_store::limits::EXPTIME_STEP_MS;

pub(crate) fn store(memory: ByteSize, evict: bool) -> Store {
    Store::new(&StoreOptions { memory, item_size_max: ByteSize::mib(1), evict, seed: 0x1234_5678_9abc_def0 })
}

pub(crate) fn store_with_seed(memory: ByteSize, seed: u64) -> Store {
    Store::new(&StoreOptions { memory, item_size_max: ByteSize::mib(1), evict: true, seed })
}

pub(crate) fn key(bytes: &[u8]) -> Key<'_> {
    Key { bytes, hash: xxh3_64(bytes) }
}

/// Stores a value under the key's lock; no flags, no exptime.
pub(crate) fn set(store: &Store, name: &[u8], now_ms: u64, value: &[u8]) -> Result<u64, PutError> {
    set_with(store, name, now_ms, &Put::default(), value)
}

pub(crate) fn set_with(
    store: &Store,
    name: &[u8],
    now_ms: u64,
    put: &Put,
    value: &[u8],
) -> Result<u64, PutError> {
    let key = key(name);
    store.lock(key.bucket()).put(key, now_ms, put, value.len(), |bytes, _| bytes.copy_from_slice(value))
}

pub(crate) fn value_of(store: &Store, name: &[u8], now_ms: u64) -> Result<Vec<u8>, Absent> {
    store.get(key(name), now_ms, true, |item| item.value.to_vec())
}

pub(crate) fn remove(store: &Store, name: &[u8], now_ms: u64) -> bool {
    let key = key(name);
    store.lock(key.bucket()).remove(key, now_ms)
}

/// A value that says whose it is: every eight bytes are the key's number mixed with the version.
pub(crate) fn stamped(key: u64, version: u64, len: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(len + 16);
    value.extend_from_slice(&key.to_le_bytes());
    value.extend_from_slice(&version.to_le_bytes());
    let word = (key ^ version.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while value.len() < len {
        value.extend_from_slice(&word.to_le_bytes());
    }
    value.truncate(len.max(16));
    value
}

/// Key and version of a stamped value.
///
/// # Panics
/// If the value is torn: not all of it comes from one write.
#[track_caller]
pub(crate) fn read_stamp(value: &[u8]) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(value[at..at + 8].try_into().expect("eight bytes"));
    let (key, version) = (word(0), word(8));
    assert_eq!(value, stamped(key, version, value.len()), "a torn value of key {key}");
    (key, version)
}
