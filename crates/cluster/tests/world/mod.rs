//! The world of the script tests: one manager over a simulated store, nodes, and the messages between them, all
//! moved by hand.

#![allow(unreachable_pub, reason = "a module of a test, not a library")]

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use doled_cluster::lease::waiting_time;
use doled_cluster::manager::{Command, CommitError, Event, Options, Output, Token, Txn};
use doled_cluster::node::{Effect, NodeOptions, may_execute};
use doled_cluster::record::{Records, Write};
use doled_cluster::{Manager, Map, Node, State};
use proto::control::{Change, Dirty, Life, LockIdentity, Poll, Reply};
use proto::{Bucket, ClusterId, Generation, Incarnation, NodeId};
use stdx::LeaseTime;

#[derive(Default)]
pub struct World {
    now_ms: u64,
    options: Options,
    records: Records,
    manager: Option<Manager>,
    /// What the shell of the manager has to do.
    txn: Option<Txn>,
    /// Poll tokens: whose.
    polls: BTreeMap<u64, String>,
    nodes: BTreeMap<String, Peer>,
    random: u64,
    tokens: u64,
    quiet: bool,
    backup: Option<Records>,
}

struct Peer {
    node: Node,
    map: Map,
    /// A poll is out.
    out: bool,
    /// `settle` and `run` leave it alone.
    cut: bool,
    /// Its last poll was refused.
    refused: bool,
    /// Replies on their way.
    replies: VecDeque<Reply>,
    /// A poll made and not yet delivered.
    poll: Option<Poll>,
    /// A poll that the network keeps.
    held: Option<Poll>,
    /// The last reply that arrived, or that the network keeps.
    last: Option<Reply>,
}

