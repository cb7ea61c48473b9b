//! The items of one node: memory, index, eviction, expiry, and a floor and a tag for each bucket.
//!
//! Threads share one `Store`. Reads go through [`Store::get`] and take no lock; mutations hold the lock of their
//! key's bucket ([`Store::lock`]) for as long as they check and change, so a compound command (add, cas, incr)
//! is one step.
//!
//! The *floor* is the write sequence number below or at which a bucket's items are dead: wiping a bucket is
//! raising it. The *tag* is a number that the caller ties to a bucket and checks under the same lock as the
//! mutation (the generation under which the bucket is owned); the store itself gives it no meaning.
//!
//! **Invariants**: no clock is read and nothing is spawned; `now_ms` is an argument. Time is milliseconds
//! since a start that the caller chooses, the same for all calls; an exptime of zero is never.

mod arena;
mod counters;
mod evicted;
mod export;
mod ghost;
mod heap;
mod index;
pub mod item;
mod lane;
pub mod limits;
mod lines;
mod pool;
mod put;
mod readers;
mod record;
mod rights;
mod room;
mod save;
mod segments;
pub mod stats;
mod store;
mod sync;

pub use evicted::Evicted;
pub use export::{Change, ExportError, ExportId, Exported};
pub use item::{Absent, ItemView, Key, Marks, Put, PutError, Sought};
pub use save::{Numbering, Saved};
pub use stats::StoreStats;
pub use store::{BucketGuard, Store, StoreOptions};

/// How many buckets there are; a key's bucket is the top 15 bits of its hash.
pub const BUCKET_COUNT: usize = 1 << 15;
