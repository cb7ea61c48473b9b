//! What a manager demands before it starts.

use std::fs;
use std::time::Duration;

use doled_manager::{Manager, StartError, StateError, Storage};
use mapstore::{FILE_NAME, OpenError};
use tempfile::TempDir;

use crate::harness::{Harness, options};

#[test]
fn an_empty_directory_is_no_cluster_unless_asked_for() {
    let directory = TempDir::new().unwrap();
    let error = Manager::start(options(directory.path())).unwrap_err();
    assert!(matches!(error, StartError::State(StateError::Open(OpenError::Missing { .. }))), "{error}");
    assert!(error.to_string().contains("--bootstrap"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "something was created");
}

#[test]
fn asking_for_a_new_cluster_keeps_the_old_one() {
    let mut harness = Harness::start();
    let cluster = harness.get("/v1/status").1["cluster"].clone();
    harness.stop();
    let mut again = options(harness.directory.path());
    again.bootstrap = true;
    let manager = Manager::start(again).unwrap();
    let url = format!("http://{}/v1/status", manager.local_address());
    let status: serde_json::Value = ureq::get(url).call().unwrap().body_mut().read_json().unwrap();
    assert_eq!(status["cluster"], cluster);
}

#[test]
fn a_second_manager_is_told_which_file_is_taken() {
    let harness = Harness::start();
    let error = Manager::start(options(harness.directory.path())).unwrap_err();
    assert!(matches!(error, StartError::State(StateError::Open(OpenError::InUse { .. }))), "{error}");
    assert!(error.to_string().contains(FILE_NAME), "{error}");
}

#[test]
fn a_damaged_or_foreign_state_is_refused_and_kept() {
    for bytes in [b"not a state".as_slice(), &[0; 4096]] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join(FILE_NAME);
        fs::write(&path, bytes).unwrap();
        let mut options = options(directory.path());
        options.bootstrap = true;
        let error = Manager::start(options).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_taken_port_is_named_before_the_state_is_touched() {
    let harness = Harness::start();
    let directory = TempDir::new().unwrap();
    let mut options = options(directory.path());
    options.bootstrap = true;
    options.listen = harness.address();
    let error = Manager::start(options).unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    assert!(error.to_string().contains(&harness.address().to_string()), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_public_address_has_to_be_allowed() {
    let directory = TempDir::new().unwrap();
    let mut options = options(directory.path());
    options.bootstrap = true;
    options.listen = "0.0.0.0:0".parse().unwrap();
    let error = Manager::start(options.clone()).unwrap_err();
    assert!(matches!(error, StartError::PublicListen(_)), "{error}");
    assert!(error.to_string().contains("not authenticated"), "{error}");
    options.insecure_listen = true;
    Manager::start(options).unwrap();
}

#[test]
fn a_lease_that_nobody_can_keep_is_refused() {
    let directory = TempDir::new().unwrap();
    for lease in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(7200)] {
        let mut options = options(directory.path());
        options.lease = lease;
        assert!(matches!(Manager::start(options), Err(StartError::Lease(_))));
    }
}

#[test]
fn a_cluster_in_memory_starts_anew_each_time() {
    let mut options = options("/nonexistent".as_ref());
    options.storage = Storage::Memory;
    let manager = Manager::start(options).unwrap();
    assert_ne!(manager.local_address().port(), 0);
}

#[test]
fn a_stopped_manager_is_gone() {
    let mut harness = Harness::start();
    let address = harness.address();
    harness.stop();
    std::net::TcpListener::bind(address).unwrap();
}

#[test]
fn a_stop_from_elsewhere_ends_the_wait() {
    let harness = Harness::start();
    let stop = harness.manager().stop_handle();
    let stopper = std::thread::spawn(move || stop.stop());
    harness.into_manager().wait().unwrap();
    stopper.join().unwrap();
}
