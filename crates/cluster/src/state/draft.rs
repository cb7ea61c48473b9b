//! The next state, and the writes that make it durable.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::control::LockIdentity;
use proto::{Bucket, Generation, Incarnation, NodeId, Term};
use serde::Serialize;

use super::{Member, State};
use crate::map::bucket_range;
use crate::record::{
    CHUNK_BUCKETS, CHUNK_PREFIX, ChunkRecord, FORMAT, META_KEY, MemberRole, MetaRecord, NODE_PREFIX,
    NodeRecord, RunRecord, Write,
};

/// A state being changed.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    state: State,
    touched: bool,
    /// The version of this draft has begun: everything it changes in the map is of that version.
    versioned: bool,
    members: BTreeSet<usize>,
    removed: Vec<NodeId>,
    chunks: BTreeSet<usize>,
    changes: BTreeSet<Bucket>,
}

impl Draft {
    pub(crate) fn new(state: &State) -> Self {
        Self {
            state: state.clone(),
            touched: false,
            versioned: false,
            members: BTreeSet::new(),
            removed: Vec::new(),
            chunks: BTreeSet::new(),
            changes: BTreeSet::new(),
        }
    }

    /// The state as drafted so far.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Buckets with a new generation.
    pub(crate) fn changes(&self) -> &BTreeSet<Bucket> {
        &self.changes
    }

    /// True while nothing was changed.
    pub(crate) fn is_empty(&self) -> bool {
        !self.touched
    }

    /// "Manager/DURABLE": the term is higher at every leader.
    ///
    /// Leases of earlier terms may be longer than this one's, and outlive a restart of this one too.
    pub(crate) fn begin_term(&mut self, leader: u64, lease: Duration) {
        self.state.leader = leader;
        self.state.lease = self.state.lease.max(lease);
        self.state.term = Term(self.state.term.0 + 1);
        self.touched = true;
    }

    /// No longer lease than this is running any more.
    pub(crate) fn shorten_lease(&mut self, lease: Duration) {
        self.state.lease = lease;
        self.touched = true;
    }

    pub(crate) fn add_member(&mut self, id: &NodeId, address: &str) -> usize {
        self.generation();
        let index = self.state.map.put_node(id, address);
        debug_assert_eq!(index, self.state.members.len(), "a new member joins at the end");
        self.state.members.push(Member {
            role: MemberRole::Active,
            incarnation: Incarnation(0),
            dead: false,
            lock: LockIdentity::default(),
        });
        self.members.insert(index);
        index
    }

    pub(crate) fn set_role(&mut self, member: usize, role: MemberRole) {
        self.state.members[member].role = role;
        self.touch(member);
    }

    /// Records a life before anything is granted to it.
    pub(crate) fn admit(
        &mut self,
        member: usize,
        incarnation: Incarnation,
        lock: LockIdentity,
        address: &str,
    ) {
        if self.state.map.nodes()[member].address != address {
            self.generation();
            let id = self.state.node_id(member).clone();
            self.state.map.put_node(&id, address);
        }
        let entry = &mut self.state.members[member];
        (entry.incarnation, entry.lock, entry.dead) = (incarnation, lock, false);
        self.touch(member);
    }

    /// Records that a member's life is proven dead.
    pub(crate) fn bury(&mut self, member: usize) {
        self.state.members[member].dead = true;
        self.touch(member);
    }

    /// Forgets a member that owns nothing. Indexes above it move down by one.
    pub(crate) fn remove(&mut self, member: usize) {
        self.generation();
        self.removed.push(self.state.node_id(member).clone());
        self.state.map.remove_node(member);
        self.state.members.remove(member);
        self.members =
            self.members.iter().filter(|&&m| m != member).map(|&m| m - usize::from(m > member)).collect();
        self.members.extend(member..self.state.members.len());
    }

