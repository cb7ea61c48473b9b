//! The lock that a node holds on its data directory while it lives.
//!
//! The next life, which takes the same lock, thereby proves that this one is over: same boot of the machine,
//! same device and inode. So the file is never removed or replaced. The lock is the process's own and not its
//! guardian's: a guardian that outlives the node must not hide its end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proto::control::LockIdentity;

/// The file in the data directory.
const FILE_NAME: &str = "node.lock";

/// Where Linux names this boot of the machine.
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// A held lock.
#[derive(Debug)]
pub(crate) struct LockFile {
    /// Open for as long as the lock is held; the kernel drops it with the process.
    _file: File,
    identity: LockIdentity,
}

/// Why the lock can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another node lives there.
    #[error("{} is locked: another node runs with this data directory", .0.display())]
    Held(PathBuf),
    /// The file system's reason.
    #[error("cannot lock {}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

impl LockFile {
    /// Takes the lock of a data directory, which is made if it is missing.
    pub(crate) fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(FILE_NAME);
        let fail = |source| LockError::Io { path: path.clone(), source };
        std::fs::create_dir_all(directory).map_err(fail)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(path)),
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let metadata = file.metadata().map_err(fail)?;
        let identity = LockIdentity { boot_id: boot_id(), device: metadata.dev(), inode: metadata.ino() };
        Ok(Self { _file: file, identity })
    }

    pub(crate) fn identity(&self) -> LockIdentity {
        self.identity.clone()
    }
}

/// This boot of the machine; zero where it can't be known, which proves nothing.
pub(crate) fn boot_id() -> u128 {
    let text = std::fs::read_to_string(BOOT_ID_PATH).unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_node() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("n1");
        let first = LockFile::take(&data).unwrap();
        let error = LockFile::take(&data).unwrap_err();
        assert!(matches!(error, LockError::Held(_)), "{error}");
        let identity = first.identity();
        assert!(identity.inode != 0 && identity.boot_id != 0);
        drop(first);
        assert_eq!(LockFile::take(&data).unwrap().identity(), identity);
    }
}
