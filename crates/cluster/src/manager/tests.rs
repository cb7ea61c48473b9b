//! What a script can't show well: limits, sizes, stores that fail.

use std::collections::VecDeque;

use proto::control::{Dirty, LockIdentity, Reply};
use proto::{Bucket, ClusterId, Incarnation};
use stdx::LeaseTime;

use super::{Command, CommitError, Manager, Options, Output, Refusal, Token, Txn};
use crate::limits::{COMMANDS_WAITING_MAX, DIRTY_WAITING_MAX};
use crate::node::NodeOptions;
use crate::record::Records;
use crate::{Node, State};

const CLUSTER: ClusterId = ClusterId(77);

fn at(ms: u64) -> LeaseTime {
    LeaseTime::from_millis(1_000_000 + ms)
}

/// A manager and the little of a shell that its transactions need.
struct Harness {
    manager: Manager,
    records: Records,
    replies: VecDeque<(Token, Reply)>,
    answers: Vec<(Token, Result<(), Refusal>)>,
    txn: Option<Txn>,
    commits: usize,
}

impl Harness {
    fn new(options: Options) -> Self {
        let (_, writes) = State::bootstrap(CLUSTER);
        let mut records = Records::default();
        records.entries.extend(writes.into_iter().filter_map(|(key, value)| Some((key, value?))));
        let state = State::load(&records).expect("legal records");
        let manager = Manager::lead(state, options, at(0));
        let (replies, answers) = (VecDeque::new(), Vec::new());
        Self { manager, records, replies, answers, txn: None, commits: 0 }
    }

    fn drain(&mut self) {
        while let Some(output) = self.manager.poll_output() {
            match output {
                Output::Commit(txn) => self.txn = Some(txn),
                Output::Reply { token, reply } => self.replies.extend(reply.ok().map(|reply| (token, reply))),
                Output::Answer { token, answer } => self.answers.push((token, answer)),
                Output::Halt(reason) => panic!("{reason}"),
                Output::Reload | Output::Event(_) => {}
            }
        }
    }

    fn commit(&mut self, now: LeaseTime) -> bool {
        self.drain();
        let Some(txn) = self.txn.take() else {
            return false;
        };
        assert_eq!(txn.revision, self.records.revision);
        self.records.revision += 1;
        for (key, value) in txn.writes {
            match value {
                Some(value) => self.records.entries.insert(key, value),
                None => self.records.entries.remove(&key),
            };
        }
        self.commits += 1;
        self.manager.handle_committed(txn.number, Ok(self.records.revision), now);
        self.drain();
        true
    }
}

fn node(index: usize) -> Node {
    Node::new(NodeOptions {
        node: format!("n{index}").parse().expect("a legal name"),
        incarnation: Incarnation(1000 + index as u64),
        cluster: ClusterId(0),
        address: "h:1".to_owned(),
        lock: LockIdentity::default(),
        pid: 1,
    })
}

/// Moves messages and transactions until nothing moves; the token of a poll is its node's index, and every node
/// says to have the newest map.
fn settle(harness: &mut Harness, nodes: &mut [Node]) {
    let mut out = vec![false; nodes.len()];
    loop {
        let mut moved = harness.commit(at(1));
        for (index, node) in nodes.iter_mut().enumerate().filter(|(index, _)| !out[*index]) {
            let poll = node.poll(at(1), 7, harness.manager.map().version()).expect("alive");
            harness.manager.handle_poll(Token(index as u64), poll, at(1));
            moved = true;
        }
        out.fill(true);
        harness.drain();
        while let Some((token, reply)) = harness.replies.pop_front() {
            let index = token.0 as usize;
            let _ = nodes[index].handle_reply(&reply).expect("accepted");
            out[index] = false;
            moved = true;
        }
        if !moved {
            return;
        }
    }
}

