//! The state file and the files around it: missing, taken, torn, foreign; and what a killed writer leaves.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use doled_mapstore::{EmbeddedStore, FILE_NAME, LoadError, MapStore, OpenError, Revision};
use stdx::Prng;
use tempfile::TempDir;

/// A directory with a state of some pages and `revision` changes.
fn state(revision: u64) -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut store = EmbeddedStore::create(directory.path()).unwrap();
    for number in 0..revision {
        let writes: Vec<_> =
            (0..32).map(|key| (format!("key/{key}"), Some(vec![number as u8; 2000]))).collect();
        store.compare_and_set(Revision(number), &writes).unwrap();
    }
    directory
}

fn file_of(directory: &Path) -> std::path::PathBuf {
    directory.join(FILE_NAME)
}

#[test]
fn a_missing_state_is_not_begun_anew() {
    let directory = TempDir::new().unwrap();
    let error = EmbeddedStore::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }));
    assert!(error.to_string().contains("--bootstrap"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn an_existing_state_is_not_created_over() {
    let directory = state(2);
    assert!(matches!(EmbeddedStore::create(directory.path()), Err(OpenError::Exists { .. })));
    fs::write(file_of(directory.path()), b"anything").unwrap();
    assert!(matches!(EmbeddedStore::create(directory.path()), Err(OpenError::Exists { .. })));
    assert_eq!(fs::read(file_of(directory.path())).unwrap(), b"anything");
}

#[test]
fn creating_leaves_one_file() {
    let directory = TempDir::new().unwrap();
    let nested = directory.path().join("a/b");
    drop(EmbeddedStore::create(&nested).unwrap());
    let names: Vec<_> = fs::read_dir(&nested).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [FILE_NAME]);
    assert_eq!(EmbeddedStore::open(&nested).unwrap().load().unwrap().revision, Revision(0));
}

#[test]
fn a_second_manager_is_told_which_file_is_taken() {
    let directory = TempDir::new().unwrap();
    let first = EmbeddedStore::create(directory.path()).unwrap();
    let error = EmbeddedStore::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(error.to_string().contains(&file_of(directory.path()).display().to_string()), "{error}");
    drop(first);
    let again = EmbeddedStore::open(directory.path()).unwrap();
    assert!(matches!(EmbeddedStore::open(directory.path()), Err(OpenError::InUse { .. })));
    drop(again);
}

#[test]
fn state_survives_being_closed() {
    let directory = state(5);
    let mut store = EmbeddedStore::open(directory.path()).unwrap();
    let snapshot = store.load().unwrap();
    assert_eq!((snapshot.revision, snapshot.records.len()), (Revision(5), 32));
    assert!(snapshot.records.values().all(|value| *value == vec![4; 2000]));
}

/// `bytes` in place of the state file are refused, and left as they are.
#[track_caller]
fn check_refused(bytes: &[u8]) -> OpenError {
    let directory = TempDir::new().unwrap();
    let path = file_of(directory.path());
    fs::write(&path, bytes).unwrap();
    let error = EmbeddedStore::open(directory.path()).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(fs::read(&path).unwrap() == bytes, "a refused file was written to");
    error
}

#[test]
fn foreign_files_are_refused_and_left_as_they_are() {
    let text = "# Someone's notes\n".repeat(1000);
    for bytes in [b"x".as_slice(), text.as_bytes(), &[0; 8192], &[0xff; 70_000]] {
        assert!(matches!(check_refused(bytes), OpenError::Foreign { .. } | OpenError::Corrupt { .. }));
    }
    assert!(matches!(check_refused(b""), OpenError::Corrupt { .. }));
}

#[test]
fn another_programs_file_of_the_same_engine_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("other");
    let other = redb::Database::create(&path).unwrap();
    let transaction = other.begin_write().unwrap();
    let table: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("about");
    transaction.open_table(table).unwrap().insert("magic", 1).unwrap();
    transaction.commit().unwrap();
    drop(other);
    assert!(matches!(check_refused(&fs::read(path).unwrap()), OpenError::Foreign { .. }));
}

#[test]
fn a_truncated_file_is_refused() {
    let directory = state(3);
    let whole = fs::read(file_of(directory.path())).unwrap();
    for percent in [1, 10, 25, 50] {
        check_refused(&whole[..whole.len() * percent / 100]);
    }
    check_refused(&whole[..1]);
    check_refused(&whole[..4096]);
}

