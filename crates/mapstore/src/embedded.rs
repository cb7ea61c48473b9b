//! State in one file of an embedded engine (redb): copy-on-write B-trees with a checksum on every page, and
//! commits in two phases, each with its fsync.
//!
//! Owns the file, and an exclusive lock on it from before the first read until drop: the lock is the leader
//! key. Runs on whatever thread its owner uses; every call may block on the disk.
//!
//! **Invariants**: the file is checked as a whole, in memory, before anything writes to it; one that is not
//! ours, damaged or newer than this program is left as it is. It appears under its name only when it is
//! complete. After a failed write the engine is thrown away and the file checked and opened again, which
//! commits once more: what `load` then reports is durable, whatever became of the failed change.

mod disk;
mod format;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, Durability, StorageBackend, WriteTransaction};

use self::disk::{FileDisk, SharedDisk};
use crate::limits::{FILE_BYTES_MAX, TXN_BYTES_MAX};
use crate::map_store::{CasError, LoadError, MapStore, Revision, Snapshot, Write, check_limits};

/// Name of the state file in the manager's data directory.
pub const FILE_NAME: &str = "manager.state";

/// The state file, held exclusively.
#[derive(Debug)]
pub struct EmbeddedStore {
    path: PathBuf,
    /// Outlives every engine, so that the lock is never let go in between.
    disk: Arc<dyn StorageBackend>,
    /// `None` after a failed write, until the file has been checked and opened again.
    engine: Option<Database>,
    /// Of the last commit that is known to be durable; meaningless while there is no engine.
    revision: Revision,
}

/// Why a state file was not opened or created. None of these has changed anything.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no file.
    #[error(
        "there is no manager state at {path}; a new cluster has to be asked for (--bootstrap), an old one's state restored"
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Another process, or another store of this one, holds it.
    #[error(
        "{path} is in use by another manager; end that one, or give this one a data directory of its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Creating was asked for, and there is a file.
    #[error("{path} exists already and is not overwritten; start without asking for a new cluster")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file was made by something else.
    #[error(
        "{path} is not the state of a doled manager ({reason}); it is left as it is: move it away, or name another data directory"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What gave it away.
        reason: String,
    },
    /// The file is ours and not as we wrote it.
    #[error(
        "{path} is damaged ({reason}); it is left as it is: restore it from a backup, or begin a new cluster in another directory"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file was written by a later version.
    #[error("{path} has format {found}, this program knows formats up to {known}; use the newer program")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: u64,
        /// Our newest.
        known: u64,
    },
    /// The file system fails.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl EmbeddedStore {
    /// Opens the existing state in `directory`.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(FILE_NAME);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OpenError::Missing { path }),
            Err(source) => return Err(OpenError::Io { path, source }),
        };
        lock(&file, &path)?;
        check_still_there(&file, &path)?;
        Self::on(path, Arc::new(FileDisk(file)))
    }

    /// Creates the state in `directory`, empty, at revision zero; the directory too, if need be. Refuses where
    /// there is a state file of any kind.
    pub fn create(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(FILE_NAME);
        fs::create_dir_all(directory)
            .map_err(|source| OpenError::Io { path: directory.to_owned(), source })?;
        if fs::symlink_metadata(&path).is_ok() {
            return Err(OpenError::Exists { path });
        }
        // Complete and durable under a name that nobody else uses, then linked to its own name, which fails
        // where there is one: neither a crash nor a second creator can leave or destroy anything under it.
        let unfinished = directory.join(format!("{FILE_NAME}.{:016x}", stdx::clock::random_u64()));
        let created = create_at(&unfinished, &path);
        // Without harm if it stays: the name is never used again.
        let _ = fs::remove_file(&unfinished);
        let file = created?;
        sync_directory(directory)?;
        Self::on(path, Arc::new(FileDisk(file)))
    }

    /// Checks what is on the disk, then opens it for writing.
    fn on(path: PathBuf, disk: Arc<dyn StorageBackend>) -> Result<Self, OpenError> {
        let mut store = Self { path, disk, engine: None, revision: Revision(0) };
        store.reopen()?;
        Ok(store)
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        self.engine = None;
        let io = |source| OpenError::Io { path: self.path.clone(), source };
        let len = self.disk.len().map_err(io)?;
        if len > FILE_BYTES_MAX {
            let reason = format!("{len} bytes, more than a state file ever has");
            return Err(OpenError::Foreign { path: self.path.clone(), reason });
        }
        let mut image = vec![0; usize::try_from(len).expect("below FILE_BYTES_MAX")];
        self.disk.read(0, &mut image).map_err(io)?;
        format::check(&image).map_err(|error| error.at(&self.path))?;
        let engine =
            format::engine(SharedDisk(Arc::clone(&self.disk))).map_err(|error| error.at(&self.path))?;
        self.revision = format::read_revision(&engine).map_err(|error| error.at(&self.path))?;
        self.engine = Some(engine);
        Ok(())
    }

    /// The engine, opened again if a write has failed since.
    fn engine(&mut self) -> Result<&Database, OpenError> {
        if self.engine.is_none() {
            self.reopen()?;
        }
        Ok(self.engine.as_ref().expect("reopen leaves an engine or an error"))
    }

    fn io(&self, reason: &impl ToString) -> CasError {
        CasError::Io { store: self.describe(), reason: reason.to_string() }
    }
}

