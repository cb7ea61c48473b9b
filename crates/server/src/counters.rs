//! What each worker counts. One writer each, so counting takes no locked instruction and shares no line.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one worker, since the start or the last `stats reset`.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        /// Counters of all workers at one moment.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Totals {
            /// Sums up.
            pub fn of(all: &[Counters]) -> Self {
                Self { $($name: all.iter().map(|counters| counters.$name.get()).sum(),)* }
            }
        }

        impl Counters {
            /// Sets all to zero. What another thread counts in this moment may be lost.
            pub fn reset(&self) {
                $(self.$name.0.store(0, Ordering::Relaxed);)*
            }
        }
    };
}

counters! {
    /// Keys asked for by get and gets.
    cmd_get,
    /// Storage commands, cas included.
    cmd_set,
    /// flush_all.
    cmd_flush,
    /// touch, gat and gats.
    cmd_touch,
    /// me, and no other meta command.
    cmd_meta,
    /// Keys found.
    get_hits,
    /// Keys not found.
    get_misses,
    /// Of these, expired.
    get_expired,
    /// Of these, flushed or wiped.
    get_flushed,
    /// delete, nothing there.
    delete_misses,
    /// delete, done.
    delete_hits,
    /// incr, nothing there.
    incr_misses,
    /// incr, done.
    incr_hits,
    /// decr, nothing there.
    decr_misses,
    /// decr, done.
    decr_hits,
    /// cas, nothing there.
    cas_misses,
    /// cas, stored.
    cas_hits,
    /// cas, changed meanwhile.
    cas_badval,
    /// touch and gat, found.
    touch_hits,
    /// touch and gat, nothing there.
    touch_misses,
    /// Values over the item limit.
    store_too_large,
    /// Values refused for want of memory.
    store_no_memory,
    /// Attempts to authenticate.
    auth_cmds,
    /// Of these, with the wrong credentials.
    auth_errors,
    /// Refusals because the bucket is not owned, or not under that generation, or the lease is over.
    not_owner,
    /// Creating commands refused or undone because they came after their deadline.
    expired_deadline,
}

/// A number that one thread counts up and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    #[inline]
    pub fn count(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }

    /// The number now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
