//! Requests that meet random failures, maps, pauses: what the router may never do, whatever happens to it.

#![allow(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

use std::collections::BTreeSet;
use std::time::Duration;

use doled_route::limits::ATTEMPTS_MAX;
use doled_route::{BackendId, Class, Failure, Op, Outcome, RouteOptions, Router, Step};
use proto::{Generation, KeyHash};
use stdx::{Instant, Prng};

const SEEDS: u64 = 500;
const KEY: &[u8] = b"key";

/// What has happened to one request.
#[derive(Default)]
struct Past {
    sends: u32,
    in_doubt: bool,
    generations: BTreeSet<Option<Generation>>,
    /// A write that may have happened may do so until then.
    may_land_until: Instant,
}

struct Run {
    seed: u64,
    prng: Prng,
    router: Router,
    now: Instant,
    version: u64,
}

#[test]
fn no_request_breaks_the_rules() {
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        for class in [Class::Read, Class::Delete, Class::Create, Class::Bound, Class::Create] {
            run.request(class);
        }
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let replicas = 1 + prng.below(2) as usize;
        // With the longer one the attempts end before the time.
        let write_budget = Duration::from_secs(if prng.chance(1, 2) { 2 } else { 30 });
        let options = RouteOptions { replicas, write_budget, ..RouteOptions::default() };
        let servers = ["a:1".to_owned(), "b:2".to_owned(), "c:3".to_owned()];
        let router = if prng.chance(3, 4) {
            Router::managed(options, seed)
        } else {
            Router::pool(options, &servers, seed).unwrap()
        };
        Self { seed, prng, router, now: Instant::from_millis(50_000), version: 10 }
    }

    fn request(&mut self, class: Class) {
        let started = self.now;
        let (mut op, mut step) = self.router.start(class, KEY, KeyHash::of(KEY), self.now);
        let mut past = Past::default();
        // Ends: attempts are few, and parking ends with the deadline.
        for _ in 0..10_000 {
            step = match step {
                // It waits for its connection first.
                Step::Send { .. } if self.prng.chance(1, 5) => {
                    self.disturb();
                    self.router.reroute(&mut op, KEY, self.now)
                }
                Step::Send { backend, generation } => {
                    self.check_send(&op, &mut past, generation);
                    let Some(outcome) = self.outcome(backend, op.attempt_until) else { return };
                    if matches!(outcome, Outcome::Lost | Outcome::TimedOut) {
                        past.in_doubt = true;
                        past.may_land_until = op.attempt_until;
                    }
                    self.router.handle_outcome(&mut op, outcome, KEY, self.now)
                }
                Step::Park { until } => {
                    assert!(until <= op.deadline, "{self}: parked beyond the deadline");
                    self.disturb();
                    // A newer map may resume it early, its own timer late.
                    self.now = if self.prng.chance(1, 3) { self.now } else { self.now.max(until) };
                    self.router.resume(&mut op, KEY, self.now)
                }
                Step::ReportDirty => {
                    assert!(class == Class::Delete && self.router.is_managed(), "{self}");
                    return;
                }
                Step::Answer(failure) => return self.check_answer(class, &past, failure, started),
            };
        }
        panic!("{self}: {class:?} has no end");
    }

    fn check_send(&self, op: &Op, past: &mut Past, generation: Option<Generation>) {
        let writes_once = matches!(op.class, Class::Create | Class::Bound);
        assert!(!(writes_once && past.in_doubt), "{self}: {:?} may happen twice", op.class);
        assert!(self.now < op.deadline, "{self}: sent after its deadline");
        assert!(op.attempt_until <= op.deadline, "{self}: its stamp outlives its caller");
        past.sends += 1;
        assert!(past.sends <= u32::from(ATTEMPTS_MAX), "{self}: too many attempts");
        past.generations.insert(generation);
        assert!(op.class != Class::Bound || past.generations.len() == 1, "{self}: {:?}", past.generations);
    }

    fn check_answer(&self, class: Class, past: &Past, failure: Failure, started: Instant) {
        match failure {
            Failure::Miss => assert_eq!(class, Class::Read, "{self}"),
            Failure::Changed => assert!(class == Class::Bound && !past.in_doubt, "{self}"),
            Failure::NotDone(_) => {
                assert!(class != Class::Read && !past.in_doubt, "{self}: {class:?} may have happened");
                let acknowledges = class == Class::Delete && self.router.is_managed();
                assert!(!acknowledges, "{self}: a delete must be reported");
            }
            Failure::Unknown => {
                assert!(past.in_doubt && class != Class::Read, "{self}: {class:?} surely did not happen");
                let fenced = !self.router.is_managed() || self.now >= past.may_land_until;
                assert!(fenced, "{self}: it may land after the call returned");
            }
        }
        let longest = self.router.options().write_budget + Duration::from_millis(1);
        assert!(self.now.since(started) < longest + Duration::from_secs(20), "{self}");
    }

    /// How an attempt ends; `None`: well.
    fn outcome(&mut self, backend: BackendId, until: Instant) -> Option<Outcome> {
        self.now = self.now + Duration::from_millis(self.prng.below(30));
        if self.prng.chance(1, 4) {
            self.disturb();
        }
        Some(match self.prng.below(12) {
            0 => {
                self.router.handle_answer(backend, self.now);
                return None;
            }
            1 => Outcome::Expired,
            2 => {
                self.router.handle_broken(backend, self.now);
                Outcome::Lost
            }
            3 => {
                self.now = self.now.max(until);
                self.router.handle_timeout(backend, self.now);
                Outcome::TimedOut
            }
            4..=6 => Outcome::NotSent,
            _ => Outcome::NotOwner,
        })
    }

    /// Maps, answers about them, backends that fall and return, and now and then a long pause.
    fn disturb(&mut self) {
        match self.prng.below(8) {
            0..=2 if self.router.is_managed() => self.newer_map(),
            3 => {
                let _ = self.router.apply_map(b"", self.now);
            }
            4 => {
                let id = BackendId(self.prng.below(3) as u32);
                self.router.handle_broken(id, self.now);
            }
            5 => {
                while let Some(id) = self.router.poll_probe(self.now) {
                    self.router.handle_answer(id, self.now);
                }
            }
            6 if self.prng.chance(1, 20) => self.now = self.now + Duration::from_secs(11),
            _ => {}
        }
    }

    /// The first map is a whole one; later ones may say nothing about the bucket.
    fn newer_map(&mut self) {
        let known = self.router.map_version().0;
        self.version += 1;
        let owner = ["n1", "n2", "-"][self.prng.below(3) as usize];
        let moved = known == 0 || self.prng.chance(1, 2);
        let (first, count) = if known == 0 { (0, 32768) } else { (KeyHash::of(KEY).bucket().number(), 1) };
        let run =
            if moved { format!("buckets {first} {count} {} {owner}\n", self.version) } else { String::new() };
        let text = format!(
            "doled-map 1\ncluster 5\nversion {}\nsince {known}\nhash xxh3-64 49\nnode n1 h:1\nnode n2 h:2\n{run}end\n",
            self.version
        );
        assert!(self.router.apply_map(text.as_bytes(), self.now).unwrap().newer);
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {} at {} ms", self.seed, self.now.as_millis())
    }
}
