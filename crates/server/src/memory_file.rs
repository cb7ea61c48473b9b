//! Warm restarts (`-e`): a node that ends gracefully writes its items to a file, the next one begins with them.
//!
//! The items are streamed, not mapped: the file exists between two processes only, may lie on any file system,
//! and is checked from its first byte to its last. While a node runs there is `FILE.partial`, empty and locked:
//! it shows at the start that the items can be written at the end, keeps a second node away, and becomes `FILE`
//! when it is whole.
//!
//! **Invariants**: a file is removed, durably, before a client can be answered, whether or not it was taken:
//! what the node changes from then on would make it stale. A file that is not whole is not taken at all. What
//! is wrong with a file is never a reason not to start.

mod format;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use stdx::{ByteSize, LeaseTime, clock};
use store::StoreOptions;

use crate::engine::Engine;
use crate::limits::MEMORY_FILE_WRITE_BUDGET;
use crate::lock_file::boot_id;
use crate::log;
use format::Facts;

pub(crate) use read::Loaded;

/// Where the items go at the end.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    path: PathBuf,
    partial: PathBuf,
    /// Of `partial`, locked for as long as it is open.
    file: File,
}

/// Why a node with a memory file does not start.
#[derive(Debug, thiserror::Error)]
pub enum MemoryFileError {
    /// Another node is about to write there.
    #[error("-e (--memory-file) {}: another process uses it", .0.display())]
    InUse(PathBuf),
    /// It is a directory or a device.
    #[error("-e (--memory-file) {}: this is no regular file", .0.display())]
    NoFile(PathBuf),
    /// It could not be written at the end.
    #[error("-e (--memory-file): cannot write {}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// Why a node starts without items though there is a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cold {
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    #[error("it cannot be removed, and would be out of date soon: {0}")]
    Unremovable(io::Error),
    #[error("it is no memory file")]
    Foreign,
    #[error("it has format {0}, and this program knows {version}", version = format::VERSION)]
    Version(u32),
    #[error("{flag} was {then}, and is {now}", then = ByteSize(*.then), now = ByteSize(*.now))]
    Setting { flag: &'static str, then: u64, now: u64 },
    #[error("it ends in the middle")]
    Torn,
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("the clock went back by {} s since it was written", .back_ms.div_ceil(1000))]
    ClockWentBack { back_ms: u64 },
}

/// When a node starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) lease: LeaseTime,
    pub(crate) unix_ms: u64,
    pub(crate) boot_id: u128,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { lease: clock::lease_now(), unix_ms: clock::unix_millis(), boot_id: boot_id() }
    }
}

impl MemoryFile {
    /// Makes sure that the items can be written at the end. Nothing is read yet.
    pub(crate) fn take(path: &Path) -> Result<Self, MemoryFileError> {
        let fail = |path: &Path, source| MemoryFileError::Io { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(|error| fail(path, error))?;
        if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(MemoryFileError::NoFile(path));
        }
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        loop {
            let file = open_partial(&partial).map_err(|error| fail(&partial, error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(MemoryFileError::InUse(path)),
                Err(TryLockError::Error(error)) => return Err(fail(&partial, error)),
            }
            // Who held the lock may have just finished, and it is the file that is to be read.
            if is_at(&file, &partial) {
                file.set_len(0).map_err(|error| fail(&partial, error))?;
                return Ok(Self { path, partial, file });
            }
        }
    }

    /// Takes the items that an earlier process left. `None`, said with its reason: there are none.
    pub(crate) fn load(&self, options: &StoreOptions, now: &Moment, is_verbose: bool) -> Option<Loaded> {
        let begin = clock::now();
        let name = self.path.display();
        match self.read(options, now) {
            Ok(Some(loaded)) => {
                if is_verbose {
                    let Loaded { item_count, restored_count, .. } = loaded;
                    log::line(&format!(
                        "-e {name}: {restored_count} of {item_count} items are back, in {:.2} s",
                        clock::now().since(begin).as_secs_f64()
                    ));
                }
                Some(loaded)
            }
            Ok(None) => {
                if is_verbose {
                    log::line(&format!("-e {name}: there is no such file; starting without items"));
                }
                None
            }
            Err(cold) => {
                log::line(&format!("-e {name}: starting without items: {cold}"));
                None
            }
        }
    }

    fn read(&self, options: &StoreOptions, now: &Moment) -> Result<Option<Loaded>, Cold> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return self.remove().and(Err(Cold::Io(error))),
        };
        // What is no memory file may be somebody's: it stays until there is something to replace it.
        read::read_magic(&mut file)?;
        self.remove()?;
        let mut at = 0;
        let punched = file.try_clone().map_err(Cold::Io)?;
        read::read(&mut file, options, now, |len| {
            // Where files lie in memory, the items would be there twice. Elsewhere it does not matter.
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = fallocate(&punched, flags, at, len as u64);
            at += len as u64;
        })
        .map(Some)
    }

    /// Removes the file for good.
    fn remove(&self) -> Result<(), Cold> {
        let remove = || {
            fs::remove_file(&self.path)?;
            File::open(directory(&self.path))?.sync_all()
        };
        remove().map_err(Cold::Unremovable)
    }

    /// Writes the items of a node that serves nobody any more.
    pub(crate) fn save(mut self, engine: &Engine) {
        let begin = clock::now();
        let name = self.path.display().to_string();
        match self.write(engine) {
            Ok(written) => {
                if written.was_cut_short {
                    log::line(&format!(
                        "-e {name}: writing took longer than {} s; the rest of the items is lost",
                        MEMORY_FILE_WRITE_BUDGET.as_secs()
                    ));
                }
                if engine.is_verbose() {
                    log::line(&format!(
                        "-e {name}: {} items written, in {:.2} s",
                        written.item_count,
                        clock::now().since(begin).as_secs_f64()
                    ));
                }
            }
            Err(error) => {
                log::line(&format!(
                    "-e {name}: cannot be written, so the next start is without items: {error}"
                ));
                let _ = self.file.set_len(0);
                self.remove_partial();
            }
        }
    }

    fn write(&mut self, engine: &Engine) -> io::Result<write::Written> {
        let now = engine.now();
        engine.flush.run_due(&engine.store, now.store_ms);
        let facts = Facts {
            memory: engine.options.memory.0,
            item_size_max: engine.options.item_size_max.0,
            store_ms: now.store_ms,
            unix_ms: clock::unix_millis(),
            boot_ns: now.lease.boot,
            boot_id: boot_id(),
            flush_at_ms: engine.flush.at_ms(),
            numbering: engine.store.numbering(),
        };
        let begin = clock::now();
        let is_over = || clock::now().since(begin) > MEMORY_FILE_WRITE_BUDGET;
        let written = write::write(&mut self.file, &facts, &engine.store, is_over)?;
        // Not forced to the disk: what a failing machine leaves of it is found out by its checksums.
        fs::rename(&self.partial, &self.path)?;
        Ok(written)
    }

    /// The node ends without writing.
    pub(crate) fn give_up(self) {
        self.remove_partial();
    }

    fn remove_partial(&self) {
        // Empty, so it hurts nobody where it stays.
        let _ = fs::remove_file(&self.partial);
    }
}

fn open_partial(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (opened, there) = (file.metadata().map(identity), fs::metadata(path).map(identity));
    matches!((opened, there), (Ok(opened), Ok(there)) if opened == there)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
