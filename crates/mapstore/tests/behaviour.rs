//! One suite of behaviour, run on every store.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use doled_mapstore::{
    CasError, EmbeddedStore, KEY_LEN_MAX, MapStore, MemoryStore, Revision, TXN_WRITES_MAX, Write,
};
use tempfile::TempDir;

/// Runs a test on a fresh store of each kind.
fn on_each_store(test: impl Fn(&mut dyn MapStore)) {
    test(&mut MemoryStore::new());
    let directory = TempDir::new().unwrap();
    test(&mut EmbeddedStore::create(directory.path()).unwrap());
}

fn put(key: &str, value: &str) -> Write {
    (key.to_owned(), Some(value.as_bytes().to_vec()))
}

fn delete(key: &str) -> Write {
    (key.to_owned(), None)
}

#[track_caller]
fn check(store: &mut dyn MapStore, revision: u64, records: &[(&str, &str)]) {
    let snapshot = store.load().unwrap();
    let found: Vec<(&str, &str)> = snapshot
        .records
        .iter()
        .map(|(key, value)| (key.as_str(), std::str::from_utf8(value).unwrap()))
        .collect();
    assert_eq!(snapshot.revision, Revision(revision));
    assert_eq!(found, records);
}

#[test]
fn a_new_store_is_empty_at_revision_zero() {
    on_each_store(|store| check(store, 0, &[]));
}

#[test]
fn a_change_is_seen_with_its_revision() {
    on_each_store(|store| {
        assert_eq!(store.compare_and_set(Revision(0), &[put("b", "1"), put("a", "2")]).unwrap(), Revision(1));
        check(store, 1, &[("a", "2"), ("b", "1")]);
        assert_eq!(
            store.compare_and_set(Revision(1), &[put("b", "3"), delete("a"), delete("no")]).unwrap(),
            Revision(2)
        );
        check(store, 2, &[("b", "3")]);
    });
}

#[test]
fn a_change_at_another_revision_changes_nothing() {
    on_each_store(|store| {
        store.compare_and_set(Revision(0), &[put("a", "1")]).unwrap();
        for expected in [0, 2, u64::MAX] {
            let error =
                store.compare_and_set(Revision(expected), &[put("a", "2"), put("b", "2")]).unwrap_err();
            assert!(matches!(error, CasError::Conflict { found: Revision(1), .. }), "{error}");
        }
        check(store, 1, &[("a", "1")]);
    });
}

#[test]
fn an_empty_change_raises_the_revision() {
    on_each_store(|store| {
        assert_eq!(store.compare_and_set(Revision(0), &[]).unwrap(), Revision(1));
        check(store, 1, &[]);
    });
}

#[test]
fn the_last_write_of_a_key_wins() {
    on_each_store(|store| {
        store
            .compare_and_set(Revision(0), &[put("a", "1"), put("a", "2"), put("b", "1"), delete("b")])
            .unwrap();
        check(store, 1, &[("a", "2")]);
    });
}

#[test]
fn any_bytes_are_values() {
    on_each_store(|store| {
        let bytes: Vec<u8> = (0..=255).collect();
        store
            .compare_and_set(
                Revision(0),
                &[("bytes".into(), Some(bytes.clone())), ("none".into(), Some(vec![]))],
            )
            .unwrap();
        let records = store.load().unwrap().records;
        assert_eq!((&records["bytes"], &records["none"]), (&bytes, &vec![]));
    });
}

#[test]
fn changes_over_the_limits_change_nothing() {
    on_each_store(|store| {
        let key = "k".repeat(KEY_LEN_MAX);
        store.compare_and_set(Revision(0), &[(key.clone(), Some(vec![1]))]).unwrap();
        let long = vec![(format!("{key}k"), Some(vec![]))];
        let many = vec![delete("k"); TXN_WRITES_MAX + 1];
        let large = vec![("k".to_owned(), Some(vec![0; store.txn_bytes_max()]))];
        for writes in [long, many, large] {
            let error = store.compare_and_set(Revision(1), &writes).unwrap_err();
            assert!(matches!(error, CasError::TooLarge { .. }), "{error}");
        }
        check(store, 1, &[(&key, "\u{1}")]);
    });
}

#[test]
fn a_store_says_what_it_is() {
    on_each_store(|store| assert!(!store.describe().is_empty()));
}
