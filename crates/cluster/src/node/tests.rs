//! The node's rules of acceptance and the effects of replies.

use std::time::Duration;

use proto::control::{Change, LockIdentity, Reply, Role};
use proto::{Bucket, ClusterId, Generation, Incarnation, MapVersion, Nonce, Term};
use stdx::LeaseTime;

use super::{Effect, Node, NodeOptions, NotOwner, RefuseReply, may_execute};
use crate::Lease;

fn bucket(number: u16) -> Bucket {
    Bucket::new(number).expect("a legal bucket")
}

fn node() -> Node {
    Node::new(NodeOptions {
        node: "n1".parse().expect("a legal name"),
        incarnation: Incarnation(9),
        cluster: ClusterId(0),
        address: "h:1".to_owned(),
        lock: LockIdentity::default(),
        pid: 1,
    })
}

fn poll(node: &mut Node, ms: u64) -> Nonce {
    node.poll(LeaseTime::from_millis(ms), 0xdead_beef, MapVersion::NONE).expect("not released").nonce
}

fn reply(nonce: Nonce, changes: &[Change]) -> Reply {
    Reply {
        cluster: ClusterId(7),
        incarnation: Incarnation(9),
        nonce,
        term: Term(3),
        lease: true,
        lease_ms: 10_000,
        list_owned: false,
        changes: changes.to_vec(),
        map: Vec::new(),
    }
}

fn grant(first: u16, count: u16, generation: u64, base: u64) -> Change {
    let (generation, base) = (Generation(generation), Generation(base));
    Change::Grant { first: bucket(first), count, generation, base, role: Role::Primary }
}

fn effect(number: u16, generation: u64, wipe: bool) -> Effect {
    Effect { bucket: bucket(number), generation: Generation(generation), wipe }
}

/// A node that owns buckets 4 and 5 at generation 20.
fn owner() -> Node {
    let mut node = node();
    let nonce = poll(&mut node, 0);
    let step = node.handle_reply(&reply(nonce, &[grant(4, 2, 20, 20)])).expect("accepted");
    assert_eq!(step.effects, [effect(4, 20, true), effect(5, 20, true)]);
    node
}

#[test]
fn it_starts_with_nothing_and_lists_that() {
    let mut node = node();
    assert!(!node.lease().is_valid(LeaseTime::from_millis(0)));
    let poll = node.poll(LeaseTime::from_millis(1), 5, MapVersion(8)).expect("not released");
    assert_eq!((poll.owned, poll.applied, poll.cluster), (Some(Vec::new()), Nonce(0), ClusterId(0)));
    assert_eq!((poll.nonce, poll.map_version), (Nonce(1 << 32 | 5), MapVersion(8)));
}

#[test]
fn polls_are_numbered_and_list_what_is_asked_for() {
    let mut node = owner();
    let now = LeaseTime::from_millis(5);
    // The term was new, so what is owned is listed once more.
    let poll = node.poll(now, u64::MAX, MapVersion::NONE).expect("not released");
    let owned = poll.owned.expect("listed");
    assert_eq!((owned.len(), owned[0].first, owned[0].count), (1, bucket(4), 2));
    assert_eq!((poll.nonce.0 >> 32, poll.applied.0 >> 32, poll.cluster), (2, 1, ClusterId(7)));
    assert!(node.poll(now, 1, MapVersion::NONE).expect("not released").owned.is_none());
    node.connected();
    assert!(node.poll(now, 1, MapVersion::NONE).expect("not released").owned.is_some());
    let nonce = self::poll(&mut node, 9);
    let _ = node.handle_reply(&Reply { list_owned: true, ..reply(nonce, &[]) }).expect("accepted");
    assert!(node.poll(now, 1, MapVersion::NONE).expect("not released").owned.is_some());
}

#[test]
fn the_lease_counts_from_the_send_time_of_the_poll() {
    let mut node = node();
    let nonce = poll(&mut node, 1_000);
    let step = node.handle_reply(&reply(nonce, &[])).expect("accepted");
    let lease = Lease::from_poll(LeaseTime::from_millis(1_000), Duration::from_secs(10));
    assert_eq!(step.lease, Some(lease));
    let nonce = poll(&mut node, 5_000);
    let news = Reply { lease: false, ..reply(nonce, &[]) };
    assert_eq!(node.handle_reply(&news).expect("accepted").lease, None);
    assert_eq!(node.lease(), lease, "a reply without a lease leaves it as it was");
}

