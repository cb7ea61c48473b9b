//! The memcached text and binary protocols, the managed words, and the control codec: bytes <-> messages.
//!
//! **Invariants**: no I/O, no clock, no allocation on the data path; every byte that comes in is hostile, so
//! there is no indexing that can panic; what a peer sent is never asserted on.

// Tests index what they built themselves.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod binary;
pub mod bucket;
pub mod control;
pub mod datagram;
pub mod ids;
pub mod limits;
pub mod meta;
pub mod reply;
pub mod request;
pub mod tokens;

pub use bucket::{BUCKET_COUNT, Bucket, KeyHash};
pub use ids::{ClusterId, Generation, Incarnation, MapVersion, NodeId, Nonce, Term};

/// What `version` answers. Not ours but memcached's numbering: clients want three numbers up to 255, the first
/// at least 1, and some choose features by it: 1.4.14 and later have `config get`, 1.6 has the meta commands.
/// The patch number says that this is none of theirs.
pub const VERSION: &str = "1.6.200";
