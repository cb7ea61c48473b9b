//! What is inside the state file: two tables, `about` and `records`.
//!
//! `about` holds numbers: `magic`, which no other program's file has, `format`, the version of this layout,
//! and `revision`. `records` holds the records as they are. The engine's own header and page checksums lie
//! around them.
//!
//! **Invariant**: [`check`] writes to a copy only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError,
    WriteTransaction,
};

use super::OpenError;
use crate::limits::CACHE_BYTES;
use crate::map_store::{Revision, Snapshot, Write};

const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

/// The bytes "doledmgr" as a number.
const MAGIC: u64 = u64::from_be_bytes(*b"doledmgr");
const FORMAT: u64 = 1;

/// What is wrong with a file, before its path is known.
#[derive(Debug)]
pub(super) enum FormatError {
    Foreign(String),
    Corrupt(String),
    TooNew(u64),
    Io(std::io::Error),
}

impl FormatError {
    pub(super) fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Foreign(reason) => OpenError::Foreign { path, reason },
            Self::Corrupt(reason) => OpenError::Corrupt { path, reason },
            Self::TooNew(found) => OpenError::TooNew { path, found, known: FORMAT },
            Self::Io(source) => OpenError::Io { path, source },
        }
    }
}

impl From<redb::Error> for FormatError {
    fn from(error: redb::Error) -> Self {
        match error {
            // The engine's way of saying that the header is not its own.
            redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Self::Foreign(error.to_string())
            }
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::PreviousIo => Self::Io(std::io::Error::other(error.to_string())),
            redb::Error::UpgradeRequired(version) => {
                Self::Foreign(format!("an engine file of version {version}"))
            }
            redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. } => {
                Self::Foreign("the tables of a manager are not in it".to_owned())
            }
            other => Self::Corrupt(other.to_string()),
        }
    }
}

/// Opens `disk` as a store that [`check`] has passed; repairs what an interrupted commit left, and commits.
pub(super) fn engine(disk: impl StorageBackend) -> Result<Database, FormatError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder.create_with_backend(disk).map_err(|error: DatabaseError| redb::Error::from(error).into())
}

/// Makes an empty `disk` an empty store at revision zero.
pub(super) fn initialize(disk: impl StorageBackend) -> Result<(), FormatError> {
    let engine = engine(disk)?;
    let transaction = super::prepare(&engine, Revision(0), &[])?;
    set_about(&transaction, &[("magic", MAGIC), ("format", FORMAT)])?;
    transaction.commit().map_err(|error| redb::Error::from(error).into())
}

/// Whether `image`, a whole file, is a sound store: every page's checksum, our magic, a format we know. Works
/// on the copy, since opening a file repairs it, which must not happen to a file that is not ours.
pub(super) fn check(image: &[u8]) -> Result<(), FormatError> {
    if image.is_empty() {
        return Err(FormatError::Corrupt("it is empty".to_owned()));
    }
    // The engine may panic on a damaged tree; that is an answer, too.
    match catch_unwind(AssertUnwindSafe(|| check_copy(image))) {
        Ok(checked) => checked,
        Err(_) => Err(FormatError::Corrupt("its pages contradict each other".to_owned())),
    }
}

fn check_copy(image: &[u8]) -> Result<(), FormatError> {
    let copy = InMemoryBackend::new();
    copy.set_len(image.len() as u64).map_err(FormatError::Io)?;
    copy.write(0, image).map_err(FormatError::Io)?;
    match engine(copy).and_then(|engine| read_all(&engine)) {
        // A read past the end of a copy in memory is a truncated file, not a failing disk.
        Err(FormatError::Io(error)) => Err(FormatError::Corrupt(error.to_string())),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

/// The revision alone; refuses a store that is not ours.
pub(super) fn read_revision(engine: &Database) -> Result<Revision, FormatError> {
    let transaction = engine.begin_read().map_err(redb::Error::from)?;
    let about = transaction.open_table(ABOUT).map_err(redb::Error::from)?;
    let number = |key: &str| -> Result<Option<u64>, FormatError> {
        Ok(about.get(key).map_err(redb::Error::from)?.map(|value| value.value()))
    };
    if number("magic")? != Some(MAGIC) {
        return Err(FormatError::Foreign("it does not say that it is one".to_owned()));
    }
    match number("format")? {
        Some(FORMAT) => {}
        Some(found) if found > FORMAT => return Err(FormatError::TooNew(found)),
        other => return Err(FormatError::Corrupt(format!("its format is {other:?}"))),
    }
    number("revision")?.map(Revision).ok_or_else(|| FormatError::Corrupt("it has no revision".to_owned()))
}

/// The whole state.
pub(super) fn read_all(engine: &Database) -> Result<Snapshot, FormatError> {
    let revision = read_revision(engine)?;
    let transaction = engine.begin_read().map_err(redb::Error::from)?;
    let table = transaction.open_table(RECORDS).map_err(redb::Error::from)?;
    let mut snapshot = Snapshot { revision, ..Snapshot::default() };
    for entry in table.iter().map_err(redb::Error::from)? {
        let (key, value) = entry.map_err(redb::Error::from)?;
        snapshot.records.insert(key.value().to_owned(), value.value().to_owned());
    }
    Ok(snapshot)
}

/// Puts a change into a transaction.
pub(super) fn write(
    transaction: &WriteTransaction,
    revision: Revision,
    writes: &[Write],
) -> Result<(), redb::Error> {
    let mut records = transaction.open_table(RECORDS)?;
    for (key, value) in writes {
        match value {
            Some(bytes) => records.insert(key.as_str(), bytes.as_slice())?,
            None => records.remove(key.as_str())?,
        };
    }
    set_about(transaction, &[("revision", revision.0)])
}

fn set_about(transaction: &WriteTransaction, numbers: &[(&str, u64)]) -> Result<(), redb::Error> {
    let mut about = transaction.open_table(ABOUT).map_err(|error: TableError| redb::Error::from(error))?;
    for (key, number) in numbers {
        about.insert(*key, *number)?;
    }
    Ok(())
}
