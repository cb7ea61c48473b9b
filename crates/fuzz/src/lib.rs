//! Fuzz targets: functions that take any bytes and panic when something that must hold does not.
//!
//! libFuzzer drives them from the workspace in `fuzz/` (`cargo xtask fuzz`); the tests of this crate run them over
//! the inputs that were kept in `fuzz/corpus/`. A target says in its head what it asserts.
//!
//! **Invariants**: a target is a function of its bytes: the same bytes do the same, in any order of runs, and no
//! clock is read.

mod auth;
mod codec;
mod flags;
mod input;
mod map;
mod replies;
mod requests;
mod session;
mod store;

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its directory in `fuzz/corpus/`.
    pub name: &'static str,
    /// Panics when the bytes show a bug.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "requests", run: requests::run },
    Target { name: "replies", run: replies::run },
    Target { name: "session", run: session::run_text },
    Target { name: "binary", run: session::run_binary },
    Target { name: "auth", run: auth::run },
    Target { name: "store", run: store::run },
    Target { name: "codec", run: codec::run },
    Target { name: "map", run: map::run },
    Target { name: "flags", run: flags::run },
];
