//! The binary protocol: scripts (`tests/binary/*.test`) against sessions in memory, their bytes whole and cut,
//! and against the installed memcached; and `memccapable`, which was written to judge this protocol.
//!
//! Each line of a script is a frame, see [`frames`]. Lines with `!`: `!conn NAME` switches to another
//! connection, `!advance 5s` lets time pass, `!ours` keeps the block from memcached. Where memcached answers
//! otherwise, a second `----` is followed by the reason, and lines with its answer.

mod capable;
pub(super) mod frames;
pub(super) mod judge;
mod memory;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use doled_server::options::Protocol;
use doled_server::{Credentials, ManagedOptions, Node, ServerOptions};

use super::sockets::Client;
use memory::{Cut, World};

/// Random cuts of each script.
const RANDOM_CUTS: u64 = 20;

/// A parsed script.
pub(crate) struct Script {
    path: PathBuf,
    head: String,
    pub(crate) options: Vec<String>,
    pub(crate) blocks: Vec<Block>,
}

/// One exchange.
pub(crate) struct Block {
    comments: String,
    pub(crate) lines: Vec<String>,
    expected: String,
    /// What memcached answers, where it is something else.
    theirs: Option<Theirs>,
}

struct Theirs {
    reason: String,
    expected: String,
}

impl Script {
    fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut script =
            Self { path: path.to_owned(), head: String::new(), options: Vec::new(), blocks: Vec::new() };
        for chunk in text.split("\n\n").map(|chunk| chunk.trim_matches('\n')).filter(|c| !c.is_empty()) {
            match chunk.split_once("\n----") {
                Some((sent, answers)) => {
                    script.blocks.push(Block::parse(sent, answers.strip_prefix('\n').unwrap_or_default()));
                }
                None => {
                    assert!(script.blocks.is_empty(), "{}: no ---- in\n{chunk}", path.display());
                    let options = chunk.lines().filter_map(|line| line.strip_prefix("!options "));
                    script.options.extend(options.flat_map(|line| line.split(' ')).map(str::to_owned));
                    writeln!(script.head, "{chunk}\n").unwrap();
                }
            }
        }
        script
    }

    fn render(&self) -> String {
        let blocks = self.blocks.iter().map(|block| {
            let theirs = block.theirs.as_ref();
            let theirs = theirs.map_or(String::new(), |t| format!("\n---- {}\n{}", t.reason, t.expected));
            format!("{}{}\n----\n{}{theirs}\n", block.comments, block.lines.join("\n"), block.expected)
        });
        self.head.clone() + &blocks.collect::<Vec<_>>().join("\n")
    }
}

impl Block {
    fn parse(sent: &str, answers: &str) -> Self {
        let (comments, lines): (Vec<&str>, Vec<&str>) = sent.lines().partition(|line| line.starts_with('#'));
        let (expected, theirs) = match answers.split_once("\n---- ") {
            Some((ours, theirs)) => {
                let (reason, expected) = theirs.split_once('\n').unwrap();
                (ours, Some(Theirs { reason: reason.to_owned(), expected: expected.to_owned() }))
            }
            None => (answers, None),
        };
        Self {
            comments: comments.iter().fold(String::new(), |all, line| all + line + "\n"),
            lines: lines.into_iter().map(str::to_owned).collect(),
            expected: expected.to_owned(),
            theirs,
        }
    }
}

/// The scripts, in order of their names.
fn scripts() -> Vec<Script> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/binary");
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Script::load(path)).collect()
}

/// Compares with what the scripts say; with `UPDATE_EXPECT=1` makes the scripts say what came.
#[test]
fn binary_scripts_give_what_they_say() {
    let is_rewrite = std::env::var_os("UPDATE_EXPECT").is_some();
    for mut script in scripts() {
        let got = World::run(&script, &Cut::Whole);
        for (block, got) in script.blocks.iter_mut().zip(got) {
            if is_rewrite {
                block.expected = got;
            } else {
                let sent = block.lines.join("\n");
                assert_eq!(got, block.expected, "{}:\n{sent}", script.path.display());
            }
        }
        if is_rewrite {
            std::fs::write(&script.path, script.render()).unwrap();
        }
    }
}