/// Every flipped bit is either refused, or in bytes that carry nothing: then the state is whole.
#[test]
fn flipped_bits_are_never_believed() {
    let directory = state(3);
    let whole = fs::read(file_of(directory.path())).unwrap();
    let expected = EmbeddedStore::open(directory.path()).unwrap().load().unwrap();
    let (mut prng, mut refused) = (Prng::new(7), 0);
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64 + 1;
    for _ in 0..200 {
        let mut bytes = whole.clone();
        let place = prng.below(used) as usize;
        bytes[place] ^= 1 << prng.below(8);
        let damaged = TempDir::new().unwrap();
        fs::write(file_of(damaged.path()), &bytes).unwrap();
        match EmbeddedStore::open(damaged.path()) {
            Ok(mut store) => assert_eq!(store.load().unwrap(), expected, "byte {place} was believed"),
            Err(OpenError::Corrupt { .. } | OpenError::Foreign { .. }) => {
                refused += 1;
                assert!(fs::read(file_of(damaged.path())).unwrap() == bytes, "a refused file was written to");
            }
            Err(error) => panic!("byte {place}: {error}"),
        }
    }
    assert!(refused > 50, "only {refused} of 200 were noticed");
}

const WRITER: &str = "DOLED_TEST_WRITER_DIRECTORY";

/// Not a test: the process that `a_killed_writer_loses_nothing_acknowledged` kills.
#[test]
fn writer_process() {
    let Ok(directory) = env::var(WRITER) else { return };
    let mut store = EmbeddedStore::open(Path::new(&directory)).unwrap();
    let mut revision = store.load().unwrap().revision;
    // Bounded, should the killer be gone.
    for _ in 0..100_000 {
        let writes: Vec<_> = (0..4)
            .map(|key| (format!("key/{key}"), Some(revision.next().0.to_be_bytes().to_vec())))
            .collect();
        revision = store.compare_and_set(revision, &writes).unwrap();
        eprintln!("acknowledged {revision}");
    }
}

#[test]
fn a_killed_writer_loses_nothing_acknowledged() {
    let directory = TempDir::new().unwrap();
    drop(EmbeddedStore::create(directory.path()).unwrap());
    let mut prng = Prng::new(3);
    let mut total = 0;
    for round in 0..20 {
        let wanted = 1 + prng.below(12);
        let acknowledged = run_writer_until(directory.path(), wanted);
        let snapshot = EmbeddedStore::open(directory.path()).unwrap().load().unwrap();
        let found = snapshot.revision.0;
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "round {round}: {found} after {acknowledged}"
        );
        assert!(
            snapshot.records.values().all(|value| *value == found.to_be_bytes()),
            "round {round}: a torn change"
        );
        total += wanted;
        assert!(found >= total);
    }
}

/// Kills the writer after `wanted` acknowledgements or a few more; the last one that it said.
fn run_writer_until(directory: &Path, wanted: u64) -> u64 {
    let mut writer = Command::new(env::current_exe().unwrap())
        .args(["--exact", "writer_process", "--nocapture"])
        .env(WRITER, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut count, mut last) = (0, 0);
    let mut lines = BufReader::new(writer.stderr.take().unwrap());
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // A line that the kill has cut off says nothing.
        let number = line.strip_prefix("acknowledged ").and_then(|rest| rest.strip_suffix('\n'));
        if let Some(number) = number {
            last = number.parse().unwrap();
            count += 1;
            if count == wanted {
                writer.kill().unwrap();
            }
        }
        line.clear();
    }
    writer.wait().unwrap();
    assert!(count >= wanted, "the writer ended by itself after {count}");
    last
}

#[test]
fn a_state_that_vanishes_under_its_manager_is_no_silent_start() {
    let directory = TempDir::new().unwrap();
    let mut store = EmbeddedStore::create(directory.path()).unwrap();
    fs::remove_file(file_of(directory.path())).unwrap();
    // The open file goes on; the next start says so.
    assert!(!matches!(store.load(), Err(LoadError::Corrupt { .. })));
    drop(store);
    assert!(matches!(EmbeddedStore::open(directory.path()), Err(OpenError::Missing { .. })));
}
