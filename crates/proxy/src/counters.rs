//! What `stats` tells: each worker counts for itself, whoever is asked adds up.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one worker.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            /// Names and sums over all workers, in this file's order.
            pub(crate) fn sums(all: &[std::sync::Arc<Counters>]) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), all.iter().map(|one| one.$name.load(Ordering::Relaxed)).sum()),)*]
            }
        }
    };
}

counters! {
    /// Keys asked for by get, gets, gat, gats.
    cmd_get,
    /// Storage commands.
    cmd_set,
    /// delete commands.
    cmd_delete,
    /// incr and decr.
    cmd_arith,
    /// touch commands.
    cmd_touch,
    /// Keys found.
    get_hits,
    /// Keys not found, for whatever reason.
    get_misses,
    /// Of these, without a backend's word.
    get_misses_by_failure,
    /// `ERROR_NOT_OWNER` from nodes.
    not_owner,
    /// Requests sent again.
    retries,
    /// Writes answered as unknown.
    unknown,
    /// Writes answered as not done.
    not_done,
    /// Dirty reports made.
    dirty_reports,
    /// Backend connections opened.
    backend_connects,
    /// Backend connections that failed, broke or answered nonsense.
    backend_failures,
    /// Attempts that timed out.
    backend_timeouts,
    /// Maps taken over.
    maps,
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    // Only its own worker writes it, so a plain add is enough.
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
