//! Records -> state. A store is input like any other: nothing in it is believed before it was checked.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::control::LockIdentity;
use proto::{BUCKET_COUNT, ClusterId, Generation, Incarnation, MapVersion, NodeId, Term};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Member, State};
use crate::limits::{LEASE_MAX, NODES_MAX};
use crate::map::{Map, bucket_range, is_address};
use crate::record::{
    CHUNK_BUCKETS, CHUNK_PREFIX, ChunkRecord, FORMAT, META_KEY, MetaRecord, NODE_PREFIX, NodeRecord, Records,
};

/// Why records are not a state. Nothing is ever written over them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Nothing there: a new store, or a lost one. It never starts silently.
    #[error("the store is empty: create a cluster with --bootstrap")]
    Empty,
    /// Written by a later version of this program.
    #[error("record \"{key}\" has format {format}, this program knows {known}")]
    Format {
        /// Of the record.
        key: String,
        /// In it.
        format: u64,
        /// The newest known here.
        known: u32,
    },
    /// Not a record of ours, a missing one, or one that contradicts another.
    #[error("record \"{key}\": {rule}")]
    Record {
        /// Of the record.
        key: String,
        /// The value and the rule that it breaks.
        rule: String,
    },
}

pub(super) fn load(records: &Records) -> Result<State, LoadError> {
    if records.entries.is_empty() {
        return Err(LoadError::Empty);
    }
    let strange = records
        .entries
        .keys()
        .find(|key| *key != META_KEY && !key.starts_with(NODE_PREFIX) && !key.starts_with(CHUNK_PREFIX));
    if let Some(key) = strange {
        return Err(refuse(key, "is no record of doled's: this is someone else's store"));
    }
    let meta = load_meta(records)?;
    let mut state = State {
        revision: records.revision,
        epoch: meta.epoch,
        term: Term(meta.term),
        change: meta.change,
        leader: meta.leader,
        lease: Duration::from_millis(meta.lease_ms),
        members: Vec::new(),
        map: Map::empty(ClusterId(meta.cluster)),
        bases: vec![Generation::NONE; BUCKET_COUNT].into_boxed_slice(),
    };
    state.map.set_version(MapVersion(meta.version));
    load_members(records, &mut state)?;
    load_chunks(records, &mut state)?;
    Ok(state)
}

/// What tells a transaction from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastChange {
    pub(crate) change: u64,
    pub(crate) term: Term,
    pub(crate) leader: u64,
}

/// The last transaction, if the records have a readable meta.
pub(crate) fn last_change(records: &Records) -> Result<LastChange, LoadError> {
    let meta = load_meta(records)?;
    Ok(LastChange { change: meta.change, term: Term(meta.term), leader: meta.leader })
}

fn load_meta(records: &Records) -> Result<MetaRecord, LoadError> {
    let Some(bytes) = records.entries.get(META_KEY) else {
        return Err(refuse(META_KEY, "is missing"));
    };
    let meta: MetaRecord = decode(META_KEY, bytes)?;
    if meta.cluster == 0 {
        return Err(refuse(META_KEY, "cluster 0 is no cluster"));
    }
    if meta.epoch == 0 || Generation(meta.version).epoch() > meta.epoch || meta.version == 0 {
        let rule = format!("version {} does not belong to epoch {}", meta.version, meta.epoch);
        return Err(refuse(META_KEY, rule));
    }
    if u128::from(meta.lease_ms) > LEASE_MAX.as_millis() {
        return Err(refuse(META_KEY, format!("a lease of {} ms is longer than an hour", meta.lease_ms)));
    }
    Ok(meta)
}

