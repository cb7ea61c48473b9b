//! The map: which node owns which bucket, under which generation.
//!
//! One value, held by the manager (who changes it), by nodes (who pass it on as text) and by clients (who look
//! keys up in it). About 320 KiB whatever the number of nodes: ten bytes for each bucket.
//!
//! **Invariants**: a bucket's generation is the version of the map in which it changed last, so versions and
//! generations are drawn from one counter, no generation is above the version, and what changed since a
//! version is what has a higher generation: no history is kept. An owned bucket has a generation.

mod text;

use proto::{BUCKET_COUNT, Bucket, ClusterId, Generation, MapVersion, NodeId};

pub use text::ApplyError;
pub(crate) use text::is_address;

/// The assignment of all buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    cluster: ClusterId,
    version: MapVersion,
    nodes: Vec<MapNode>,
    /// Of each bucket; `NONE` if it was never owned.
    generations: Box<[Generation]>,
    /// Of each bucket: an index into `nodes`, or `NOBODY`.
    owners: Box<[u16]>,
}

/// A node as the map names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapNode {
    /// Unique in the map.
    pub id: NodeId,
    /// Where clients reach it, `host:port`; empty while nobody knows (it then owns nothing).
    pub address: String,
}

/// Neighbouring buckets with the same owner and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First bucket.
    pub first: Bucket,
    /// Number of buckets, at least 1.
    pub count: u16,
    /// Of all of them; `NONE` if they were never owned.
    pub generation: Generation,
    /// Index into [`Map::nodes`], `None` if nobody owns them.
    pub owner: Option<usize>,
}

impl Map {
    /// A map of nothing, older than every real one, that takes the first whole map applied to it. A `cluster`
    /// of zero takes a map of any cluster.
    pub fn empty(cluster: ClusterId) -> Self {
        Self {
            cluster,
            version: MapVersion::NONE,
            nodes: Vec::new(),
            generations: vec![Generation::NONE; BUCKET_COUNT].into_boxed_slice(),
            owners: vec![NOBODY; BUCKET_COUNT].into_boxed_slice(),
        }
    }

    /// Whose map; zero while empty and not yet known.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The newer of two maps has the higher version; `NONE` while empty.
    pub fn version(&self) -> MapVersion {
        self.version
    }

    /// All nodes in the order in which they joined. A node keeps its index until a node before it is removed.
    pub fn nodes(&self) -> &[MapNode] {
        &self.nodes
    }

    /// The index of a node.
    pub fn node_index(&self, id: &NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == *id)
    }

    /// Who owns a bucket and under which generation; `None` if nobody does.
    pub fn owner(&self, bucket: Bucket) -> Option<(&MapNode, Generation)> {
        let node = self.nodes.get(self.owner_index(bucket)?)?;
        Some((node, self.generation(bucket)))
    }

    /// The index of a bucket's owner.
    pub fn owner_index(&self, bucket: Bucket) -> Option<usize> {
        match self.owners[bucket.index()] {
            NOBODY => None,
            owner => Some(usize::from(owner)),
        }
    }

    /// The generation of a bucket, owned or not; `NONE` if it was never owned.
    pub fn generation(&self, bucket: Bucket) -> Generation {
        self.generations[bucket.index()]
    }

    /// The whole map as runs in the order of their buckets.
    pub fn runs(&self) -> Runs<'_> {
        Runs { map: self, next: 0, end: BUCKET_COUNT, above: None }
    }

    /// The runs of what changed after `version`, in the order of their buckets.
    pub fn runs_since(&self, version: MapVersion) -> Runs<'_> {
        Runs { map: self, next: 0, end: BUCKET_COUNT, above: Some(Generation(version.0)) }
    }

    /// The number of buckets of each node, by index.
    pub fn bucket_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.nodes.len()];
        for run in self.runs() {
            if let Some(count) = run.owner.and_then(|owner| counts.get_mut(owner)) {
                *count += u32::from(run.count);
            }
        }
        counts
    }

    /// Writes the whole map as text.
    pub fn encode(&self) -> Vec<u8> {
        text::encode(self, MapVersion::NONE)
    }

    /// Writes what is newer than `version`: nothing (empty) if this map is not newer, else a delta, or the
    /// whole map if `version` is `NONE`.
    pub fn encode_since(&self, version: MapVersion) -> Vec<u8> {
        if version >= self.version { Vec::new() } else { text::encode(self, version) }
    }

    /// Takes over a map text, whole or delta. True: this map is newer now. False: the text is of the version
    /// held. On an error nothing has changed.
    pub fn apply(&mut self, text: &[u8]) -> Result<bool, ApplyError> {
        text::apply(self, text)
    }

    /// A run cut out of the map's arrays, from `first` to at most `end`.
    fn run_at(&self, first: usize, end: usize) -> Option<Run> {
        let (generation, owner) = (self.generations[first], self.owners[first]);
        let mut next = first + 1;
        while next < end && self.generations[next] == generation && self.owners[next] == owner {
            next += 1;
        }
        let owner = (owner != NOBODY).then_some(usize::from(owner));
        Some(Run {
            first: Bucket::new(u16::try_from(first).ok()?)?,
            count: u16::try_from(next - first).ok()?,
            generation,
            owner,
        })
    }
}

