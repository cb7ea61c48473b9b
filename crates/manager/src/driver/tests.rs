//! The driver over a store that fails, lies about nothing, and is written by another leader.

use std::sync::{Arc, Mutex, MutexGuard};

use cluster::manager::Command;
use cluster::{Manager as Machine, State};
use mapstore::{CasError, LoadError, MapStore, MemoryStore, Revision, Snapshot, Write};
use proto::ClusterId;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::handle::Handle;
use crate::limits::EVENTS_WAITING_MAX;
use crate::store_thread::load;

/// What the store does to its n-th change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Done, but nobody knows.
    UnknownDone,
    /// Not done, but nobody knows.
    UnknownNotDone,
    /// Not done.
    Refused,
}

/// A store that several drivers share, as no embedded store is.
#[derive(Clone, Debug, Default)]
struct SharedStore(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    store: MemoryStore,
    /// For the changes to come, the next one last.
    faults: Vec<Fault>,
    loads_fail: bool,
    panics: bool,
}

impl SharedStore {
    fn begun() -> Self {
        let shared = Self::default();
        let (_, writes) = State::bootstrap(ClusterId(9));
        shared.inner().store.compare_and_set(Revision(0), &writes).unwrap();
        shared
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn unknown(&self) -> CasError {
        CasError::Unknown { store: self.describe(), reason: "injected".into() }
    }
}

impl MapStore for SharedStore {
    fn load(&mut self) -> Result<Snapshot, LoadError> {
        let mut inner = self.inner();
        if inner.loads_fail {
            return Err(LoadError::Corrupt { store: "shared".into(), reason: "injected".into() });
        }
        inner.store.load()
    }

    fn compare_and_set(&mut self, expected: Revision, writes: &[Write]) -> Result<Revision, CasError> {
        let mut inner = self.inner();
        assert!(!inner.panics, "injected");
        match inner.faults.pop() {
            None => inner.store.compare_and_set(expected, writes),
            Some(Fault::UnknownDone) => {
                inner.store.compare_and_set(expected, writes)?;
                Err(self.unknown())
            }
            Some(Fault::UnknownNotDone) => Err(self.unknown()),
            Some(Fault::Refused) => Err(CasError::Io { store: "shared".into(), reason: "injected".into() }),
        }
    }

    fn txn_bytes_max(&self) -> usize {
        mapstore::TXN_BYTES_MAX
    }

    fn describe(&self) -> String {
        "shared".into()
    }
}

/// A driver without sockets.
struct Running {
    runtime: Runtime,
    handle: Handle,
    leading: Option<oneshot::Receiver<()>>,
    end: tokio::task::JoinHandle<Result<(), ManagerError>>,
    stop: watch::Sender<bool>,
}

impl Running {
    fn start(store: &SharedStore) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = State::load(&load(&mut store.clone()).unwrap()).unwrap();
        let machine = Machine::lead(state, cluster::manager::Options::default(), clock::lease_now());
        let (thread, _) = StoreThread::start(Box::new(store.clone())).unwrap();
        let (events, waiting) = mpsc::channel(EVENTS_WAITING_MAX);
        let (stop, stopped) = watch::channel(false);
        let (leading, leads) = oneshot::channel();
        let log = Log::start(Quiet).unwrap();
        let driver = Driver::new(machine, thread, waiting, stopped, log, leading);
        let end = runtime.spawn(driver.run());
        Self { runtime, handle: Handle::new(events), leading: Some(leads), end, stop }
    }

    fn wait_leading(&mut self) {
        let leading = self.leading.take().unwrap();
        self.runtime.block_on(leading).unwrap();
    }

    fn add(&self, name: &str) -> Option<Result<(), Refusal>> {
        let command = Command::Add { node: name.parse().unwrap(), address: None };
        self.runtime.block_on(async {
            let waiting = self.handle.request(Request::Command(command)).await.ok()?;
            match waiting.answer.await.ok()? {
                Answer::Done(done) => Some(done),
                Answer::Reply(_) => panic!("a command was answered as a poll"),
            }
        })
    }

    fn nodes(&self) -> usize {
        let count = self.handle.look(|driver, _| driver.machine.map().nodes().len());
        self.runtime.block_on(count).unwrap()
    }

    fn end(self) -> Result<(), ManagerError> {
        self.runtime.block_on(self.end).unwrap()
    }
}

#[test]
fn changes_of_unknown_outcome_are_neither_lost_nor_done_twice() {
    for fault in [Fault::UnknownDone, Fault::UnknownNotDone, Fault::Refused] {
        let store = SharedStore::begun();
        store.inner().faults = vec![fault];
        let mut running = Running::start(&store);
        running.wait_leading();
        store.inner().faults = vec![fault, fault];
        assert_eq!(running.add("a"), Some(Ok(())), "{fault:?}");
        assert_eq!(running.nodes(), 1, "{fault:?}");
        // What has landed is not tried again.
        assert_eq!(store.inner().faults.len(), usize::from(fault == Fault::UnknownDone), "{fault:?}");
        let state = State::load(&load(&mut store.clone()).unwrap()).unwrap();
        assert_eq!(state.map().nodes().len(), 1, "{fault:?}");
        running.stop.send_replace(true);
        running.end().unwrap();
    }
}

#[test]
fn a_leader_that_was_followed_by_another_halts() {
    let store = SharedStore::begun();
    let mut first = Running::start(&store);
    first.wait_leading();
    let mut second = Running::start(&store);
    second.wait_leading();
    assert_ne!(first.add("a"), Some(Ok(())), "a deposed leader acknowledged a change");
    assert!(matches!(first.end(), Err(ManagerError::Halted(Halt::Deposed(_)))));
    assert_eq!(second.add("b"), Some(Ok(())));
    assert_eq!(second.nodes(), 1);
}

#[test]
fn a_damaged_store_ends_the_manager() {
    let store = SharedStore::begun();
    let mut running = Running::start(&store);
    running.wait_leading();
    store.inner().faults = vec![Fault::UnknownNotDone];
    store.inner().loads_fail = true;
    assert_eq!(running.add("a"), None);
    assert!(matches!(running.end(), Err(ManagerError::Store(_))));
}

#[test]
fn a_bug_in_the_store_ends_the_manager() {
    let store = SharedStore::begun();
    let mut running = Running::start(&store);
    running.wait_leading();
    store.inner().panics = true;
    assert_eq!(running.add("a"), None);
    assert!(matches!(running.end(), Err(ManagerError::StoreLost)));
}

#[test]
fn a_stop_ends_the_driver() {
    let running = Running::start(&SharedStore::begun());
    running.stop.send_replace(true);
    running.end().unwrap();
}
