//! The thread that owns the store: one job at a time, each may block on the disk.
//!
//! **Invariant**: holds the store, and with it the leader key, until the driver is gone; `end` waits for that.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use cluster::manager::{CommitError, Txn};
use cluster::record::Records;
use mapstore::{CasError, LoadError, MapStore, Revision};
use tokio::sync::mpsc;

use crate::limits::STORE_JOBS_MAX;

/// What the store is to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// One transaction.
    Commit(Txn),
    /// Read everything.
    Load,
}

/// What became of a job.
#[derive(Debug)]
pub(crate) enum Done {
    /// Of the transaction with that number; the new revision if it is durable.
    Committed(u64, Result<u64, CommitError>),
    /// All records.
    Loaded(Result<Records, LoadError>),
}

/// The driver's end: jobs go in, results come out.
#[derive(Debug)]
pub(crate) struct StoreThread {
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) results: mpsc::Receiver<Done>,
}

impl StoreThread {
    /// Starts the thread. It ends, and lets go of the store, when the `StoreThread` is dropped.
    pub(crate) fn start(store: Box<dyn MapStore>) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, waiting) = sync_channel(STORE_JOBS_MAX);
        let (done, results) = mpsc::channel(STORE_JOBS_MAX);
        let thread =
            thread::Builder::new().name("doled-store".into()).spawn(move || work(store, &waiting, &done))?;
        Ok((Self { jobs, results }, thread))
    }
}

fn work(mut store: Box<dyn MapStore>, jobs: &Receiver<Job>, done: &mpsc::Sender<Done>) {
    while let Ok(job) = jobs.recv() {
        let result = match job {
            Job::Commit(txn) => Done::Committed(txn.number, commit(store.as_mut(), &txn)),
            Job::Load => Done::Loaded(load(store.as_mut())),
        };
        if done.blocking_send(result).is_err() {
            return;
        }
    }
}

/// Everything in the store, as the machine takes it.
pub(crate) fn load(store: &mut dyn MapStore) -> Result<Records, LoadError> {
    let snapshot = store.load()?;
    Ok(Records { revision: snapshot.revision.0, entries: snapshot.records })
}

fn commit(store: &mut dyn MapStore, txn: &Txn) -> Result<u64, CommitError> {
    match store.compare_and_set(Revision(txn.revision), &txn.writes) {
        Ok(revision) => Ok(revision.0),
        Err(CasError::Conflict { .. }) => Err(CommitError::Conflict),
        // Also what surely changed nothing: the machine reads again and decides, which covers both.
        Err(error) => Err(CommitError::Unknown(error.to_string())),
    }
}
