//! What lock-free code is made of: std's. `crates/model` compiles the same files with loom's in its place.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
