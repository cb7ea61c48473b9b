//! The driver's rules as scripts: `tests/driver/*.test`, commands to a driver without sockets, and what comes of them.
//! `UPDATE_EXPECT=1` writes what comes out.
//!
//! `managed` or `pool <servers>` starts anew; `map <version> <node>=<address>… <first>-<last>@<generation>=<node>…`
//! comes from a manager; `call <name> <command>`; `connected`, `ended`, `broken`, `recv <address> <bytes>` are news of a
//! server's connection, `stand <address> <node>` is a connect with its handshake, by a clock 4 s ahead; `at <ms>` lets
//! time pass. Output: `> …` is to be done outside, `= name answer` is a call's end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use proto::Generation;
use proto::request::{Arith, ArithVerb, Storage, StorageVerb};
use route::{RouteOptions, Router};
use stdx::Instant;
use tokio::sync::oneshot::{self, Receiver};

use super::{Action, Answer, Closed, Driver, Event, LinkId, NewCall, ReportId};
use crate::item::Cas;
use crate::request::Request;

#[test]
fn scripts() {
    testkit::check_scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/driver"), |text| {
        let actual = run(text, usize::MAX);
        assert!(run(text, 1) == actual, "it matters how the bytes are cut: {text}");
        actual
    });
}

/// A script with the output that really came, if what servers send comes in pieces of that length. A block ends with an
/// empty line; `----` divides it.
fn run(text: &str, piece_len: usize) -> String {
    let mut world = World::new(Router::managed(options(), 1), piece_len);
    let blocks = text.trim_end().split("\n\n").map(|block| {
        let mut out = String::new();
        for line in block.lines().take_while(|line| *line != "----") {
            writeln!(out, "{line}").unwrap();
        }
        if !block.lines().all(|line| line.starts_with('#')) {
            out.push_str("----\n");
            for line in block.lines().take_while(|line| *line != "----") {
                world.command(line, &mut out);
            }
        }
        out
    });
    blocks.collect::<Vec<_>>().join("\n")
}

fn options() -> RouteOptions {
    RouteOptions::default()
}

struct World {
    driver: Driver,
    now: Instant,
    calls: BTreeMap<String, Receiver<Answer>>,
    /// The newest connection to each address.
    links: BTreeMap<String, LinkId>,
    reports: Vec<ReportId>,
    piece_len: usize,
}

impl World {
    fn new(router: Router, piece_len: usize) -> Self {
        Self {
            driver: Driver::new(router, 1000),
            now: Instant::from_millis(1000),
            calls: BTreeMap::new(),
            links: BTreeMap::new(),
            reports: Vec::new(),
            piece_len,
        }
    }

    fn command(&mut self, line: &str, out: &mut String) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["managed"] => *self = Self::new(Router::managed(options(), 1), self.piece_len),
            ["pool", ref servers @ ..] => {
                let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
                *self = Self::new(Router::pool(options(), &servers, 1).unwrap(), self.piece_len);
            }
            ["map", "none"] => self.driver.apply(Event::Map(None), self.now),
            ["map", "same"] => self.driver.apply(Event::Map(Some(Vec::new())), self.now),
            ["map", version, ref parts @ ..] => {
                self.driver.apply(Event::Map(Some(map(version, parts).into_bytes())), self.now);
            }
            ["call", name, ref request @ ..] => self.call(name, request),
            ["drop", name] => drop(self.calls.remove(name)),
            ["stand", address, node] => {
                self.driver.apply(Event::Connected(self.link(address)), self.now);
                self.show(out);
                let clock = self.now.as_millis() + 4000;
                let bytes = format!("NODE 7 {node} 99\r\nCLOCK 99 {clock}\r\n").into_bytes();
                self.receive(address, &bytes);
            }
            ["connected", address] => self.driver.apply(Event::Connected(self.link(address)), self.now),
            ["ended", address] => {
                self.driver.apply(Event::Closed(self.link(address), Closed::Ended), self.now);
            }
            ["broken", address] => {
                self.driver.apply(Event::Closed(self.link(address), Closed::Broken), self.now);
            }
            ["recv", address, ..] => {
                let bytes = unescape(line.splitn(3, ' ').last().unwrap());
                self.receive(address, &bytes);
            }
            ["recv-map", address, version, ref parts @ ..] => {
                let text = map(version, parts);
                let bytes = format!("MAP {version} {}\r\n{text}\r\nEND\r\n", text.len()).into_bytes();
                self.receive(address, &bytes);
            }
            ["reported", number] => {
                let report = self.reports[number.parse::<usize>().unwrap() - 1];
                self.driver.apply(Event::Reported(report), self.now);
            }
            ["at", ms] => return self.pass(Instant::from_millis(ms.parse().unwrap()), out),
            _ if line.starts_with('#') => {}
            _ => panic!("no such command: {line}"),
        }
        self.driver.fire_timers(self.now);
        self.show(out);
    }

    fn receive(&mut self, address: &str, bytes: &[u8]) {
        let link = self.link(address);
        for piece in bytes.chunks(self.piece_len) {
            self.driver.apply(Event::Received(link, piece.to_vec()), self.now);
        }
    }

    #[track_caller]
    fn link(&self, address: &str) -> LinkId {
        *self.links.get(address).unwrap_or_else(|| panic!("no connection to {address}"))
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, until: Instant, out: &mut String) {
        for _ in 0..1000 {
            let next = self.driver.next_timeout().filter(|next| *next <= until);
            self.now = next.unwrap_or(until).max(self.now);
            self.driver.fire_timers(self.now);
            let mut shown = String::new();
            self.show(&mut shown);
            for line in shown.lines() {
                writeln!(out, "{:>5} {line}", self.now.as_millis()).unwrap();
            }
            if next.is_none() {
                return;
            }
        }
        panic!("timers fire for ever");
    }

    fn call(&mut self, name: &str, words: &[&str]) {
        let (reply, answer) = oneshot::channel();
        self.driver.handle_call(NewCall { request: request(words), reply }, self.now);
        self.calls.insert(name.to_owned(), answer);
    }

    fn show(&mut self, out: &mut String) {
        loop {
            let actions = self.driver.take_actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                self.show_action(action, out);
            }
        }
        self.calls.retain(|name, answer| match answer.try_recv() {
            Ok(answer) => {
                writeln!(out, "= {name} {}", shown(&answer)).unwrap();
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => panic!("{name} was never answered"),
        });
    }

    fn show_action(&mut self, action: Action, out: &mut String) {
        let address = |id: LinkId, world: &Self| {
            let found = world.links.iter().find(|(_, link)| **link == id);
            found.map_or_else(|| "?".to_owned(), |(address, _)| address.clone())
        };
        match action {
            Action::Connect(id, address) => {
                writeln!(out, "> connect {address}").unwrap();
                self.links.insert(address, id);
            }
            Action::Write(id, bytes) => {
                writeln!(out, "> {} {}", address(id, self), bytes.escape_ascii()).unwrap();
                self.driver.apply(Event::Written(id, bytes), self.now);
            }
            Action::Close(id) => writeln!(out, "> close {}", address(id, self)).unwrap(),
            Action::AskMap(version) => writeln!(out, "> ask a manager for a map after {version}").unwrap(),
            Action::Report(id, cluster, bucket) => {
                self.reports.push(id);
                let number = self.reports.len();
                writeln!(out, "> report {number}: bucket {bucket} of cluster {cluster} is dirty").unwrap();
            }
        }
    }
}

fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Found(item, cas) => {
            let cas = cas.map(|cas| match cas.generation {
                Some(generation) => format!(" cas {}@{generation}", cas.unique),
                None => format!(" cas {}", cas.unique),
            });
            format!("found {} flags {}{}", item.value.escape_ascii(), item.flags, cas.unwrap_or_default())
        }
        other => format!("{other:?}"),
    }
}

fn request(words: &[&str]) -> Request {
    let store = |verb, key: &str, value: &str| {
        let storage = Storage {
            verb,
            key: key.as_bytes(),
            flags: 0,
            exptime: 0,
            value_len: value.len(),
            noreply: false,
        };
        Request::storage(&storage, value.as_bytes())
    };
    let request = match *words {
        ["get", key] => Request::get(key.as_bytes(), false),
        ["gets", key] => Request::get(key.as_bytes(), true),
        ["touch", key] => Request::touch(key.as_bytes(), 60),
        ["delete", key] => Request::delete(key.as_bytes()),
        ["incr", key] => {
            Request::arith(&Arith { verb: ArithVerb::Incr, key: key.as_bytes(), delta: 1, noreply: false })
        }
        ["set", key, value] => store(StorageVerb::Set, key, value),
        ["add", key, value] => store(StorageVerb::Add, key, value),
        ["cas", key, value, cas] => {
            let (unique, generation) = cas.split_once('@').unwrap();
            let (unique, generation) = (unique.parse().unwrap(), generation.parse().map(Generation).ok());
            store(StorageVerb::Cas(unique), key, value).map(|mut request| {
                request.bound = Some(Cas { unique, generation });
                request
            })
        }
        _ => panic!("no such request: {words:?}"),
    };
    request.unwrap()
}

/// A map text; buckets that are not named belong to nobody.
fn map(version: &str, parts: &[&str]) -> String {
    let mut text = format!("doled-map 1\ncluster 7\nversion {version}\nsince 0\nhash xxh3-64 49\n");
    for (name, address) in
        parts.iter().filter_map(|part| part.split_once('=')).filter(|(n, _)| !n.contains('@'))
    {
        writeln!(text, "node {name} {address}").unwrap();
    }
    let mut next = 0;
    for (run, owner) in
        parts.iter().filter_map(|part| part.split_once('=')).filter(|(run, _)| run.contains('@'))
    {
        let (range, generation) = run.split_once('@').unwrap();
        let (first, last): (u32, u32) =
            range.split_once('-').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap();
        if first > next {
            writeln!(text, "buckets {next} {} 0 -", first - next).unwrap();
        }
        writeln!(text, "buckets {first} {} {generation} {owner}", last - first + 1).unwrap();
        next = last + 1;
    }
    if next < 32768 {
        writeln!(text, "buckets {next} {} 0 -", 32768 - next).unwrap();
    }
    text + "end\n"
}

/// `\r`, `\n`, `\\` and `\xHH` as in what is printed.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b'x') => {
                    let digits: String = rest.by_ref().take(2).map(char::from).collect();
                    u8::from_str_radix(&digits, 16).unwrap()
                }
                other => other.unwrap(),
            },
            other => other,
        });
    }
    bytes
}