#[test]
fn fifty_nodes_share_all_buckets_through_a_restart_of_the_manager() {
    let mut harness = Harness::new(Options { join: true, ..Options::default() });
    let mut nodes: Vec<Node> = (0..50).map(node).collect();
    settle(&mut harness, &mut nodes);
    let owned: Vec<usize> = nodes.iter().map(Node::owned_count).collect();
    assert_eq!(owned.iter().sum::<usize>(), 32_768);
    assert!(owned.iter().all(|count| (655..=656).contains(count)), "{owned:?}");
    assert!(harness.commits < 10, "{} transactions for one start", harness.commits);
    assert!(harness.manager.map().runs().count() < 150, "few runs");
    assert_eq!(nodes[7].owned()[0].generation, harness.manager.map().generation(nodes[7].owned()[0].first));

    let state = State::load(&harness.records).expect("legal records");
    let map = state.map().clone();
    harness.manager = Manager::lead(state, Options::default(), at(0));
    nodes.iter_mut().for_each(Node::connected);
    settle(&mut harness, &mut nodes);
    assert!(*harness.manager.map() == map, "a new leader moves nothing");
    assert_eq!(nodes.iter().map(Node::owned_count).collect::<Vec<_>>(), owned);
    assert!(harness.manager.members(at(1)).iter().all(|view| view.held == view.assigned));
}

#[test]
fn dirty_reports_are_bounded_and_all_answered() {
    let mut harness = Harness::new(Options::default());
    harness.commit(at(0));
    let report =
        |number: usize| Dirty { cluster: CLUSTER, bucket: Bucket::new(number as u16 % 64).expect("legal") };
    for number in 0..=DIRTY_WAITING_MAX {
        harness.manager.handle_dirty(Token(number as u64), &report(number), at(0));
    }
    harness.drain();
    assert_eq!(harness.answers, [(Token(DIRTY_WAITING_MAX as u64), Err(Refusal::Busy("dirty reports")))]);
    while harness.commit(at(0)) {}
    assert_eq!(harness.answers.len(), DIRTY_WAITING_MAX + 1);
    assert!(harness.commits <= 3, "reports of one bucket share a wipe");
    let stranger = Dirty { cluster: ClusterId(78), ..report(0) };
    harness.manager.handle_dirty(Token(1), &stranger, at(0));
    harness.drain();
    assert!(matches!(harness.answers.last(), Some((_, Err(Refusal::Cluster { .. })))));
}

#[test]
fn commands_and_ends_are_bounded() {
    let mut harness = Harness::new(Options::default());
    let add = |n: usize| Command::Add { node: format!("n{n}").parse().expect("legal"), address: None };
    for number in 0..=COMMANDS_WAITING_MAX {
        harness.manager.handle_command(Token(number as u64), add(number), at(0));
    }
    harness.drain();
    assert_eq!(harness.answers, [(Token(COMMANDS_WAITING_MAX as u64), Err(Refusal::Busy("commands")))]);
    while harness.commit(at(0)) {}
    assert_eq!(harness.manager.map().nodes().len(), COMMANDS_WAITING_MAX);
}

#[test]
fn a_store_that_fails_is_read_again_and_again_with_a_pause() {
    let mut harness = Harness::new(Options::default());
    harness.drain();
    let txn = harness.txn.take().expect("the term");
    harness.manager.handle_committed(txn.number + 1, Ok(9), at(0));
    harness.manager.handle_committed(txn.number, Err(CommitError::Unknown("disk full".to_owned())), at(0));
    assert!(outputs(&mut harness.manager).contains(&Output::Reload));
    harness.manager.handle_reloaded(Err("disk full".to_owned()), at(10));
    assert!(!outputs(&mut harness.manager).contains(&Output::Reload), "not before the pause is over");
    assert_eq!(harness.manager.poll_timeout(), Some(at(210).instant()));
    harness.manager.handle_timeout(at(210));
    assert!(outputs(&mut harness.manager).contains(&Output::Reload));
    harness.manager.handle_reloaded(Ok(&harness.records), at(220));
    harness.manager.handle_timeout(at(420));
    assert!(outputs(&mut harness.manager).contains(&Output::Commit(txn)), "the same transaction, once more");
    assert!(!harness.manager.is_leading());
}

#[test]
fn another_leaders_transaction_is_not_taken_for_ones_own() {
    let mut harness = Harness::new(Options { leader: 1, ..Options::default() });
    harness.drain();
    let mine = harness.txn.take().expect("the term");
    let mut other = Harness::new(Options { leader: 2, ..Options::default() });
    assert!(other.commit(at(0)));
    harness.manager.handle_committed(mine.number, Err(CommitError::Conflict), at(0));
    harness.manager.handle_reloaded(Ok(&other.records), at(0));
    let last = outputs(&mut harness.manager).pop();
    assert!(matches!(last, Some(Output::Halt(super::Halt::Deposed(_)))), "{last:?}");
}

fn outputs(manager: &mut Manager) -> Vec<Output> {
    std::iter::from_fn(|| manager.poll_output()).collect()
}
