//! Records: written and read back, and every way in which they can be wrong.

use proto::control::LockIdentity;
use proto::{Bucket, ClusterId, Generation, Incarnation, Term};
use stdx::Prng;

use super::{Draft, LoadError, State};
use crate::record::{MemberRole, Records, Write};

fn apply(records: &mut Records, writes: Vec<Write>) {
    records.revision += 1;
    for (key, value) in writes {
        match value {
            Some(value) => records.entries.insert(key, value),
            None => records.entries.remove(&key),
        };
    }
}

fn commit(draft: Draft, records: &mut Records) -> State {
    let (mut state, writes) = draft.finish();
    apply(records, writes);
    state.set_revision(records.revision);
    state
}

/// Two nodes with an even share each, and the records of it.
fn sample() -> (State, Records) {
    let (mut state, writes) = State::bootstrap(ClusterId(77));
    let mut records = Records::default();
    apply(&mut records, writes);
    state.set_revision(1);
    let mut draft = Draft::new(&state);
    draft.begin_term(5, crate::lease::LEASE);
    let lock = LockIdentity { boot_id: u128::MAX, device: 3, inode: u64::MAX };
    for (index, name) in ["a", "b"].iter().enumerate() {
        let member = draft.add_member(&name.parse().expect("a legal name"), "");
        draft.admit(member, Incarnation(u64::MAX - index as u64), lock.clone(), "h:1");
    }
    for bucket in Bucket::all() {
        draft.assign(bucket, Some(usize::from(bucket.number() >= 16_384)));
    }
    let state = commit(draft, &mut records);
    (state, records)
}

#[test]
fn a_new_cluster_is_loaded_as_it_was_made() {
    let (state, writes) = State::bootstrap(ClusterId(77));
    let mut records = Records::default();
    apply(&mut records, writes);
    let loaded = State::load(&records).expect("legal records");
    assert_eq!((loaded.cluster(), loaded.epoch(), loaded.term()), (ClusterId(77), 1, Term(0)));
    assert_eq!(loaded.map(), state.map());
    assert_eq!(State::load(&Records::default()), Err(LoadError::Empty));
}

#[test]
fn every_change_is_loaded_as_it_was_made() {
    let (mut state, mut records) = sample();
    let mut prng = Prng::new(3);
    for round in 0..40 {
        let mut draft = Draft::new(&state);
        match prng.below(5) {
            0 => drop(draft.add_member(&format!("n{round}").parse().expect("a legal name"), "h:9")),
            1 => draft.set_role(prng.below(2) as usize, MemberRole::Draining),
            2 => draft.bury(prng.below(2) as usize),
            3 if state.members().len() > 2 => draft.remove(2),
            _ => {
                for _ in 0..5 {
                    let bucket = Bucket::new(prng.below(32_768) as u16).expect("a legal bucket");
                    draft.assign(bucket, Some(prng.below(2) as usize));
                }
            }
        }
        state = commit(draft, &mut records);
        assert_eq!(State::load(&records), Ok(state.clone()), "round {round}");
    }
}

#[test]
fn generations_grow_and_belong_to_the_version() {
    let (state, _) = sample();
    let mut draft = Draft::new(&state);
    let bucket = Bucket::all().next().expect("there are buckets");
    draft.assign(bucket, Some(1));
    let next = draft.state().map();
    assert!(next.generation(bucket) > state.map().generation(bucket));
    assert_eq!(next.generation(bucket), Generation(next.version().0));
    assert_eq!(draft.state().base(bucket), next.generation(bucket));
    let empty = Draft::new(&state);
    assert!(empty.is_empty() && empty.state() == &state);
}

/// Changes one record of the sample and expects it to be refused.
#[track_caller]
fn check_refused(key: &str, from: &str, to: &str, rule: &str) {
    let (_, mut records) = sample();
    let value = records.entries.get_mut(key).expect("a key of the sample");
    let text = String::from_utf8(value.clone()).expect("JSON is text");
    assert!(text.contains(from), "{text}");
    *value = text.replacen(from, to, 1).into_bytes();
    let error = State::load(&records).expect_err("must be refused").to_string();
    assert!(error.contains(rule) && error.contains('"'), "\"{error}\" does not say \"{rule}\"");
}

#[test]
fn foreign_damaged_and_contradictory_records_are_refused() {
    check_refused("meta", "\"format\":1", "\"format\":2", "\"meta\" has format 2, this program knows 1");
    check_refused("meta", "\"format\":1", "\"format\":\"x\"", "damaged");
    check_refused("meta", "{", "", "damaged");
    check_refused("meta", "\"cluster\":77", "\"cluster\":0", "no cluster");
    check_refused("meta", "\"epoch\":1", "\"epoch\":0", "does not belong to epoch");
    check_refused("meta", "\"lease_ms\":10000", "\"lease_ms\":3600001", "longer than an hour");
    check_refused("meta", "\"term\"", "\"tern\"", "damaged");
    check_refused("meta", "\"version\":4294967298", "\"version\":4294967297", "above the version");
    check_refused("node/a", "\"format\":1", "\"format\":9", "format 9");
    check_refused("node/a", "\"name\":\"a\"", "\"name\":\"b\"", "holds node \"b\"");
    check_refused("node/a", "\"address\":\"h:1\"", "\"address\":\"h\"", "host:port");
    check_refused("node/a", "\"address\":\"h:1\"", "\"address\":\"\"", "no address");
    check_refused("node/a", "\"index\":0", "\"index\":1", "index 1 is another node's");
    check_refused("node/a", "\"index\":0", "\"index\":2", "follows a gap");
    check_refused("node/a", "\"active\"", "\"idle\"", "damaged");
    check_refused("node/a", "ffff", "zzzz", "not hexadecimal");
    check_refused("buckets/000", "\"first\":0", "\"first\":128", "from 128 on");
    check_refused("buckets/000", "\"count\":128", "\"count\":127", "127 buckets");
    check_refused("buckets/000", "\"owner\":\"a\"", "\"owner\":\"c\"", "no member");
    check_refused(
        "buckets/000",
        "\"generation\":4294967298",
        "\"generation\":4294967299",
        "above the version",
    );
    check_refused("buckets/000", "\"base\":4294967298", "\"base\":4294967299", "above its generation");
}

#[test]
fn missing_and_strange_keys_are_refused() {
    let without = |key: &str| {
        let (_, mut records) = sample();
        records.entries.remove(key).expect("a key of the sample");
        State::load(&records).expect_err("must be refused").to_string()
    };
    assert!(without("meta").contains("is missing"));
    assert!(without("buckets/255").contains("is missing"));
    assert!(without("node/b").contains("no member"));
    let with = |key: &str| {
        let (_, mut records) = sample();
        records.entries.insert(key.to_owned(), b"{\"format\":1}".to_vec());
        State::load(&records).expect_err("must be refused").to_string()
    };
    assert!(with("users").contains("someone else's store"));
    assert!(with("buckets/256").contains("257 chunks"));
    assert!(with("node/a b").contains("damaged"));
}
