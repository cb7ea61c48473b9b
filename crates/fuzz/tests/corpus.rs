//! Every input that was kept is run again: what a fuzzer once reached, and what it once broke.

use std::fs;
use std::path::{Path, PathBuf};

/// Most bytes of all kept inputs together.
const CORPUS_LEN_MAX: u64 = 250 << 10;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn inputs(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory of inputs");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[track_caller]
fn replay(name: &str) {
    let target = doled_fuzz::TARGETS.iter().find(|target| target.name == name).expect("a target");
    let inputs = inputs(&corpus().join(name));
    assert!(!inputs.is_empty(), "{name} has no inputs");
    for path in inputs {
        let bytes = fs::read(&path).expect("an input");
        if std::panic::catch_unwind(|| (target.run)(&bytes)).is_err() {
            panic!("{}: see above", path.display());
        }
    }
    (target.run)(b"");
}

macro_rules! replays {
    ($($name:ident),*) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<_> = doled_fuzz::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replays!(requests, replies, session, binary, auth, store, codec, map, flags);

#[test]
fn the_corpora_stay_small() {
    let files = inputs(&corpus()).into_iter().flat_map(|directory| inputs(&directory));
    let len: u64 = files.map(|path| path.metadata().expect("an input").len()).sum();
    assert!(len <= CORPUS_LEN_MAX, "{len} bytes: cargo xtask fuzz --minimise TARGET");
}