impl World {
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs one command and returns what happened, line by line.
    pub fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut out = String::new();
        match words.as_slice() {
            ["cluster", options @ ..] => self.cluster(options, &mut out),
            ["lead"] => self.lead(&mut out),
            ["lease", ms] => {
                self.options.lease = Duration::from_millis(ms.parse().unwrap());
                self.options.wait = waiting_time(self.options.lease);
            }
            ["commit"] => self.commit(true, None, &mut out),
            ["commit", "unknown", "landed"] => self.commit(true, Some("timed out"), &mut out),
            ["commit", "unknown", "lost"] => self.commit(false, Some("timed out"), &mut out),
            ["reload"] => self.reload(&mut out),
            ["boot", name, options @ ..] => self.boot(name, options),
            ["poll", name] => {
                self.send(name, &mut out);
                self.deliver(name, &mut out);
            }
            ["kill", name] => drop(self.nodes.remove(*name)),
            ["send", name] => self.send(name, &mut out),
            ["deliver", name] => self.deliver(name, &mut out),
            ["connect", name] => self.peer(name).node.connected(),
            ["reply", name] => self.reply(name, &mut out),
            ["again", name] => {
                let reply = self.peer(name).last.clone();
                self.peer(name).replies.extend(reply);
                self.reply(name, &mut out);
            }
            ["keep", name] => {
                let reply = self.peer(name).replies.pop_front();
                self.peer(name).last = reply;
                self.peer(name).out = false;
            }
            ["hold", name] => {
                let poll = self.peer(name).poll.take();
                self.peer(name).held = poll;
                self.peer(name).out = false;
            }
            ["deliver-held", name] => {
                let poll = self.peer(name).held.take();
                self.peer(name).poll = poll;
                self.deliver(name, &mut out);
            }
            ["lose", name] => {
                self.peer(name).replies.pop_front();
                self.peer(name).out = false;
            }
            ["dead", name, incarnation] => self.dead(name, incarnation, &mut out),
            ["release", name] => self.release(name, &mut out),
            ["dirty", bucket] => self.dirty(bucket, &mut out),
            ["add" | "drain" | "undrain" | "remove", ..] => self.command(&words, &mut out),
            ["pass", ms] => self.pass(ms.parse().unwrap(), &mut out),
            ["exec", name, bucket, generation] => self.exec(name, bucket, generation, &mut out),
            ["map"] => self.show_map(&mut out),
            ["members"] => self.show_members(&mut out),
            ["settle"] => self.settle(),
            ["run", ms] => self.let_run(ms.parse().unwrap()),
            ["cut", name] => self.peer(name).cut = true,
            ["heal", name] => {
                self.peer(name).cut = false;
                self.peer(name).replies.clear();
                self.peer(name).out = false;
                self.peer(name).node.connected();
            }
            ["backup"] => self.backup = Some(self.records.clone()),
            ["rollback"] => self.records = self.backup.take().expect("a backup"),
            _ => panic!("no such command: {line}"),
        }
        if self.quiet { String::new() } else { out }
    }

    fn now(&self) -> LeaseTime {
        LeaseTime::from_millis(1_000_000 + self.now_ms)
    }

    fn peer(&mut self, name: &str) -> &mut Peer {
        self.nodes.get_mut(name).unwrap_or_else(|| panic!("node {name} was not booted"))
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    fn cluster(&mut self, options: &[&str], out: &mut String) {
        *self = Self::default();
        let (_, writes) = State::bootstrap(ClusterId(77));
        apply(&mut self.records, &writes);
        self.options.buckets = 8;
        self.options.join = options.contains(&"join");
        self.lead(out);
    }

    fn lead(&mut self, out: &mut String) {
        match State::load(&self.records) {
            Ok(state) => self.manager = Some(Manager::lead(state, self.options.clone(), self.now())),
            Err(error) => writeln!(out, "refused: {error}").unwrap(),
        }
        self.txn = None;
        for peer in self.nodes.values_mut() {
            // The connection to the old manager is gone, and with it the poll.
            peer.out = false;
            peer.replies.clear();
            peer.node.connected();
        }
        self.drain(out);
    }

    fn commit(&mut self, lands: bool, error: Option<&str>, out: &mut String) {
        let Some(txn) = self.txn.take() else {
            return out.push_str("no transaction is out\n");
        };
        let conflict = txn.revision != self.records.revision;
        if lands && !conflict {
            apply(&mut self.records, &txn.writes);
        }
        let result = match error {
            _ if conflict => Err(CommitError::Conflict),
            Some(error) => Err(CommitError::Unknown(error.to_owned())),
            None => Ok(self.records.revision),
        };
        let now = self.now();
        self.manager().handle_committed(txn.number, result, now);
        self.drain(out);
    }

    fn reload(&mut self, out: &mut String) {
        let (records, now) = (self.records.clone(), self.now());
        self.manager().handle_reloaded(Ok(&records), now);
        self.drain(out);
    }

    fn manager(&mut self) -> &mut Manager {
        self.manager.as_mut().expect("a manager leads")
    }

    fn boot(&mut self, name: &str, options: &[&str]) {
        let option = |key: &str| {
            options.iter().find_map(|o| o.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok())
        };
        let node = options.iter().find_map(|option| option.strip_prefix("node="));
        let lock = option("lock").map_or_else(LockIdentity::default, |inode| LockIdentity {
            boot_id: 1,
            device: 2,
            inode,
        });
        let options = NodeOptions {
            node: node.unwrap_or(name).parse().unwrap(),
            incarnation: Incarnation(option("life").unwrap_or(1)),
            cluster: ClusterId(option("cluster").unwrap_or(0)),
            address: format!("{name}.test:11211"),
            lock,
            pid: 1,
        };
        let peer = Peer {
            node: Node::new(options),
            map: Map::empty(ClusterId(0)),
            out: false,
            cut: false,
            refused: false,
            replies: VecDeque::new(),
            poll: None,
            held: None,
            last: None,
        };
        self.nodes.insert(name.to_owned(), peer);
    }

    fn send(&mut self, name: &str, out: &mut String) {
        self.random += 1;
        let (now, random) = (self.now(), self.random);
        let peer = self.peer(name);
        let Some(poll) = peer.node.poll(now, random, peer.map.version()) else {
            peer.refused = true;
            return out.push_str("released: polls no more\n");
        };
        let list = poll.owned.as_ref().map_or(String::new(), |owned| {
            let runs = owned.iter().map(|run| range(run.first, run.count) + "@" + &short(run.generation));
            format!(" owns [{}]", runs.collect::<Vec<_>>().join(" "))
        });
        let (nonce, applied) = (poll.nonce.0 >> 32, poll.applied.0 >> 32);
        writeln!(out, "{name} polls #{nonce} applied #{applied}{list}").unwrap();
        peer.poll = Some(poll);
        peer.out = true;
    }

    fn deliver(&mut self, name: &str, out: &mut String) {
        let Some(poll) = self.peer(name).poll.take() else {
            return;
        };
        let (token, now) = (self.token(), self.now());
        self.polls.insert(token.0, name.to_owned());
        self.manager().handle_poll(token, poll, now);
        self.drain(out);
    }

    fn reply(&mut self, name: &str, out: &mut String) {
        let peer = self.peer(name);
        let Some(reply) = peer.replies.pop_front() else {
            return out.push_str("no reply is on its way\n");
        };
        peer.last = Some(reply.clone());
        match peer.node.handle_reply(&reply) {
            Err(error) => writeln!(out, "{name} refuses: {error}").unwrap(),
            Ok(step) => {
                let mut words = describe_effects(&step.effects);
                words.extend(step.lease.map(|lease| {
                    format!("lease until {}", (lease.until().boot / 1_000_000) as i64 - 1_000_000)
                }));
                if !reply.map.is_empty() {
                    peer.map.apply(&reply.map).unwrap();
                    words.push(format!("map {}", short(Generation(peer.map.version().0))));
                }
                writeln!(out, "{name}: {}", words.join(", ")).unwrap();
                peer.out = false;
            }
        }
    }

    fn life(name: &str, incarnation: u64) -> Life {
        Life { cluster: ClusterId(77), node: name.parse().unwrap(), incarnation: Incarnation(incarnation) }
    }

    fn dead(&mut self, name: &str, incarnation: &str, out: &mut String) {
        let life = Self::life(name, incarnation.parse().unwrap());
        let (token, now) = (self.token(), self.now());
        self.manager().handle_dead(token, &life, now);
        self.drain(out);
    }

    fn release(&mut self, name: &str, out: &mut String) {
        let (life, effects) = self.peer(name).node.release();
        writeln!(out, "{name} disowns {} buckets", effects.len()).unwrap();
        let (token, now) = (self.token(), self.now());
        self.manager().handle_release(token, &life, now);
        self.drain(out);
    }

    fn dirty(&mut self, bucket: &str, out: &mut String) {
        let bucket = Bucket::new(bucket.parse().unwrap()).unwrap();
        let (token, now) = (self.token(), self.now());
        self.manager().handle_dirty(token, &Dirty { cluster: ClusterId(77), bucket }, now);
        self.drain(out);
    }

    fn command(&mut self, words: &[&str], out: &mut String) {
        let node: NodeId = words[1].parse().unwrap();
        let address = words.get(2).map(|&address| address.to_owned());
        let command = match words[0] {
            "add" => Command::Add { node, address },
            "drain" => Command::Drain(node),
            "undrain" => Command::Undrain(node),
            _ => Command::Remove(node),
        };
        let (token, now) = (self.token(), self.now());
        self.manager().handle_command(token, command, now);
        self.drain(out);
    }

    /// Lets time pass, waking the manager when it wants.
    fn pass(&mut self, ms: u64, out: &mut String) {
        let end = self.now_ms + ms;
        while let Some(at) = self.manager().poll_timeout().map(|at| at.0.div_ceil(1_000_000) - 1_000_000) {
            if at > end {
                break;
            }
            self.now_ms = self.now_ms.max(at);
            let (now, at) = (self.now(), self.now_ms);
            self.manager().handle_timeout(now);
            let mut news = String::new();
            self.drain(&mut news);
            out.extend(news.lines().map(|line| format!("at {at}: {line}\n")));
        }
        self.now_ms = end;
        let now = self.now();
        self.manager().handle_timeout(now);
        self.drain(out);
    }

    fn exec(&mut self, name: &str, bucket: &str, generation: &str, out: &mut String) {
        let bucket = Bucket::new(bucket.parse().unwrap()).unwrap();
        let (epoch, counter) = generation.split_once('.').expect("a generation like 1.2");
        let generation = Generation::new(epoch.parse().unwrap(), counter.parse().unwrap());
        let now = self.now();
        let node = &self.peer(name).node;
        let tag = node.holding(bucket).map_or(0, |(generation, _)| generation.0);
        let verdict = may_execute(tag, generation, node.lease(), now);
        writeln!(out, "{}", verdict.map_or_else(|error| format!("{error:?}"), |()| "executes".to_owned()))
            .unwrap();
    }

    fn show_map(&mut self, out: &mut String) {
        let map = self.manager().map();
        for run in map.runs().filter(|run| run.generation != Generation::NONE) {
            let owner = run.owner.map_or("-", |owner| map.nodes()[owner].id.as_str());
            writeln!(out, "{}@{} {owner}", range(run.first, run.count), short(run.generation)).unwrap();
        }
    }

    fn show_members(&mut self, out: &mut String) {
        let now = self.now();
        for view in self.manager().members(now) {
            let (node, role, health) = (view.node, view.role, view.health);
            writeln!(out, "{node} {role:?} {health:?} assigned {} held {}", view.assigned, view.held)
                .unwrap();
        }
    }

    /// Moves every message and commits every transaction until nothing moves any more.
    fn settle(&mut self) {
        self.quiet = true;
        self.nodes.values_mut().for_each(|peer| peer.refused = false);
        let mut ignored = String::new();
        for round in 0.. {
            assert!(round < 100, "the world does not come to rest");
            let mut moved = false;
            while self.txn.is_some() {
                self.commit(true, None, &mut ignored);
                moved = true;
            }
            let connected = self.nodes.iter().filter(|(_, peer)| !peer.cut);
            let names: Vec<String> = connected.map(|(name, _)| name.clone()).collect();
            for name in names {
                if !self.peer(&name).replies.is_empty() {
                    self.reply(&name, &mut ignored);
                    moved = true;
                }
                if !self.peer(&name).out && !self.peer(&name).refused {
                    self.send(&name, &mut ignored);
                    self.deliver(&name, &mut ignored);
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        self.quiet = false;
    }

    /// Lets time pass while everything that is not cut off goes on.
    fn let_run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.quiet = true;
            self.pass((end - self.now_ms).min(500), &mut String::new());
            self.settle();
        }
    }

    /// Does what a shell would do with the outputs, and writes them down.
    fn drain(&mut self, out: &mut String) {
        let Some(manager) = self.manager.as_mut() else {
            return;
        };
        while let Some(output) = manager.poll_output() {
            match output {
                Output::Commit(txn) => {
                    let keys: Vec<&str> = txn.writes.iter().map(|(key, _)| key.as_str()).collect();
                    writeln!(out, "> commit {} term {}: {}", txn.number, txn.term, keys.join(" ")).unwrap();
                    self.txn = Some(txn);
                }
                Output::Reload => out.push_str("> reload\n"),
                Output::Reply { token, reply: Ok(reply) } => {
                    let name = &self.polls[&token.0];
                    writeln!(out, "> reply to {name} #{}:{}", reply.nonce.0 >> 32, describe(&reply)).unwrap();
                    if let Some(peer) = self.nodes.get_mut(name) {
                        peer.replies.push_back(reply);
                    }
                }
                Output::Reply { token, reply: Err(refusal) } => {
                    let name = &self.polls[&token.0];
                    writeln!(out, "> refuse poll of {name}: {refusal}").unwrap();
                    if let Some(peer) = self.nodes.get_mut(name) {
                        peer.out = false;
                        peer.refused = true;
                    }
                }
                Output::Answer { answer: Ok(()), .. } => out.push_str("> done\n"),
                Output::Answer { answer: Err(refusal), .. } => writeln!(out, "> refused: {refusal}").unwrap(),
                Output::Event(Event::Refused(_)) => {}
                Output::Event(event) => writeln!(out, "  ({event})").unwrap(),
                Output::Halt(reason) => writeln!(out, "> HALT: {reason}").unwrap(),
            }
        }
    }
}

fn apply(records: &mut Records, writes: &[Write]) {
    records.revision += 1;
    for (key, value) in writes {
        match value {
            Some(value) => records.entries.insert(key.clone(), value.clone()),
            None => records.entries.remove(key),
        };
    }
}

fn describe(reply: &Reply) -> String {
    let mut out = String::new();
    for change in &reply.changes {
        match *change {
            Change::Revoke { first, count } => write!(out, " revoke {}", range(first, count)).unwrap(),
            Change::Grant { first, count, generation, .. } => {
                write!(out, " grant {}@{}", range(first, count), short(generation)).unwrap();
            }
        }
    }
    out.push_str(if reply.lease { " lease" } else { " no lease" });
    if reply.list_owned {
        out.push_str(" list!");
    }
    if !reply.map.is_empty() {
        out.push_str(" map");
    }
    out
}

/// Neighbouring buckets with the same effect, together.
fn describe_effects(effects: &[Effect]) -> Vec<String> {
    let mut runs: Vec<(Bucket, u16, Effect)> = Vec::new();
    for &effect in effects {
        match runs.last_mut() {
            Some((first, count, last))
                if first.index() + usize::from(*count) == effect.bucket.index()
                    && (last.generation, last.wipe) == (effect.generation, effect.wipe) =>
            {
                *count += 1;
            }
            _ => runs.push((effect.bucket, 1, effect)),
        }
    }
    let describe = |(first, count, effect): (Bucket, u16, Effect)| match effect.generation {
        Generation::NONE => format!("disown {}", range(first, count)),
        generation => {
            let wipe = if effect.wipe { "wipe " } else { "" };
            format!("{wipe}own {}@{}", range(first, count), short(generation))
        }
    };
    runs.into_iter().map(describe).collect()
}

fn range(first: Bucket, count: u16) -> String {
    if count == 1 {
        format!("{first}")
    } else {
        format!("{first}-{}", first.index() + usize::from(count) - 1)
    }
}

fn short(generation: Generation) -> String {
    format!("{}.{}", generation.epoch(), generation.counter())
}