#[test]
fn binary_scripts_give_the_same_however_the_bytes_are_cut() {
    for script in scripts() {
        let whole = World::run(&script, &Cut::Whole);
        for cut in [Cut::ByteByByte].into_iter().chain((0..RANDOM_CUTS).map(Cut::Random)) {
            for ((got, whole), block) in World::run(&script, &cut).iter().zip(&whole).zip(&script.blocks) {
                let sent = block.lines.join("\n");
                assert_eq!(got, whole, "{} ({cut:?}):\n{sent}", script.path.display());
            }
        }
    }
}

#[test]
fn a_binary_connection_counts_and_ends_as_a_text_one_does() {
    let node = Node::start(ServerOptions::default()).unwrap();
    let names = frames::Names::default();
    let mut stream = TcpStream::connect(node.tcp_address().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let lines = ["set key=a value=x", "getq key=none", "get key=a", "touch key=a", "deleteq key=a", "quit"];
    stream.write_all(&lines.map(|line| names.encode(line)).concat()).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let wanted = "set 00 cas=$1\nget 00 flags=0 value=x cas=$1\ntouch 00 flags=0 cas=$1\nquit 00";
    assert_eq!(frames::Names::default().decode(&answers, false), wanted);
    let mut text = Client::connect(&node);
    text.send("stats\r\n");
    let stats = text.read_to("END\r\n");
    for line in ["cmd_get 2", "get_hits 1", "get_misses 1", "cmd_set 1", "cmd_touch 1", "delete_hits 1"] {
        assert!(stats.contains(&format!("STAT {line}\r\n")), "{line} in {stats}");
    }
    node.stop();
    node.wait();
}

#[test]
fn failed_attempts_to_authenticate_are_counted() {
    let users: [(&[u8], &[u8]); 1] = [(b"anna", b"one")];
    let sasl = Some(Credentials::new(users).unwrap());
    let node = Node::start(ServerOptions { sasl, ..ServerOptions::default() }).unwrap();
    let names = frames::Names::default();
    let mut stream = TcpStream::connect(node.tcp_address().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let lines = [
        r"sasl_auth key=PLAIN value=\x00anna\x00two",
        r"sasl_auth key=PLAIN value=\x00anna\x00one",
        "stat",
        "quit",
    ];
    stream.write_all(&lines.map(|line| names.encode(line)).concat()).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let text = frames::Names::default().decode(&answers, false);
    for line in ["stat 00 key=auth_cmds value=2", "stat 00 key=auth_errors value=1"] {
        assert!(text.lines().any(|other| other == line), "{line} in {text}");
    }
    node.stop();
    node.wait();
}

#[test]
fn a_node_that_nobody_could_speak_to_does_not_start() {
    let users: [(&[u8], &[u8]); 1] = [(b"anna", b"one")];
    let sasl = Some(Credentials::new(users).unwrap());
    let admin = "127.0.0.1:0".parse().unwrap();
    let managed = Some(ManagedOptions::ByHand { admin, node: "n1".parse().unwrap() });
    let with_sasl = ServerOptions { sasl, ..ServerOptions::default() };
    let binary = ServerOptions { protocol: Protocol::Binary, ..ServerOptions::default() };
    for (options, why) in [
        (ServerOptions { managed: managed.clone(), ..with_sasl.clone() }, "a managed node speaks text only"),
        (ServerOptions { managed, ..binary }, "a managed node speaks text only"),
        (ServerOptions { protocol: Protocol::Ascii, ..with_sasl }, "in the binary protocol only"),
    ] {
        let error = Node::start(options).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
