//! From options to a store and the state in it: opened, or begun where that was asked for.

use cluster::State;
use cluster::record::Records;
use mapstore::{EmbeddedStore, MapStore, MemoryStore, OpenError, Revision};
use proto::ClusterId;

use crate::options::Storage;
use crate::store_thread::load;

/// Why there is no state to start with. Nothing that was there has been changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is missing, taken, foreign or damaged.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store does not give its records.
    #[error(transparent)]
    Load(#[from] mapstore::LoadError),
    /// There is a store, and what is in it is not a manager's state, or of a later version.
    #[error("{store}: {source}")]
    Records {
        /// Which store.
        store: String,
        /// What is wrong.
        source: cluster::state::LoadError,
    },
    /// A new cluster could not be written.
    #[error(transparent)]
    Bootstrap(#[from] mapstore::CasError),
}

/// The store, held exclusively, and the state in it.
pub(crate) fn open(storage: Storage, bootstrap: bool) -> Result<(Box<dyn MapStore>, State), StateError> {
    let (mut store, begin): (Box<dyn MapStore>, bool) = match storage {
        Storage::Memory => (Box::new(MemoryStore::new()), true),
        Storage::Embedded(directory) => match EmbeddedStore::open(&directory) {
            Err(OpenError::Missing { .. }) if bootstrap => {
                (Box::new(EmbeddedStore::create(&directory)?), true)
            }
            opened => (Box::new(opened?), bootstrap),
        },
    };
    let mut records = load(store.as_mut())?;
    // At revision zero nothing was ever written: also what a bootstrap leaves that died half-way.
    if begin && records.revision == 0 {
        records = begin_cluster(store.as_mut())?;
    }
    match State::load(&records) {
        Ok(state) => Ok((store, state)),
        Err(source) => Err(StateError::Records { store: store.describe(), source }),
    }
}

fn begin_cluster(store: &mut dyn MapStore) -> Result<Records, StateError> {
    // Zero means "not known yet" in messages.
    let cluster = ClusterId(stdx::clock::random_u64().max(1));
    let (_, writes) = State::bootstrap(cluster);
    store.compare_and_set(Revision(0), &writes)?;
    Ok(load(store)?)
}