/// What the manager does to its map.
impl Map {
    /// Starts a new version; every change after this belongs to it.
    pub(crate) fn set_version(&mut self, version: MapVersion) {
        debug_assert!(version >= self.version, "versions never go back");
        self.version = version;
    }

    /// Gives a bucket to an owner under a generation, which is the current version's.
    pub(crate) fn assign(&mut self, bucket: Bucket, owner: Option<usize>, generation: Generation) {
        assert!(generation.0 <= self.version.0, "no generation is above its map's version");
        assert!(owner.is_none_or(|owner| owner < self.nodes.len()), "an owner is a node of the map");
        self.generations[bucket.index()] = generation;
        self.owners[bucket.index()] = owner.map_or(NOBODY, |owner| owner as u16);
    }

    /// Adds a node at the end, or changes the address of one that is there. Returns its index.
    pub(crate) fn put_node(&mut self, id: &NodeId, address: &str) -> usize {
        if let Some(index) = self.node_index(id) {
            address.clone_into(&mut self.nodes[index].address);
            return index;
        }
        self.nodes.push(MapNode { id: id.clone(), address: address.to_owned() });
        self.nodes.len() - 1
    }

    /// Removes a node that owns nothing; later ones move up by one.
    pub(crate) fn remove_node(&mut self, index: usize) {
        self.nodes.remove(index);
        for owner in &mut self.owners {
            assert!(usize::from(*owner) != index, "a removed node owns nothing");
            if *owner != NOBODY && usize::from(*owner) > index {
                *owner -= 1;
            }
        }
    }
}

/// Iterator over the runs of a map; see [`Map::runs`].
#[derive(Clone, Debug)]
pub struct Runs<'a> {
    map: &'a Map,
    next: usize,
    end: usize,
    /// Only runs of a higher generation than this.
    above: Option<Generation>,
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if let Some(above) = self.above {
            let newer = self.map.generations[self.next..self.end].iter().position(|&g| g > above);
            self.next = newer.map_or(self.end, |skip| self.next + skip);
        }
        if self.next == self.end {
            return None;
        }
        let run = self.map.run_at(self.next, self.end)?;
        self.next += usize::from(run.count);
        Some(run)
    }
}

/// The buckets from `first` on, `count` of them as far as they exist.
pub(crate) fn bucket_range(first: usize, count: usize) -> impl Iterator<Item = Bucket> {
    (first..first + count).filter_map(|index| Bucket::new(u16::try_from(index).ok()?))
}

/// The owner of a bucket that nobody owns.
const NOBODY: u16 = u16::MAX;

#[cfg(test)]
mod tests;
