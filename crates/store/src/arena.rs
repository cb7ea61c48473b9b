//! Raw memory: chunks of address space mapped when first needed, and mappings of their own for large values.
//!
//! A place in the arena is a byte offset; a chunk is 64 MiB of it, so no range may cross a chunk's end. Pages
//! cost memory once they are touched, and are given back by [`Arena::discard`]. Chunks are never unmapped.
//!
//! **Invariant**: this file knows nothing of items. Who may look at which bytes when is the business of the
//! callers; what they must keep is said at each `unsafe fn`.
#![allow(unsafe_code, reason = "memory that threads read without a lock")]

use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::limits::{CHUNK_COUNT, CHUNK_LEN};

#[derive(Debug)]
pub(crate) struct Arena {
    chunks: Box<[OnceLock<Mapping>]>,
}

impl Arena {
    pub(crate) fn new() -> Self {
        Self { chunks: (0..CHUNK_COUNT).map(|_| OnceLock::new()).collect() }
    }

    /// Makes the chunk of `at` usable; false when the system refuses the address space.
    pub(crate) fn map(&self, at: u64) -> bool {
        let Some(chunk) = self.chunks.get((at / CHUNK_LEN as u64) as usize) else { return false };
        if chunk.get().is_none() {
            let Some(mapping) = Mapping::new(CHUNK_LEN, MapFlags::NORESERVE) else { return false };
            mapping.want_huge_pages();
            // When another thread was faster, its mapping stays and ours is dropped.
            let _ = chunk.set(mapping);
        }
        true
    }

    /// Atomic words at `at`, which is a multiple of eight.
    ///
    /// # Safety
    /// As long as the result lives, these bytes are accessed as such words only.
    #[inline]
    pub(crate) unsafe fn words(&self, at: u64, count: usize) -> &[AtomicU64] {
        assert!(at.is_multiple_of(8), "words at {at} are not aligned");
        let start = self.pointer(at, count * 8).cast::<AtomicU64>();
        // SAFETY: the range is mapped, aligned, initialised (zero or written), and the caller keeps it so.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), count) }
    }

    /// An atomic half word at `at`, which is a multiple of four.
    ///
    /// # Safety
    /// As [`Self::words`].
    #[inline]
    pub(crate) unsafe fn half_word(&self, at: u64) -> &AtomicU32 {
        assert!(at.is_multiple_of(4), "a half word at {at} is not aligned");
        let word = self.pointer(at, 4).cast::<AtomicU32>();
        // SAFETY: as in `words`.
        unsafe { word.as_ref() }
    }

    /// Bytes to read.
    ///
    /// # Safety
    /// As long as the result lives, nobody writes to these bytes.
    #[inline]
    pub(crate) unsafe fn bytes(&self, at: u64, len: usize) -> &[u8] {
        let start = self.pointer(at, len);
        // SAFETY: the range is mapped, and the caller sees to it that it does not change.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// Bytes to write.
    ///
    /// # Safety
    /// As long as the result lives, nobody else reads or writes these bytes.
    #[allow(clippy::mut_from_ref, reason = "the caller proves that the range is its own")]
    pub(crate) unsafe fn bytes_mut(&self, at: u64, len: usize) -> &mut [u8] {
        let start = self.pointer(at, len);
        // SAFETY: the range is mapped, and the caller alone uses it.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// Gives the pages of a range back; it reads as zeros afterwards.
    ///
    /// # Safety
    /// Nobody holds a reference into the range.
    pub(crate) unsafe fn discard(&self, at: u64, len: usize) {
        let start = self.pointer(at, len);
        // SAFETY: whole pages of a private anonymous mapping, to which nobody holds a reference.
        let done = unsafe { madvise(start.as_ptr().cast(), len, Advice::LinuxDontNeed) };
        debug_assert!(done.is_ok(), "madvise: {done:?}");
    }

    /// Asks for the cache line of `at`. Harmless wherever it points.
    #[inline]
    pub(crate) fn prefetch(&self, at: u64) {
        if let Some(mapping) = self.chunks.get((at / CHUNK_LEN as u64) as usize).and_then(OnceLock::get) {
            prefetch(mapping.start.as_ptr().wrapping_add((at % CHUNK_LEN as u64) as usize));
        }
    }

    #[inline]
    fn pointer(&self, at: u64, len: usize) -> NonNull<u8> {
        let offset = (at % CHUNK_LEN as u64) as usize;
        let mapping = self.chunks.get((at / CHUNK_LEN as u64) as usize).and_then(OnceLock::get);
        let mapping = mapping.expect("places come from mapped chunks");
        assert!(offset + len <= CHUNK_LEN, "{len} bytes at {at} cross the end of a chunk");
        // SAFETY: the offset is within the mapping, as just checked.
        unsafe { mapping.start.add(offset) }
    }
}

/// Memory of its own for one large value. Freed by [`Block::free`] only: whoever drops the last trace of it
/// must call that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The address, exposed.
    pub(crate) address: u64,
    pub(crate) len: u64,
}

impl Block {
    /// How much memory a block of `len` bytes really takes.
    pub(crate) const fn cost(len: u64) -> u64 {
        len.next_multiple_of(PAGE_LEN)
    }

