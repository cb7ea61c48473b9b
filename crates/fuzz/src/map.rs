//! Map texts from the network, one after the other on one map: a refused one leaves the map as it was, one that
//! is taken makes it newer, and the map's own text, whole or as a delta, makes the same map of an older one of the
//! same history.

use cluster::map::Map;
use proto::{Bucket, ClusterId, MapVersion};

/// Between two texts of an input.
const SEPARATOR: u8 = 0xff;

/// Texts of one input.
const TEXTS_MAX: usize = 8;

pub(crate) fn run(bytes: &[u8]) {
    let mut map = Map::empty(ClusterId(0));
    for text in bytes.split(|byte| *byte == SEPARATOR).take(TEXTS_MAX) {
        let before = map.clone();
        match map.apply(text) {
            Err(_) => assert!(map == before, "a refused text changed the map"),
            Ok(false) => assert!(map == before, "a text without news changed the map"),
            Ok(true) => check_news(&before, &map),
        }
    }
}

fn check_news(before: &Map, map: &Map) {
    assert!(map.version() > before.version());
    assert!(before.cluster() == ClusterId(0) || map.cluster() == before.cluster());
    let mut whole = Map::empty(ClusterId(0));
    assert_eq!(whole.apply(&map.encode()), Ok(true));
    assert!(whole == *map, "the whole text makes another map");
    assert!(map.encode_since(map.version()).is_empty());
    if is_one_history(before, map) {
        let mut older = before.clone();
        assert_eq!(older.apply(&map.encode_since(before.version())), Ok(true));
        assert!(older == *map, "the delta makes another map");
        assert_eq!(older.apply(&map.encode_since(MapVersion::NONE)), Ok(false));
    }
    for run in map.runs() {
        assert!(run.generation.0 <= map.version().0);
        assert!(run.owner.is_none_or(|owner| owner < map.nodes().len() && run.generation.0 > 0));
    }
}

/// Whether the newer map agrees with the older one about everything up to the older one's version. A manager that
/// tells two histories is believed the newer one, since what keeps the promise is the generation at the node; but a
/// delta says only what changed after the version held.
fn is_one_history(before: &Map, map: &Map) -> bool {
    Bucket::all().filter(|bucket| map.generation(*bucket).0 <= before.version().0).all(|bucket| {
        let owner = |map: &Map| map.owner(bucket).map(|(node, _)| node.id.clone());
        map.generation(bucket) == before.generation(bucket) && owner(map) == owner(before)
    })
}
