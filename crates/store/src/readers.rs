//! When may memory be used again? When every reader that could have seen a pointer to it has gone.
//!
//! A reader puts the current epoch into a slot while it reads. Whoever takes the last pointer to some memory
//! away raises the epoch afterwards and keeps the memory until no slot holds an older epoch.
//!
//! **Why this is enough**: pinning (a read-modify-write), loading a pointer, taking a pointer away and looking
//! at the slots are all `SeqCst`, so they are in one order. A reader that loaded the pointer did so before it
//! was taken away, and pinned before that; the slots are looked at later, so its slot is seen in use, with an
//! epoch from before the raise. A slot seen empty or newer means that such a reader has unpinned (`Release`,
//! seen by an acquiring load), so all its reads happened before the memory is written again.
//!
//! Slots belong to nobody: a thread takes the first free one from where its stack points, so nothing needs to
//! be registered and a thread usually meets the same cache line again.
//!
//! Runs under loom too, in `crates/model`.

use crate::limits::READER_SLOT_COUNT;
use crate::sync::{AtomicU64, Ordering, thread_number, yield_now};

#[derive(Debug)]
pub(crate) struct Readers {
    /// Starts at one; zero in a slot means free.
    epoch: AtomicU64,
    slots: Box<[Slot; READER_SLOT_COUNT]>,
}

#[derive(Debug)]
#[repr(align(64))]
struct Slot(AtomicU64);

/// As long as it lives, no memory is used again to which a pointer could be loaded since it was made.
#[derive(Debug)]
pub(crate) struct Pin<'a>(&'a AtomicU64);

impl Readers {
    pub(crate) fn new() -> Self {
        Self { epoch: AtomicU64::new(1), slots: Box::new(std::array::from_fn(|_| Slot(AtomicU64::new(0)))) }
    }

    #[inline]
    pub(crate) fn pin(&self) -> Pin<'_> {
        let start = thread_number();
        for at in start.. {
            let slot = &self.slots[at % READER_SLOT_COUNT].0;
            let epoch = self.epoch.load(Ordering::SeqCst);
            if slot.compare_exchange(0, epoch, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                return Pin(slot);
            }
            if (at - start) % READER_SLOT_COUNT == READER_SLOT_COUNT - 1 {
                yield_now();
            }
        }
        unreachable!("the loop ends with a pin")
    }

    /// Called after the last pointer to some memory was taken away: the epoch to wait for.
    pub(crate) fn raise(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The oldest epoch that a reader may be in: memory retired at it or before may be used again.
    pub(crate) fn oldest(&self) -> u64 {
        let now = self.epoch.load(Ordering::SeqCst);
        let held = self.slots.iter().map(|slot| slot.0.load(Ordering::SeqCst)).filter(|epoch| *epoch != 0);
        held.fold(now, u64::min)
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_waits_for_the_readers_from_before_and_for_no_later_ones() {
        let readers = Readers::new();
        let before = readers.pin();
        let epoch = readers.raise();
        let after = readers.pin();
        assert!(readers.oldest() < epoch);
        drop(before);
        assert!(readers.oldest() >= epoch);
        drop(after);
        assert!(readers.oldest() >= epoch);
    }

    #[test]
    fn a_thread_may_hold_many_pins() {
        let readers = Readers::new();
        let pins: Vec<_> = (0..READER_SLOT_COUNT).map(|_| readers.pin()).collect();
        assert!(readers.oldest() < readers.raise());
        drop(pins);
    }
}
