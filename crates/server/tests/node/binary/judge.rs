//! The installed memcached: it runs the scripts and `memccapable` judges it too.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::frames::Names;
use super::{Block, scripts};

/// The version whose answers the scripts list.
const VERSION: &str = "memcached 1.6.18";

/// A request that no script has; when it is answered, all before it was.
const SENTINEL: &str = "noop opaque=0xfeedf00d";
const SENTINEL_MARK: [u8; 4] = 0xfeed_f00d_u32.to_be_bytes();

/// A running memcached on a port of its own choice.
pub(crate) struct Memcached {
    child: Child,
    pub(crate) port: u16,
    _directory: tempfile::TempDir,
}

impl Memcached {
    /// `None`, loudly, where the version is not the one that the tests know.
    pub(crate) fn start(flags: &[String]) -> Option<Self> {
        let output = Command::new("memcached").arg("-V").output();
        let version = output.map_or_else(|error| error.to_string(), |o| String::from_utf8(o.stdout).unwrap());
        if version.trim() != VERSION {
            eprintln!("SKIPPED: {VERSION} is not installed, but: {}", version.trim());
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("port");
        // As root it wants a user to become, and as any other it ignores the flag.
        let child = Command::new("memcached")
            .args(["-u", "root", "-l", "127.0.0.1", "-p", "-1", "-U", "0", "-t", "1"])
            .args(["-o", "no_lru_crawler,no_lru_maintainer"])
            .args(flags)
            .env("MEMCACHED_PORT_FILENAME", &file)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut memcached = Self { child, port: 0, _directory: directory };
        let until = Instant::now() + Duration::from_secs(10);
        while memcached.port == 0 {
            assert!(Instant::now() < until, "memcached does not start");
            std::thread::sleep(Duration::from_millis(5));
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let port = text.lines().find_map(|line| line.strip_prefix("TCP INET: "));
            memcached.port = port.map_or(0, |port| port.parse().unwrap());
        }
        Some(memcached)
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn memcached_answers_binary_requests_the_same() {
    let mut report = String::new();
    for script in scripts() {
        let Some(flags) = flags(&script.options) else { continue };
        let Some(memcached) = Memcached::start(&flags) else { return };
        let mut names = Names::default();
        let mut conns = BTreeMap::new();
        for block in script.blocks.iter().filter(|block| !block.lines.iter().any(|line| line == "!ours")) {
            let got = exchange(&memcached, &mut conns, &mut names, block);
            let wanted = block.theirs.as_ref().map_or(&block.expected, |theirs| &theirs.expected);
            let is_listed_in_vain = block.theirs.is_some() && got == block.expected;
            if got != *wanted || is_listed_in_vain {
                let sent = block.lines.join("\n");
                report += &format!("{}\n{sent}\nwanted:\n{wanted}\ngot:\n{got}\n\n", script.path.display());
            }
        }
    }
    assert!(report.is_empty(), "memcached answers differently:\n\n{report}");
}

/// The flags that make memcached what the script wants; `None` if none do.
fn flags(options: &[String]) -> Option<Vec<String>> {
    let mut flags = Vec::new();
    for word in options {
        match word.split_once('=').unwrap_or((word, "")) {
            ("item-size", size) => flags.extend(["-I".to_owned(), size.to_owned()]),
            ("no-flush", _) => flags.push("-F".to_owned()),
            ("protocol", name) => flags.extend(["-B".to_owned(), name.to_owned()]),
            _ => return None,
        }
    }
    Some(flags)
}

fn exchange(
    memcached: &Memcached,
    conns: &mut BTreeMap<String, TcpStream>,
    names: &mut Names,
    block: &Block,
) -> String {
    let mut conn = "main";
    let mut bytes = Vec::new();
    for line in &block.lines {
        match line.strip_prefix('!').map(|rest| rest.split_once(' ').unwrap()) {
            None => bytes.extend(names.encode(line)),
            Some(("conn", name)) => conn = name,
            Some((word, _)) => panic!("memcached has no {word}"),
        }
    }
    bytes.extend(names.encode(SENTINEL));
    let stream = conns
        .entry(conn.to_owned())
        .or_insert_with(|| TcpStream::connect(("127.0.0.1", memcached.port)).unwrap());
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let sent = stream.write_all(&bytes);
    let (mut output, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return names.decode(&output, true),
            Ok(n) => output.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return names.decode(&output, true),
            Err(error) => panic!("memcached does not answer {}: {error}, {sent:?}", block.lines.join("\n")),
        }
        let start = output.len().saturating_sub(24);
        if output[start..].get(12..16) == Some(&SENTINEL_MARK[..]) {
            return names.decode(&output[..start], false);
        }
    }
}