#[test]
fn revokes_come_before_grants_and_what_is_kept_is_not_wiped() {
    let mut node = owner();
    let nonce = poll(&mut node, 10);
    let changes = [
        grant(5, 2, 30, 20),
        Change::Revoke { first: bucket(4), count: 1 },
        Change::Revoke { first: bucket(9), count: 3 },
    ];
    let step = node.handle_reply(&reply(nonce, &changes)).expect("accepted");
    // Bucket 5 goes on under the same base; 6 was not held, so nothing in it may live.
    assert_eq!(step.effects, [effect(4, 0, false), effect(5, 30, false), effect(6, 30, true)]);
    let nonce = poll(&mut node, 20);
    let step =
        node.handle_reply(&reply(nonce, &[grant(5, 1, 31, 31), grant(6, 1, 30, 20)])).expect("accepted");
    assert_eq!(step.effects, [effect(5, 31, true)], "a new base wipes, the same grant does nothing");
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut Reply), expected: impl FnOnce(&RefuseReply) -> bool) {
    let mut node = owner();
    let nonce = poll(&mut node, 10);
    let mut bad = reply(nonce, &[Change::Revoke { first: bucket(4), count: 2 }]);
    change(&mut bad);
    let before = node.clone();
    let error = node.handle_reply(&bad).expect_err("must be refused");
    assert!(expected(&error), "{error}");
    assert_eq!((node.owned(), node.lease(), node.term()), (before.owned(), before.lease(), before.term()));
    let _ = node.handle_reply(&reply(nonce, &[])).expect("the poll is still out");
}

#[test]
fn what_does_not_match_is_refused_whole() {
    use RefuseReply as R;
    check_refused(|r| r.nonce.0 ^= 1, |e| matches!(e, R::Nonce(_)));
    check_refused(|r| r.incarnation.0 = 8, |e| matches!(e, R::Incarnation { .. }));
    check_refused(|r| r.cluster.0 = 8, |e| matches!(e, R::Cluster { .. }));
    check_refused(|r| r.term.0 = 2, |e| matches!(e, R::Term { .. }));
    check_refused(|r| r.lease_ms = 3_600_001, |e| matches!(e, R::LeaseTooLong(_)));
    check_refused(|r| r.changes.push(grant(32_767, 2, 40, 40)), |e| matches!(e, R::Buckets { .. }));
    check_refused(|r| r.changes.push(grant(1, 0, 40, 40)), |e| matches!(e, R::Buckets { .. }));
    check_refused(|r| r.changes.push(grant(1, 1, 0, 0)), |e| matches!(e, R::Generation { .. }));
    check_refused(|r| r.changes.push(grant(1, 1, 40, 41)), |e| matches!(e, R::Generation { .. }));
    check_refused(|r| r.changes.push(grant(4, 1, 19, 19)), |e| matches!(e, R::Generation { .. }));
    let copy = Change::Grant {
        first: bucket(1),
        count: 1,
        generation: Generation(40),
        base: Generation(40),
        role: Role::Copy,
    };
    check_refused(|r| r.changes.push(copy), |e| matches!(e, R::Role(_)));
}

#[test]
fn only_the_last_poll_can_be_answered_and_only_once() {
    let mut node = node();
    let (first, second) = (poll(&mut node, 1), poll(&mut node, 2));
    assert_eq!(node.handle_reply(&reply(first, &[])), Err(RefuseReply::Nonce(first)));
    let _ = node.handle_reply(&reply(second, &[])).expect("accepted");
    assert_eq!(node.handle_reply(&reply(second, &[])), Err(RefuseReply::Nonce(second)));
}

#[test]
fn a_released_node_owns_nothing_for_ever() {
    let mut node = owner();
    let nonce = poll(&mut node, 10);
    let (life, effects) = node.release();
    assert_eq!((life.incarnation, life.cluster), (Incarnation(9), ClusterId(7)));
    assert_eq!(effects, [effect(4, 0, false), effect(5, 0, false)]);
    assert_eq!(node.handle_reply(&reply(nonce, &[grant(4, 1, 50, 50)])), Err(RefuseReply::Released));
    assert!(node.poll(LeaseTime::from_millis(20), 1, MapVersion::NONE).is_none());
    assert!(!node.lease().is_valid(LeaseTime::from_millis(0)));
}

#[test]
fn a_command_needs_lease_and_generation() {
    let lease = Lease::from_poll(LeaseTime::from_millis(0), Duration::from_secs(1));
    let (early, late) = (LeaseTime::from_millis(999), LeaseTime::from_millis(1_000));
    assert_eq!(may_execute(7, Generation(7), lease, early), Ok(()));
    assert_eq!(may_execute(7, Generation(7), lease, late), Err(NotOwner::LeaseOver));
    assert_eq!(may_execute(8, Generation(7), lease, early), Err(NotOwner::OtherGeneration));
    assert_eq!(may_execute(0, Generation(0), lease, early), Err(NotOwner::OtherGeneration));
}
