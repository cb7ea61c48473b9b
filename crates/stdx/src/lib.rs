//! What std lacks: instants as plain numbers, the clocks that leases are measured with, a seeded
//! generator, and sizes as people write them.
//!
//! **Invariant**: nothing here knows of memcached, buckets or networks. Only `clock` reads a clock; the
//! pure crates (`proto`, `store`, `cluster`, `route`) take time as an argument and never call it.

pub mod byte_size;
pub mod clock;
pub mod prng;
pub mod time;

pub use byte_size::ByteSize;
pub use prng::Prng;
pub use time::{Instant, LeaseTime};