    pub(crate) fn new(len: u64) -> Option<Self> {
        let mapping = Mapping::new(Self::cost(len) as usize, MapFlags::POPULATE)?;
        let address = mapping.start.as_ptr().expose_provenance() as u64;
        std::mem::forget(mapping);
        Some(Self { address, len })
    }

    /// # Safety
    /// As long as the result lives, the block is not freed and not written to.
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        let start = std::ptr::with_exposed_provenance(self.address as usize);
        // SAFETY: `new` mapped that many bytes there, and the caller keeps them so.
        unsafe { std::slice::from_raw_parts(start, self.len as usize) }
    }

    /// # Safety
    /// As long as the result lives, nobody else uses the block.
    pub(crate) unsafe fn bytes_mut<'a>(self) -> &'a mut [u8] {
        let start = std::ptr::with_exposed_provenance_mut(self.address as usize);
        // SAFETY: as in `bytes`, and the caller alone uses it.
        unsafe { std::slice::from_raw_parts_mut(start, self.len as usize) }
    }

    /// The same memory for another value, which takes no more of it; what that leaves is freed.
    ///
    /// # Safety
    /// As [`Self::free`], and `self` is not used any more.
    pub(crate) unsafe fn reuse(self, len: u64) -> Self {
        let (old, new) = (Self::cost(self.len), Self::cost(len));
        assert!(new <= old, "{old} bytes are used again for {new}");
        if new < old {
            // SAFETY: whole pages at the mapping's end, which the caller leaves to us.
            unsafe { Self { address: self.address + new, len: old - new }.free() };
        }
        Self { address: self.address, len }
    }

    /// # Safety
    /// Nobody holds a reference into the block, and it is not freed twice.
    pub(crate) unsafe fn free(self) {
        let start = std::ptr::with_exposed_provenance_mut::<u8>(self.address as usize);
        let start = NonNull::new(start).expect("blocks are not at zero");
        drop(Mapping { start, len: Self::cost(self.len) as usize });
    }
}

const PAGE_LEN: u64 = 4096;

/// An anonymous private mapping, unmapped when dropped.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is plain memory, bound to no thread.
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` gives only the address away; access goes through the unsafe functions above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(len: usize, flags: MapFlags) -> Option<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so no mapping in use is replaced.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), len, protection, flags | MapFlags::PRIVATE) };
        Some(Self { start: NonNull::new(start.ok()?.cast())?, len })
    }
}

impl Mapping {
    /// Fewer address translations to miss; where the system has none to give, small pages do.
    fn want_huge_pages(&self) {
        // SAFETY: the advice does not change what the memory holds.
        let _ = unsafe { madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxHugepage) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and whoever drops it vouches that nobody refers to it.
        let done = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(done.is_ok(), "munmap: {done:?}");
    }
}

/// Zeroed words that cost memory only where touched.
#[derive(Debug)]
pub(crate) struct Words {
    mapping: Option<Mapping>,
    count: usize,
}

impl Words {
    /// `count` words, or none where the system refuses.
    pub(crate) fn new(count: usize) -> Self {
        let mapping = if count == 0 { None } else { Mapping::new(count * 8, MapFlags::NORESERVE) };
        let count = if mapping.is_some() { count } else { 0 };
        Self { mapping, count }
    }

    pub(crate) fn as_slice(&self) -> &[AtomicU64] {
        let Some(mapping) = &self.mapping else { return &[] };
        // SAFETY: zeroed memory of that length, reached through this slice only.
        unsafe { std::slice::from_raw_parts(mapping.start.as_ptr().cast(), self.count) }
    }
}

/// Asks for the cache line of an address. Harmless wherever it points.
#[inline]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on caches.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch(at.cast(), _MM_HINT_T0);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
