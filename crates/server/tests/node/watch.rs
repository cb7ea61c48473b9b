//! `watch`: scripts (`tests/watch/*.test`) of what a watcher of everything is told, by a node and by the installed
//! memcached; and what many, slow and gone watchers do to others, which is nothing.
//!
//! A block is what a client sends, in lines as other scripts have them, `----`, and the watcher's lines. Where
//! memcached's are others, a second `----` is followed by the reason, and its lines. With `!binary` at the top the
//! client speaks that protocol. Of a line only what can be known is compared: no times, ports and numbers.

mod others;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use doled_server::{Node, ServerOptions};

use super::binary::frames;
use super::binary::judge::Memcached;
use super::script::Names;

/// What is watched: everything that memcached 1.6.18 knows.
const WATCHED_BY_ALL: &str = "watch fetchers mutations evictions connevents rawcmds sysevents";

/// A connection that watches.
pub(super) struct Watcher(BufReader<TcpStream>);

impl Watcher {
    pub(super) fn start(address: SocketAddr, command: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut watcher = Self(BufReader::new(stream));
        assert_eq!(watcher.raw(), "OK\r\n");
        watcher
    }

    /// One line as it came.
    pub(super) fn raw(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// One line without what nobody can know.
    pub(super) fn line(&mut self) -> String {
        known_part(&self.raw())
    }

    /// The lines before that of a look-up of this key.
    fn until(&mut self, key: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if line.contains(&format!("key={key} ")) {
                return lines;
            }
            lines.push(line);
        }
    }
}

/// The words of a line whose values do not change from run to run, the others as `#`. Classes are one here.
#[track_caller]
pub(super) fn known_part(line: &str) -> String {
    let line = line.strip_suffix('\n').expect(line);
    let words: Vec<&str> = line.split(' ').collect();
    if let [word] = words[..] {
        return word.to_owned();
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let time = words[0].strip_prefix("ts=").and_then(|time| time.split_once('.')).expect(line);
    assert!(is_number(time.0) && is_number(time.1), "{line}");
    assert!(words[1].strip_prefix("gid=").is_some_and(is_number), "{line}");
    let known = words[2..].iter().map(|word| match word.split_once('=') {
        Some((name @ ("cfd" | "rport"), number)) if is_number(number) => format!("{name}=#"),
        Some(("clsid", class)) if class != "0" => "clsid=1".to_owned(),
        _ => (*word).to_owned(),
    });
    known.collect::<Vec<_>>().join(" ")
}

/// One exchange of a script.
struct Block<'a> {
    sent: &'a str,
    ours: &'a str,
    /// The reason why memcached's lines are others, and they.
    theirs: Option<(&'a str, &'a str)>,
}

impl<'a> Block<'a> {
    /// `None` for comments at the top.
    fn parse(chunk: &'a str) -> Option<Self> {
        let (sent, answers) = chunk.split_once("\n----")?;
        let answers = answers.strip_prefix('\n').unwrap_or_default();
        let (ours, theirs) = match answers.split_once("\n---- ") {
            Some((ours, theirs)) => (ours, Some(theirs.split_once('\n').unwrap())),
            None => (answers, None),
        };
        Some(Self { sent, ours: ours.trim_end(), theirs })
    }
}

/// Sends what each block says and returns what the watcher was told of it.
fn run(script: &str, address: SocketAddr) -> Vec<String> {
    let mut watcher = Watcher::start(address, WATCHED_BY_ALL);
    let mut client = TcpStream::connect(address).unwrap();
    let is_binary = script.contains("!binary\n");
    watcher.line();
    let mut told = Vec::new();
    for (index, block) in script.split("\n\n").filter_map(Block::parse).enumerate() {
        let mut bytes = Vec::new();
        for line in block.sent.lines().filter(|line| !line.starts_with('#')) {
            if is_binary {
                bytes.extend(frames::Names::default().encode(line));
            } else {
                bytes.extend(Names::default().encode(line, || 0));
            }
        }
        // The log is in order, so this is the last of it.
        let last = format!("last-{index}");
        if is_binary {
            bytes.extend(frames::Names::default().encode(&format!("getq key={last}")));
        } else {
            bytes.extend(format!("get {last}\r\n").bytes());
        }
        client.write_all(&bytes).unwrap();
        let lines = watcher.until(&last);
        told.push(if lines.is_empty() { "(nothing)".to_owned() } else { lines.join("\n") });
    }
    told
}

fn options() -> ServerOptions {
    // One thread, so that what is sent at once is told in order.
    ServerOptions { threads: 1, ..ServerOptions::default() }
}

#[test]
fn a_watcher_is_told_what_the_scripts_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/watch");
    testkit::check_scripts(&directory, |script| {
        let node = Node::start(options()).unwrap();
        let mut told = run(script, node.tcp_address().unwrap()).into_iter();
        node.stop();
        node.wait();
        let chunks = script.trim_end().split("\n\n").map(|chunk| match Block::parse(chunk) {
            None => chunk.to_owned(),
            Some(block) => {
                let theirs = block.theirs.map(|(reason, lines)| format!("\n---- {reason}\n{lines}"));
                format!("{}\n----\n{}{}", block.sent, told.next().unwrap(), theirs.unwrap_or_default())
            }
        });
        chunks.collect::<Vec<_>>().join("\n\n") + "\n"
    });
}

#[test]
fn memcached_tells_its_watchers_the_same() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/watch");
    let mut report = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let Some(memcached) = Memcached::start(&[]) else { return };
        let told = run(&script, ([127, 0, 0, 1], memcached.port).into());
        for (block, told) in script.trim_end().split("\n\n").filter_map(Block::parse).zip(told) {
            let wanted = block.theirs.map_or(block.ours, |(_, lines)| lines);
            if told != wanted {
                report +=
                    &format!("{}: {}\nlisted:\n{wanted}\ntheirs:\n{told}\n\n", path.display(), block.sent);
            }
        }
    }
    assert!(report.is_empty(), "memcached tells something else:\n\n{report}");
}
