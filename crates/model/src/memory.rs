//! Memory is not used again while a reader may look at it (`store::readers`).
//!
//! A slot of the index names a record. A writer takes the name away, raises the epoch and, when no reader is in an
//! older one, writes over the record. Loom watches that no read of the record meets that write.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::readers::Readers;
use crate::sync::{AtomicU64, Ordering};

/// A step of the writer or a reader that is left out or done too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// None.
    Nothing,
    /// The memory is used again whoever reads.
    NoLook,
    /// The memory is retired at the epoch that is there.
    NoRaise,
    /// The epoch is raised before the name is taken away.
    RaiseFirst,
    /// The reader looks at the slot before it pins.
    LatePin,
    /// The reader unpins before it is done.
    EarlyUnpin,
}

struct Shared {
    readers: Readers,
    /// One: names the record. Zero: names nothing.
    slot: AtomicU64,
    record: UnsafeCell<()>,
}

/// The model, with one step wrong.
pub fn model(wrong: Wrong, reader_count: usize) -> impl Fn() + Sync + Send + 'static {
    move || {
        let shared = Arc::new(Shared {
            readers: Readers::new(),
            slot: AtomicU64::new(1),
            record: UnsafeCell::new(()),
        });
        let threads: Vec<_> = (0..reader_count)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || read(&shared, wrong))
            })
            .collect();
        write(&shared, wrong);
        threads.into_iter().for_each(|thread| thread.join().expect("it returns"));
    }
}

fn read(shared: &Shared, wrong: Wrong) {
    let early = (wrong == Wrong::LatePin).then(|| shared.slot.load(Ordering::SeqCst));
    let pin = shared.readers.pin();
    let named = early.unwrap_or_else(|| shared.slot.load(Ordering::SeqCst));
    if wrong == Wrong::EarlyUnpin {
        drop(pin);
        if named != 0 {
            shared.record.with(|_| ());
        }
        return;
    }
    if named != 0 {
        shared.record.with(|_| ());
    }
}

fn write(shared: &Shared, wrong: Wrong) {
    let early = (wrong == Wrong::RaiseFirst).then(|| shared.readers.raise());
    shared.slot.store(0, Ordering::SeqCst);
    let epoch = match wrong {
        Wrong::NoRaise => shared.readers.oldest(),
        _ => early.unwrap_or_else(|| shared.readers.raise()),
    };
    if wrong == Wrong::NoLook || shared.readers.oldest() >= epoch {
        shared.record.with_mut(|_| ());
    }
}
