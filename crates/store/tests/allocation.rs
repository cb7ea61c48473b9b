//! A get that hits, a get that misses and an overwrite allocate nothing. A binary of its own: it counts what
//! the whole process allocates.
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use doled_store::{Key, Put, Sought, Store, StoreOptions};
use stdx::ByteSize;
use xxhash_rust::xxh3::xxh3_64;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[track_caller]
fn allocates_nothing(what: &str, run: impl FnOnce()) {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    run();
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "allocations in {what}");
}

#[test]
fn the_hot_paths_allocate_nothing() {
    let options =
        StoreOptions { memory: ByteSize::mib(4), item_size_max: ByteSize::mib(1), evict: true, seed: 0 };
    let store = Store::new(&options);
    let names: Vec<[u8; 8]> = (0..20_000u64).map(u64::to_be_bytes).collect();
    let key = |name: &'static [u8]| Key { bytes: name, hash: xxh3_64(name) };
    let names: &'static [[u8; 8]] = names.leak();
    let write = || {
        for name in names {
            let key = key(name);
            let stored =
                store.lock(key.bucket()).put(key, 0, &Put::default(), 100, |bytes, _| bytes.fill(b'v'));
            assert!(stored.is_ok());
        }
    };
    // Until every queue has been as long as it gets.
    (0..30).for_each(|_| write());
    let hits = || names.iter().filter(|name| store.get(key(&name[..]), 1, true, |_| ()).is_ok()).count();
    assert_eq!(hits(), names.len());
    allocates_nothing("hits", || assert_eq!(hits(), names.len()));
    allocates_nothing("misses", || assert!(store.get(key(b"absent"), 1, true, |_| ()).is_err()));
    allocates_nothing("prefetching", || {
        let mut batch: [Sought<'_>; 32] = std::array::from_fn(|n| key(&names[n][..]).into());
        store.prefetch(&mut batch);
    });
    allocates_nothing("overwrites", write);
}
