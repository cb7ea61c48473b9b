//! The map: its text, deltas, and every way in which a text can be wrong.

use proto::{Bucket, ClusterId, Generation, MapVersion, NodeId};
use stdx::Prng;

use super::{ApplyError, Map, bucket_range};

const CLUSTER: ClusterId = ClusterId(77);

fn bucket(number: u16) -> Bucket {
    Bucket::new(number).expect("a legal bucket")
}

fn id(name: &str) -> NodeId {
    name.parse().expect("a legal name")
}

/// Two nodes, half of the buckets each.
fn sample() -> Map {
    let mut map = Map::empty(CLUSTER);
    map.set_version(MapVersion::new(1, 1));
    let (a, b) = (map.put_node(&id("a"), "127.0.0.1:1"), map.put_node(&id("b"), "[::1]:2"));
    for bucket in Bucket::all() {
        let owner = if bucket.number() < 16_384 { a } else { b };
        map.assign(bucket, Some(owner), Generation::new(1, 1));
    }
    map
}

const SAMPLE: &str = "\
doled-map 1
cluster 77
version 4294967297
since 0
hash xxh3-64 49
node a 127.0.0.1:1
node b [::1]:2
buckets 0 16384 4294967297 a
buckets 16384 16384 4294967297 b
end
";

#[test]
fn a_map_is_a_few_lines_of_text() {
    let map = sample();
    assert_eq!(String::from_utf8_lossy(&map.encode()), SAMPLE);
    let mut read = Map::empty(ClusterId(0));
    assert_eq!(read.apply(SAMPLE.as_bytes()), Ok(true));
    assert_eq!(read, map);
    assert_eq!(read.apply(SAMPLE.as_bytes()), Ok(false), "the version that is held changes nothing");
    let (node, generation) = read.owner(bucket(20_000)).expect("owned");
    assert_eq!((node.id.as_str(), node.address.as_str()), ("b", "[::1]:2"));
    assert_eq!(generation, Generation::new(1, 1));
    assert_eq!(read.bucket_counts(), [16_384, 16_384]);
}

#[test]
fn a_delta_carries_what_changed() {
    let mut manager = sample();
    let mut client = Map::empty(CLUSTER);
    client.apply(&manager.encode()).expect("a legal map");
    let old = manager.version();
    manager.set_version(old.next(1));
    manager.assign(bucket(7), Some(1), Generation(manager.version().0));
    let delta = manager.encode_since(old);
    let text = String::from_utf8_lossy(&delta);
    assert!(text.contains("since 4294967297\n") && text.contains("buckets 7 1 4294967298 b\n"), "{text}");
    assert_eq!(text.matches("buckets").count(), 1);
    assert_eq!(client.apply(&delta), Ok(true));
    assert_eq!(client, manager);
    assert!(manager.encode_since(manager.version()).is_empty(), "nothing is newer");
    assert_eq!(
        Map::empty(CLUSTER).apply(&delta),
        Err(ApplyError::Gap { since: old, ours: MapVersion::NONE })
    );
}

#[test]
fn any_delta_leads_to_the_same_map() {
    for seed in 0..5 {
        let mut prng = Prng::new(seed);
        let mut manager = sample();
        let mut held = vec![manager.clone()];
        for step in 0..12 {
            manager.set_version(manager.version().next(1 + step / 8));
            let version = Generation(manager.version().0);
            match prng.below(6) {
                0 if manager.nodes().len() > 2 => {
                    let last = manager.nodes().len() - 1;
                    for bucket in
                        Bucket::all().filter(|&b| manager.owner_index(b) == Some(last)).collect::<Vec<_>>()
                    {
                        manager.assign(bucket, None, version);
                    }
                    manager.remove_node(last);
                }
                1 => drop(manager.put_node(&id(&format!("n{step}")), "h:1")),
                _ => {
                    let owner = prng.below(manager.nodes().len() as u64) as usize;
                    for bucket in bucket_range(prng.below(32_000) as usize, 1 + prng.below(700) as usize) {
                        manager.assign(bucket, Some(owner), version);
                    }
                }
            }
            held.push(manager.clone());
        }
        for mut client in held {
            let news = client.version() < manager.version();
            let text = manager.encode_since(client.version());
            assert_eq!(text.is_empty(), !news);
            if news {
                assert_eq!(client.apply(&text), Ok(true), "seed {seed}");
            }
            assert_eq!(client, manager, "seed {seed}");
        }
    }
}

