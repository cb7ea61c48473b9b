//! What lock-free code is made of: std's. `crates/model` compiles the same files with loom's in its place.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::thread::yield_now;

/// A number that differs between threads and rarely within one: where its stack is, by 64 KiB.
pub(crate) fn thread_number() -> usize {
    let here = 0u8;
    let page = std::ptr::from_ref(&here).addr() as u64 >> 16;
    (page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}
