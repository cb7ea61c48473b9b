//! Where the manager's state is kept: an embedded file, or memory.
//!
//! The state is a small set of records (a text key and bytes) that changes as a whole: every change is a
//! compare-and-set on the revision of all of it. What the records mean is `cluster`'s business.
//!
//! **Invariants**: an acknowledged change survives the process, and with [`EmbeddedStore`] the machine. A
//! store that exists is never created over, and a file that is not ours or is damaged is never written to.
//! Holding a store for writing *is* holding the leader key: nobody else can change the state meanwhile.

mod embedded;
mod limits;
mod map_store;
mod memory;

pub use embedded::{EmbeddedStore, FILE_NAME, OpenError};
pub use limits::{KEY_LEN_MAX, TXN_BYTES_MAX, TXN_WRITES_MAX};
pub use map_store::{CasError, LoadError, MapStore, Revision, Snapshot, Write};
pub use memory::MemoryStore;