impl MapStore for EmbeddedStore {
    fn load(&mut self) -> Result<Snapshot, LoadError> {
        let store = self.describe();
        let engine = self.engine().map_err(|error| error.into_load_error(&store))?;
        let loaded = format::read_all(engine);
        if loaded.is_err() {
            self.engine = None;
        }
        loaded.map_err(|error| error.at(&self.path).into_load_error(&store))
    }

    fn compare_and_set(&mut self, expected: Revision, writes: &[Write]) -> Result<Revision, CasError> {
        check_limits(writes, self.txn_bytes_max())?;
        if let Err(error) = self.engine() {
            return Err(self.io(&error));
        }
        if expected != self.revision {
            return Err(CasError::Conflict { expected, found: self.revision });
        }
        let prepared = prepare(self.engine.as_ref().expect("made sure of above"), expected.next(), writes);
        let transaction = match prepared {
            Ok(transaction) => transaction,
            Err(error) => {
                self.engine = None;
                return Err(self.io(&error));
            }
        };
        if let Err(error) = transaction.commit() {
            self.engine = None;
            return Err(CasError::Unknown { store: self.describe(), reason: error.to_string() });
        }
        self.revision = expected.next();
        Ok(self.revision)
    }

    fn txn_bytes_max(&self) -> usize {
        TXN_BYTES_MAX
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

impl OpenError {
    fn into_load_error(self, store: &str) -> LoadError {
        let store = store.to_owned();
        match self {
            Self::Corrupt { reason, .. } | Self::Foreign { reason, .. } => {
                LoadError::Corrupt { store, reason }
            }
            Self::TooNew { .. } => LoadError::Corrupt { store, reason: self.to_string() },
            Self::Io { source, .. } => LoadError::Io { store, reason: source.to_string() },
            _ => LoadError::Io { store, reason: self.to_string() },
        }
    }
}

/// Everything of a change but its commit.
fn prepare(engine: &Database, revision: Revision, writes: &[Write]) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = engine.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    // Two fsyncs, and in return the newest commit is never given up for the one before: a damaged page is
    // then an error and not a step back in time.
    transaction.set_two_phase_commit(true);
    format::write(&transaction, revision, writes)?;
    Ok(transaction)
}

fn create_at(unfinished: &Path, path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: unfinished.to_owned(), source };
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(unfinished).map_err(io)?;
    lock(&file, unfinished)?;
    let disk: Arc<dyn StorageBackend> = Arc::new(FileDisk(file.try_clone().map_err(io)?));
    format::initialize(SharedDisk(disk)).map_err(|error| error.at(unfinished))?;
    file.sync_all().map_err(io)?;
    match fs::hard_link(unfinished, path) {
        Ok(()) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(OpenError::Exists { path: path.to_owned() })
        }
        Err(source) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

fn lock(file: &File, path: &Path) -> Result<(), OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

/// A file that was replaced between open and lock would be a leader key that nobody else looks at.
fn check_still_there(file: &File, path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let (ours, named) = (file.metadata().map_err(io)?, fs::metadata(path).map_err(io)?);
    if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) {
        return Ok(());
    }
    Err(io(io::Error::other("was replaced by another file while it was opened; start again")))
}

fn sync_directory(directory: &Path) -> Result<(), OpenError> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(|source| OpenError::Io { path: directory.to_owned(), source })
}