    /// "Manager/Change": a new generation for a bucket; "a wipe, an add, a re-add set base = the new gen, in the
    /// same txn, before any grant". Without copies every change of generation is one of these.
    pub(crate) fn assign(&mut self, bucket: Bucket, owner: Option<usize>) {
        let generation = self.generation();
        self.state.map.assign(bucket, owner, generation);
        self.state.bases[bucket.index()] = generation;
        self.chunks.insert(bucket.index() / CHUNK_BUCKETS);
        self.changes.insert(bucket);
    }

    /// The drafted state with its transaction's number, and what to write.
    pub(crate) fn finish(mut self) -> (State, Vec<Write>) {
        self.state.change += 1;
        let state = &self.state;
        let mut writes = vec![state.encode_meta()];
        writes.extend(self.removed.iter().map(|id| (format!("{NODE_PREFIX}{id}"), None)));
        writes.extend(self.members.iter().map(|&member| state.encode_member(member)));
        writes.extend(self.chunks.iter().map(|&chunk| state.encode_chunk(chunk)));
        (self.state, writes)
    }

    /// The generation of everything that this draft changes; begins the next version with its first use.
    /// Generations are as unique as versions, and neighbours that change together stay one run of the map.
    fn generation(&mut self) -> Generation {
        self.touched = true;
        if !self.versioned {
            self.versioned = true;
            let version = self.state.map.version().next(self.state.epoch);
            self.state.map.set_version(version);
            // After 2^32 versions the counter has run over into the epoch.
            self.state.epoch = self.state.epoch.max(Generation(version.0).epoch());
        }
        Generation(self.state.map.version().0)
    }

    fn touch(&mut self, member: usize) {
        self.touched = true;
        self.members.insert(member);
    }
}

impl State {
    /// Everything, for a store that holds nothing yet.
    pub(super) fn encode_all(&self) -> Vec<Write> {
        let mut writes = vec![self.encode_meta()];
        writes.extend((0..self.members.len()).map(|member| self.encode_member(member)));
        writes.extend((0..self.bases.len() / CHUNK_BUCKETS).map(|chunk| self.encode_chunk(chunk)));
        writes
    }

    fn encode_meta(&self) -> Write {
        let record = MetaRecord {
            format: FORMAT,
            cluster: self.cluster().0,
            epoch: self.epoch,
            term: self.term.0,
            version: self.map.version().0,
            change: self.change,
            leader: self.leader,
            lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
        };
        (META_KEY.to_owned(), Some(encode(&record)))
    }

    fn encode_member(&self, index: usize) -> Write {
        let (member, node) = (&self.members[index], &self.map.nodes()[index]);
        let record = NodeRecord {
            format: FORMAT,
            name: node.id.to_string(),
            address: node.address.clone(),
            index: index as u32,
            role: member.role,
            incarnation: member.incarnation.0,
            dead: member.dead,
            lock_boot_id: format!("{:032x}", member.lock.boot_id),
            lock_device: member.lock.device,
            lock_inode: member.lock.inode,
        };
        (format!("{NODE_PREFIX}{}", node.id), Some(encode(&record)))
    }

    fn encode_chunk(&self, chunk: usize) -> Write {
        let first = chunk * CHUNK_BUCKETS;
        let mut runs: Vec<RunRecord> = Vec::new();
        for bucket in bucket_range(first, CHUNK_BUCKETS) {
            let generation = self.map.generation(bucket).0;
            let base = self.base(bucket).0;
            let owner = self.map.owner(bucket).map(|(node, _)| node.id.as_str());
            match runs.last_mut() {
                Some(run)
                    if (run.generation, run.base) == (generation, base) && run.owner.as_deref() == owner =>
                {
                    run.count += 1;
                }
                _ => runs.push(RunRecord { count: 1, generation, base, owner: owner.map(str::to_owned) }),
            }
        }
        let record = ChunkRecord { format: FORMAT, first: first as u16, runs };
        (format!("{CHUNK_PREFIX}{chunk:03}"), Some(encode(&record)))
    }
}

fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("numbers and strings always have a JSON form")
}
