//! What the scripts act on: one router, a clock, and the requests that were started.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use doled_route::{BackendId, Class, Op, Outcome, RouteOptions, Router, Step};
use proto::{Generation, KeyHash};
use stdx::Instant;

pub(crate) struct World {
    router: Router,
    now: Instant,
    /// By name, with the key.
    ops: BTreeMap<String, (Op, String)>,
}

impl World {
    pub(crate) fn new() -> Self {
        let router = Router::managed(RouteOptions::default(), 1);
        Self { router, now: Instant::ZERO, ops: BTreeMap::new() }
    }

    /// Runs one command; what there is to see of it, in whole lines.
    pub(crate) fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["managed", ref rest @ ..] => {
                self.router = Router::managed(options(rest), 1);
                String::new()
            }
            ["pool", ref rest @ ..] => self.pool(rest),
            ["at", ms] => {
                self.now = Instant::from_millis(ms.parse().unwrap());
                String::new()
            }
            ["nothing-newer"] => self.map(b""),
            ["ask"] => {
                self.router.refresh.handle_asked(self.now);
                String::new()
            }
            ["ask-failed"] => {
                self.router.fail_refresh(self.now);
                String::new()
            }
            ["refresh"] => self.refresh(),
            ["backends"] => self.backends(),
            ["probe"] => self.probe(),
            ["copies", key, "beside", backend] => self.copies(key, backend),
            [
                verb @ ("resume" | "reroute" | "not-owner" | "expired" | "not-sent" | "lost" | "timed-out"),
                name,
            ] => self.go_on(verb, name),
            [verb @ ("answers" | "silent" | "broken"), backend] => self.health(verb, backend),
            ["cas", key, "of", generation] => self.cas(key, generation.parse().unwrap()),
            [verb, key] => self.start(verb, key, key),
            [verb, key, "as", name] => self.start(verb, key, name),
            _ => panic!("no such command: {line}"),
        }
    }

    /// Applies a map text.
    pub(crate) fn map(&mut self, text: &[u8]) -> String {
        match self.router.apply_map(text, self.now) {
            Ok(change) if change.newer => format!("newer: version {}\n", self.router.map_version()),
            Ok(_) => "nothing newer\n".to_owned(),
            Err(error) => format!("refused: {error}\n"),
        }
    }

    fn pool(&mut self, words: &[&str]) -> String {
        let (settings, servers): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.contains('='));
        let servers: Vec<String> = servers.iter().map(|&server| server.to_owned()).collect();
        match Router::pool(options(&settings), &servers, 1) {
            Ok(router) => {
                self.router = router;
                String::new()
            }
            Err(error) => format!("refused: {error}\n"),
        }
    }

    fn start(&mut self, verb: &str, key: &str, name: &str) -> String {
        let class = match verb {
            "get" | "touch" => Class::Read,
            "delete" => Class::Delete,
            "set" | "add" | "incr" => Class::Create,
            "cas" => Class::Bound,
            _ => panic!("no such command: {verb}"),
        };
        let (op, step) = self.router.start(class, key.as_bytes(), KeyHash::of(key.as_bytes()), self.now);
        self.keep(name, op, key, step)
    }

    fn cas(&mut self, key: &str, generation: u64) -> String {
        let hash = KeyHash::of(key.as_bytes());
        let (op, step) = self.router.start_bound(key.as_bytes(), hash, Generation(generation), self.now);
        self.keep(key, op, key, step)
    }

    fn keep(&mut self, name: &str, op: Op, key: &str, step: Step) -> String {
        let said = self.step(name, &op, step);
        self.ops.insert(name.to_owned(), (op, key.to_owned()));
        said
    }

    fn go_on(&mut self, verb: &str, name: &str) -> String {
        let (mut op, key) = self.ops.remove(name).unwrap();
        let step = match verb {
            "resume" => self.router.resume(&mut op, key.as_bytes(), self.now),
            "reroute" => self.router.reroute(&mut op, key.as_bytes(), self.now),
            _ => self.router.handle_outcome(&mut op, outcome(verb), key.as_bytes(), self.now),
        };
        self.keep(name, op, &key, step)
    }

    fn step(&self, name: &str, op: &Op, step: Step) -> String {
        match step {
            Step::Send { backend, generation } => {
                let generation = generation.map(|g| format!(" under {g}")).unwrap_or_default();
                let until = op.attempt_until.as_millis();
                format!("{name}: to {}{generation}, until {until}\n", self.name(backend))
            }
            Step::Park { until } => format!("{name}: waits until {}\n", until.as_millis()),
            Step::ReportDirty => format!("{name}: reports bucket {}\n", op.bucket()),
            Step::Answer(failure) => format!("{name}: {failure:?}\n"),
        }
    }

    fn health(&mut self, verb: &str, name: &str) -> String {
        let id = self.id(name);
        match verb {
            "answers" => self.router.handle_answer(id, self.now),
            "silent" => self.router.handle_timeout(id, self.now),
            _ => self.router.handle_broken(id, self.now),
        }
        let state = self.router.backend(id).unwrap().health.state();
        format!("{name} is {state:?}\n")
    }

    fn backends(&self) -> String {
        let mut out = String::new();
        for (_, view) in self.router.backends() {
            let node = view.node.map(|node| format!("{node} ")).unwrap_or_default();
            let past = if view.current { "" } else { ", no more" };
            writeln!(out, "{node}{} {:?}{past}", view.address, view.health.state()).unwrap();
        }
        out
    }

    fn probe(&mut self) -> String {
        let mut out = String::new();
        while let Some(id) = self.router.poll_probe(self.now) {
            writeln!(out, "probe {}", self.name(id)).unwrap();
        }
        match self.router.next_probe() {
            Some(at) => writeln!(out, "next at {}", at.as_millis()).unwrap(),
            None => out.push_str("nobody is down\n"),
        }
        out
    }

    fn refresh(&self) -> String {
        let confirmed = if self.router.refresh.is_confirmed(self.now) { "confirmed" } else { "unconfirmed" };
        match self.router.refresh.due() {
            Some(due) => format!("{confirmed}, due at {}\n", due.as_millis()),
            None => format!("{confirmed}, a question is out\n"),
        }
    }

    fn copies(&self, key: &str, beside: &str) -> String {
        let names =
            |ids: Vec<BackendId>| ids.into_iter().map(|id| self.name(id)).collect::<Vec<_>>().join(" ");
        let told = names(self.router.copies(key.as_bytes(), self.id(beside)));
        let missed = names(self.router.missed(key.as_bytes(), self.id(beside)));
        format!("tell [{told}], missed by [{missed}]\n")
    }

    fn name(&self, id: BackendId) -> String {
        let view = self.router.backend(id).unwrap();
        view.node.map_or_else(|| view.address.to_owned(), |node| format!("{node}@{}", view.address))
    }

    fn id(&self, name: &str) -> BackendId {
        let named = |view: &doled_route::BackendView<'_>| {
            view.address == name || view.current && view.node.is_some_and(|node| node.as_str() == name)
        };
        self.router.backends().find(|(_, view)| named(view)).unwrap().0
    }
}

fn outcome(verb: &str) -> Outcome {
    match verb {
        "not-owner" => Outcome::NotOwner,
        "expired" => Outcome::Expired,
        "not-sent" => Outcome::NotSent,
        "lost" => Outcome::Lost,
        "timed-out" => Outcome::TimedOut,
        _ => panic!("no such outcome: {verb}"),
    }
}

fn options(words: &[&str]) -> RouteOptions {
    let mut options = RouteOptions::default();
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        let number: u64 = value.parse().unwrap();
        match name {
            "timeout" => options.timeout = Duration::from_millis(number),
            "budget" => options.write_budget = Duration::from_millis(number),
            "replicas" => options.replicas = number as usize,
            _ => panic!("no such option: {name}"),
        }
    }
    options
}