fn load_members(records: &Records, state: &mut State) -> Result<(), LoadError> {
    let mut by_index = BTreeMap::new();
    for (key, bytes) in records.entries.range(NODE_PREFIX.to_owned()..) {
        let Some(name) = key.strip_prefix(NODE_PREFIX) else {
            break;
        };
        let record: NodeRecord = decode(key, bytes)?;
        if record.name != name {
            return Err(refuse(key, format!("holds node \"{}\"", record.name)));
        }
        if !record.address.is_empty() && !is_address(&record.address) {
            return Err(refuse(key, format!("\"{}\" is not a host:port", record.address)));
        }
        let index = record.index;
        if by_index.insert(index, (key, record)).is_some() {
            return Err(refuse(key, format!("index {index} is another node's")));
        }
    }
    if by_index.len() > NODES_MAX {
        return Err(refuse(NODE_PREFIX, format!("{} nodes are more than {NODES_MAX}", by_index.len())));
    }
    for (expected, (index, (key, record))) in by_index.into_iter().enumerate() {
        if index as usize != expected {
            return Err(refuse(key, format!("index {index} follows a gap, {expected} is the next")));
        }
        let id: NodeId = record.name.parse().map_err(|error| refuse(key, format!("{error}")))?;
        let boot_id = u128::from_str_radix(&record.lock_boot_id, 16).map_err(|_| {
            refuse(key, format!("lock_boot_id \"{}\" is not hexadecimal", record.lock_boot_id))
        })?;
        state.map.put_node(&id, &record.address);
        state.members.push(Member {
            role: record.role,
            incarnation: Incarnation(record.incarnation),
            dead: record.dead,
            lock: LockIdentity { boot_id, device: record.lock_device, inode: record.lock_inode },
        });
    }
    Ok(())
}

fn load_chunks(records: &Records, state: &mut State) -> Result<(), LoadError> {
    let found = records.entries.keys().filter(|key| key.starts_with(CHUNK_PREFIX)).count();
    let expected = BUCKET_COUNT / CHUNK_BUCKETS;
    for chunk in 0..expected {
        let key = format!("{CHUNK_PREFIX}{chunk:03}");
        let bytes = records.entries.get(&key).ok_or_else(|| refuse(&key, "is missing"))?;
        let record: ChunkRecord = decode(&key, bytes)?;
        load_chunk(&key, chunk * CHUNK_BUCKETS, &record, state)?;
    }
    if found != expected {
        return Err(refuse(CHUNK_PREFIX, format!("{found} chunks are there, {expected} must be")));
    }
    Ok(())
}

fn load_chunk(key: &str, first: usize, record: &ChunkRecord, state: &mut State) -> Result<(), LoadError> {
    let count: usize = record.runs.iter().map(|run| usize::from(run.count)).sum();
    if usize::from(record.first) != first || count != CHUNK_BUCKETS {
        let rule = format!("{count} buckets from {} on, not {CHUNK_BUCKETS} from {first} on", record.first);
        return Err(refuse(key, rule));
    }
    let mut buckets = bucket_range(first, CHUNK_BUCKETS);
    for run in &record.runs {
        let (generation, base) = (Generation(run.generation), Generation(run.base));
        if generation.0 > state.map.version().0 {
            let rule = format!("generation {generation} is above the version {}", state.map.version());
            return Err(refuse(key, rule));
        }
        if base > generation {
            return Err(refuse(key, format!("base {base} is above its generation {generation}")));
        }
        let owner = match &run.owner {
            None => None,
            Some(name) => Some(load_owner(key, name, generation, &state.map)?),
        };
        for bucket in buckets.by_ref().take(usize::from(run.count)) {
            state.map.assign(bucket, owner, generation);
            state.bases[bucket.index()] = base;
        }
    }
    Ok(())
}

fn load_owner(key: &str, name: &str, generation: Generation, map: &Map) -> Result<usize, LoadError> {
    let index = map.nodes().iter().position(|node| node.id.as_str() == name);
    let Some(index) = index else {
        return Err(refuse(key, format!("owner \"{name}\" is no member")));
    };
    if generation == Generation::NONE || map.nodes()[index].address.is_empty() {
        return Err(refuse(key, format!("owner \"{name}\" has no generation or no address")));
    }
    Ok(index)
}

/// Reads a record: its format first, since another format may look quite different.
fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, LoadError> {
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    let broken = |error: serde_json::Error| refuse(key, format!("is damaged: {error}"));
    let Format { format } = serde_json::from_slice(bytes).map_err(broken)?;
    if format != u64::from(FORMAT) {
        return Err(LoadError::Format { key: key.to_owned(), format, known: FORMAT });
    }
    serde_json::from_slice(bytes).map_err(broken)
}

fn refuse(key: &str, rule: impl Into<String>) -> LoadError {
    LoadError::Record { key: key.to_owned(), rule: rule.into() }
}