/// Applies a changed sample to an empty map and to one that holds the sample.
#[track_caller]
fn check_refused(from: &str, to: &str, line: usize, rule: &str) {
    let text = SAMPLE.replacen(from, to, 1);
    assert_ne!(text, SAMPLE, "nothing was replaced");
    let mut map = Map::empty(CLUSTER);
    match map.apply(text.as_bytes()) {
        Err(ApplyError::Line { line: at, rule: why }) => {
            assert_eq!(at, line, "{why}");
            assert!(why.contains(rule), "\"{why}\" does not say \"{rule}\"");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(map, Map::empty(CLUSTER), "a refused text changes nothing");
}

#[test]
fn a_map_that_contradicts_itself_is_refused_with_its_line() {
    check_refused("doled-map 1", "doled-map 2", 1, "format \"2\"");
    check_refused("doled-map", "HTTP/1.1", 1, "HTTP/1.1");
    check_refused("cluster 77", "cluster 0", 2, "no cluster");
    check_refused("cluster 77", "cluster +77", 2, "not a number");
    check_refused("version 4294967297", "version 0", 3, "no map");
    check_refused("since 0", "since 4294967297", 4, "cannot lead");
    check_refused("xxh3-64 49", "fnv1a-32 17", 5, "fnv1a");
    check_refused("node b", "node a", 7, "twice");
    check_refused("node b", "node b/", 7, "not a node name");
    check_refused("[::1]:2", "[::1]", 7, "host:port");
    check_refused("[::1]:2", "h:0", 7, "host:port");
    check_refused("[::1]:2", "h:+2", 7, "host:port");
    check_refused("[::1]:2", "h h:2", 7, "host:port");
    check_refused("[::1]:2", "-", 9, "without an address");
    check_refused("buckets 16384 16384", "buckets 16384 16383", 10, "ends at bucket 32767");
    check_refused("buckets 16384 16384", "buckets 16385 16383", 9, "16384 is missing");
    check_refused("buckets 16384 16384", "buckets 16383 16385", 9, "comes again");
    check_refused("buckets 16384 16384", "buckets 16384 16385", 9, "not within");
    check_refused("buckets 16384 16384", "buckets 16384 0", 9, "not within");
    check_refused("16384 4294967297 b", "16384 4294967298 b", 9, "above the map's version");
    check_refused("16384 4294967297 b", "16384 0 b", 9, "has a generation");
    check_refused("16384 4294967297 b", "16384 4294967297 c", 9, "no node of the map");
    check_refused("16384 4294967297 b", "16384 4294967297 b b", 9, "is:");
    check_refused("buckets 0 16384 4294967297 a", "bucket 0", 8, "no line of a map");
    check_refused("end\n", "end\nend\n", 11, "follows");
    check_refused("end\n", "node c h:1\nend\n", 10, "no line of a map");
}

#[test]
fn what_is_known_is_not_contradicted() {
    let mut map = sample();
    let held = map.clone();
    let newer = SAMPLE.replace("version 4294967297", "version 4294967299");
    let back = newer.replacen("16384 4294967297 a", "16384 4294967296 a", 1);
    assert!(map.apply(back.as_bytes()).is_err_and(|e| e.to_string().contains("line 8: bucket 0 goes back")));
    let twice = newer.replacen("4294967297 a", "4294967297 b", 1);
    assert!(map.apply(twice.as_bytes()).is_err_and(|e| e.to_string().contains("another owner")));
    let gone = "doled-map 1\ncluster 77\nversion 4294967299\nsince 4294967297\nhash xxh3-64 49\nnode b [::1]:2\nend\n";
    assert!(
        map.apply(gone.as_bytes()).is_err_and(|e| e.to_string().contains("node a is gone but still owns"))
    );
    let old = gone.replace("since 4294967297", "since 4294967290") + "";
    let old = old.replace("node b [::1]:2\n", "node a h:1\nnode b h:2\nbuckets 3 1 4294967290 a\n");
    assert!(
        map.apply(old.as_bytes()).is_err_and(|e| e.to_string().contains("not newer than the delta's start"))
    );
    let other = SAMPLE.replace("cluster 77", "cluster 78");
    let refused = ApplyError::OtherCluster { theirs: ClusterId(78), ours: CLUSTER };
    assert_eq!(map.apply(other.as_bytes()), Err(refused));
    let older = SAMPLE.replace("4294967297", "4294967296");
    assert!(matches!(map.apply(older.as_bytes()), Err(ApplyError::Older { .. })));
    assert_eq!(map, held, "refused texts change nothing");
}

#[test]
fn truncated_and_flipped_texts_never_pass_and_never_panic() {
    for end in 0..SAMPLE.len() {
        assert!(Map::empty(CLUSTER).apply(&SAMPLE.as_bytes()[..end]).is_err(), "cut at {end}");
    }
    let mut prng = Prng::new(1);
    let mut map = sample();
    for _ in 0..500 {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        let at = prng.below(bytes.len() as u64) as usize;
        bytes[at] = prng.next_u64() as u8;
        if map.apply(&bytes) == Ok(true) {
            map = sample();
        }
    }
    assert!(map == sample(), "refused texts change nothing");
    let long = vec![b'x'; proto::limits::MAP_TEXT_LEN_MAX + 1];
    assert!(matches!(Map::empty(CLUSTER).apply(&long), Err(ApplyError::TooLong(_))));
    assert!(
        Map::empty(CLUSTER)
            .apply(b"doled-map 1\ncluster 7\xff\n")
            .is_err_and(|e| e.to_string().contains("line 2"))
    );
}

#[test]
fn the_largest_map_fits_a_control_message() {
    let mut map = Map::empty(ClusterId(u64::MAX));
    map.set_version(MapVersion(u64::MAX));
    for number in 0..crate::limits::NODES_MAX {
        let name = format!("{number:064}");
        map.put_node(&id(&name), &format!("{}:65535", "h".repeat(proto::limits::ADDRESS_LEN_MAX - 6)));
    }
    for bucket in Bucket::all() {
        let generation = Generation(u64::MAX - u64::from(bucket.number() % 2));
        map.assign(bucket, Some(bucket.index() % crate::limits::NODES_MAX), generation);
    }
    let text = map.encode();
    assert!(text.len() <= proto::limits::MAP_TEXT_LEN_MAX, "{} bytes", text.len());
    let mut read = Map::empty(ClusterId(0));
    assert_eq!(read.apply(&text), Ok(true));
    assert_eq!(read, map);
}
