//! libFuzzer around the targets of `crates/fuzz`: the environment's `DOLED_FUZZ_TARGET` says which.
//!
//! Built and run by `cargo xtask fuzz`, which instruments it.

#![no_main]

use std::sync::OnceLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("DOLED_FUZZ_TARGET").unwrap_or_default();
        let target = fuzz::TARGETS.iter().find(|target| target.name == name);
        let target = target.unwrap_or_else(|| panic!("DOLED_FUZZ_TARGET \"{name}\": there is no such target"));
        TARGET.get_or_init(|| *target);
    },
    |data: &[u8]| {
        let target = TARGET.get().expect("set by the initialisation");
        (target.run)(data);
    }
);
