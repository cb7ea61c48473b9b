//! The newest map that the node was given, for whoever asks with `map`.
//!
//! Clients mostly ask for the whole map (new ones) or for what is newer than the version before: both are
//! kept as text, so an answer is a copy.

use std::sync::{Arc, Mutex, PoisonError};

use cluster::Map;
use cluster::map::ApplyError;
use proto::{ClusterId, MapVersion};

/// The map, shared by the control thread (who changes it) and the workers.
#[derive(Debug)]
pub struct MapKeeper(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    map: Map,
    /// The text for who holds the version of the key; made when first asked for, dropped with the version.
    whole: Option<Arc<[u8]>>,
    delta: Option<(MapVersion, Arc<[u8]>)>,
}

impl Default for MapKeeper {
    fn default() -> Self {
        let map = Map::empty(ClusterId(0));
        Self(Mutex::new(Kept { map, whole: None, delta: None }))
    }
}

impl MapKeeper {
    /// The version held; `NONE` before the first.
    pub fn version(&self) -> MapVersion {
        self.lock().map.version()
    }

    /// Takes a map text over, whole or delta. On an error nothing has changed.
    pub fn apply(&self, text: &[u8]) -> Result<(), ApplyError> {
        let mut kept = self.lock();
        if kept.map.apply(text)? {
            kept.whole = None;
            kept.delta = None;
        }
        Ok(())
    }

    /// The version held, and the text that leads to it from `held`: empty when that is not older.
    pub fn newer_than(&self, held: MapVersion) -> (MapVersion, Arc<[u8]>) {
        let mut kept = self.lock();
        let version = kept.map.version();
        if held >= version {
            return (version, Arc::new([]));
        }
        if held == MapVersion::NONE {
            let kept = &mut *kept;
            let text = kept.whole.get_or_insert_with(|| kept.map.encode().into());
            return (version, Arc::clone(text));
        }
        if let Some((_, text)) = kept.delta.as_ref().filter(|(since, _)| *since == held) {
            return (version, Arc::clone(text));
        }
        let text: Arc<[u8]> = kept.map.encode_since(held).into();
        kept.delta = Some((held, Arc::clone(&text)));
        (version, text)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"doled-map 1\ncluster 5\nversion 10\nsince 0\nhash xxh3-64 49\nnode a h:1\nbuckets 0 32768 10 a\nend\n";
    const DELTA: &[u8] = b"doled-map 1\ncluster 5\nversion 11\nsince 10\nhash xxh3-64 49\nnode a h:1\nnode b h:2\nbuckets 7 1 11 b\nend\n";

    #[test]
    fn whole_maps_and_deltas_are_passed_on() {
        let keeper = MapKeeper::default();
        assert_eq!(keeper.newer_than(MapVersion::NONE).1.len(), 0);
        assert!(keeper.apply(DELTA).is_err(), "a delta needs what it starts from");
        keeper.apply(WHOLE).unwrap();
        assert_eq!(&*keeper.newer_than(MapVersion::NONE).1, WHOLE);
        keeper.apply(DELTA).unwrap();
        assert_eq!(keeper.newer_than(MapVersion(10)), (MapVersion(11), DELTA.into()));
        assert_eq!(keeper.newer_than(MapVersion(10)).1, DELTA.into());
        assert_eq!(keeper.newer_than(MapVersion(11)).1.len(), 0);
        let whole = keeper.newer_than(MapVersion::NONE).1;
        assert!(String::from_utf8_lossy(&whole).contains("buckets 7 1 11 b\n"));
    }
}
