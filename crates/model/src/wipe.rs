//! A bucket that is wiped and changes hands (`store::rights`): nothing from before the wipe is seen by who knows of it,
//! or who acts under the new tag; and nothing that a mutation under the old tag wrote is alive afterwards.
//!
//! The bucket's lock is loom's; its one slot names the item by its seq, as the record behind it does.

use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::rights::Rights;
use crate::sync::{AtomicU64, Ordering};

const OLD: u64 = 7;
const NEW: u64 = 8;

/// A step left out or done at the wrong time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// None.
    Nothing,
    /// The bucket gets its new tag before it is wiped.
    TagFirst,
    /// It is not wiped.
    NoWipe,
    /// The mutation looks at the tag before it has the lock.
    TagWithoutLock,
    /// A reader does not look at the floor.
    NoFloor,
    /// A reader looks at the floor before it looks at the tag.
    FloorFirst,
}

struct Bucket {
    /// Holds the seq of the last write.
    writes: Mutex<u64>,
    rights: Rights,
    /// The seq of the item that it names, zero for none.
    slot: AtomicU64,
    /// One when somebody was told that the bucket has been wiped.
    told: AtomicU64,
}

impl Bucket {
    /// Owned under the old tag, with an item.
    fn new() -> Self {
        let rights = Rights::new(0);
        rights.set_tag(OLD);
        Self { writes: Mutex::new(1), rights, slot: AtomicU64::new(1), told: AtomicU64::new(0) }
    }

    fn change_hands(&self, wrong: Wrong) {
        let writes = self.writes.lock().expect("not poisoned");
        if wrong == Wrong::TagFirst {
            self.rights.set_tag(NEW);
        }
        if wrong != Wrong::NoWipe {
            self.rights.wipe(*writes);
        }
        self.rights.set_tag(NEW);
        drop(writes);
        self.told.store(1, Ordering::Release);
    }

    fn put(&self, wrong: Wrong) {
        let early = (wrong == Wrong::TagWithoutLock).then(|| self.rights.tag());
        let mut writes = self.writes.lock().expect("not poisoned");
        if early.unwrap_or_else(|| self.rights.tag()) == OLD {
            *writes += 1;
            self.slot.store(*writes, Ordering::SeqCst);
        }
    }

    /// What a look-up sees.
    fn get(&self, wrong: Wrong) -> Option<u64> {
        let seq = self.slot.load(Ordering::SeqCst);
        (seq != 0 && (wrong == Wrong::NoFloor || !self.rights.is_wiped(seq))).then_some(seq)
    }

    /// Nothing is written under the new tag here, so who knows of it must see nothing.
    fn check_as_told(&self, wrong: Wrong) {
        if self.told.load(Ordering::Acquire) == 1 {
            assert_eq!(self.get(wrong), None, "an item from before the wipe that has returned");
        }
    }

    fn check_as_owner(&self, wrong: Wrong) {
        let early = (wrong == Wrong::FloorFirst).then(|| self.get(wrong));
        if self.rights.tag() == NEW {
            let seen = early.unwrap_or_else(|| self.get(wrong));
            assert_eq!(seen, None, "an item of the owner before");
        }
    }
}

/// The model, with one step wrong.
pub fn model(wrong: Wrong) -> impl Fn() + Sync + Send + 'static {
    move || {
        let bucket = Arc::new(Bucket::new());
        let spawn = |run: fn(&Bucket, Wrong)| {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || run(&bucket, wrong))
        };
        let threads = [
            spawn(|bucket, wrong| {
                bucket.check_as_owner(wrong);
                bucket.check_as_told(wrong);
            }),
            spawn(Bucket::put),
        ];
        bucket.change_hands(wrong);
        threads.into_iter().for_each(|thread| thread.join().expect("it returns"));
        bucket.check_as_told(Wrong::Nothing);
    }
}
