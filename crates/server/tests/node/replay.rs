//! The outside judge: the installed memcached answers the same scripts. What differs by version or by decision
//! is listed with its reason in `tests/memcached-differences.txt`, for Debian's version, and in
//! `tests/memcached-1.6.45-differences.txt`, for the version that this node follows; where that one is the first
//! `memcached` in the PATH, it is the judge.
//!
//! Scripts with options that memcached can't be given (`ours`, `clock`, managed mode) are left out.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::script::{self, Block, Names, Script};

/// Commands with a reply that no script has: when they are answered, all before them was. They count nothing.
const SENTINEL: &[u8] = b"mn\r\nversion\r\nmn\r\n";

#[test]
fn memcached_answers_the_same() {
    let Ok(output) = Command::new("memcached").arg("-V").output() else {
        eprintln!("SKIPPED: no memcached is installed, so nobody judges the scripts");
        return;
    };
    let version = String::from_utf8_lossy(&output.stdout).trim().replace("memcached ", "");
    let Some(mut known) = Differences::load(&version) else {
        eprintln!(
            "SKIPPED: memcached {version} is installed, but the differences to another version are listed"
        );
        return;
    };
    let mut report = String::new();
    for path in script::all() {
        let script = Script::load(&path);
        let Some(flags) = flags(&script) else { continue };
        let mut judge = Judge::start(&flags, &version);
        for block in &script.blocks {
            let theirs = judge.run(block);
            let place = place(&path, block);
            match known.take(&place) {
                Some(listed) if listed == theirs && listed != block.expected => {}
                None if theirs == block.expected => {}
                listed => {
                    let listed = listed.map_or(String::new(), |text| format!("\nlisted:\n{text}"));
                    report += &format!("@ {place}\nours:\n{}\ntheirs:\n{theirs}{listed}\n\n", block.expected);
                }
            }
        }
    }
    for place in known.left() {
        report += &format!("@ {place}\nlisted as different, but no script has it\n\n");
    }
    assert!(report.is_empty(), "memcached {version} answers differently:\n\n{report}");
}

/// The flags that make memcached what the script wants; `None` if none do.
fn flags(script: &Script) -> Option<Vec<String>> {
    // Its background threads hold items for moments, and an item that is held is changed in another way.
    let mut flags = ["-t", "1", "-o", "no_lru_crawler,no_lru_maintainer"].map(str::to_owned).to_vec();
    for word in script.options.iter().flat_map(|line| line.split(' ')) {
        match word.split_once('=').unwrap_or((word, "")) {
            ("item-size", size) => flags.extend(["-I".to_owned(), size.to_owned()]),
            ("no-watch", _) => flags.push("-W".to_owned()),
            ("no-dump", _) => flags.push("-X".to_owned()),
            ("no-flush", _) => flags.push("-F".to_owned()),
            _ => return None,
        }
    }
    Some(flags)
}

/// Where a block stands: the script and what it sends first.
fn place(path: &Path, block: &Block) -> String {
    let name = path.file_name().unwrap().to_string_lossy();
    format!("{name} {}", block.lines.join(" | "))
}

/// A running memcached.
struct Judge {
    child: Child,
    _directory: tempfile::TempDir,
    socket: PathBuf,
    conns: BTreeMap<String, UnixStream>,
    names: Names,
    sentinel_reply: Vec<u8>,
}

impl Judge {
    fn start(flags: &[String], version: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let mut command = Command::new("memcached");
        // As root it wants a user to become, and as any other it ignores the flag.
        command
            .args(["-u", "root", "-s"])
            .arg(&socket)
            .args(flags)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < until, "memcached does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self {
            child,
            _directory: directory,
            socket,
            conns: BTreeMap::new(),
            names: Names::default(),
            sentinel_reply: format!("MN\r\nVERSION {version}\r\nMN\r\n").into_bytes(),
        }
    }

    fn run(&mut self, block: &Block) -> String {
        let mut name = "main";
        let mut wanted = None;
        let mut bytes = Vec::new();
        for line in &block.lines {
            match line.strip_prefix('!').map(|directive| directive.split_once(' ').unwrap()) {
                Some(("conn", rest)) => name = rest,
                Some(("stat", rest)) => wanted = Some(rest),
                Some((word, _)) => panic!("memcached has no {word}"),
                None => bytes.extend(self.names.encode(line, || 0)),
            }
        }
        let (mut output, is_closed) = self.exchange(name, &bytes);
        if let Some(wanted) = wanted {
            let (stats, _) = self.exchange(name, b"stats\r\n");
            for line in String::from_utf8(stats).unwrap().lines() {
                if line.split(' ').nth(1).is_some_and(|name| wanted.split(' ').any(|w| w == name)) {
                    output.extend_from_slice(format!("{line}\r\n").as_bytes());
                }
            }
        }
        self.names.decode(&output, is_closed)
    }

    /// Sends, and returns what came back until all is answered or the connection is closed.
    fn exchange(&mut self, name: &str, bytes: &[u8]) -> (Vec<u8>, bool) {
        let socket = &self.socket;
        let stream =
            self.conns.entry(name.to_owned()).or_insert_with(|| UnixStream::connect(socket).unwrap());
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut sent = stream.write_all(bytes);
        if sent.is_ok() {
            sent = stream.write_all(SENTINEL);
        }
        let mut output = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return (output, true),
                Ok(n) => output.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return (output, true),
                Err(error) => panic!("memcached does not answer {}: {error}, {sent:?}", bytes.escape_ascii()),
            }
            if output.ends_with(&self.sentinel_reply) {
                output.truncate(output.len() - self.sentinel_reply.len());
                return (output, false);
            }
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The list of differences: `@ script block`, comment lines with the reason, and their reply.
struct Differences(BTreeMap<String, String>);

impl Differences {
    /// Those of a version; `None` if they are not known.
    fn load(version: &str) -> Option<Self> {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let text = ["memcached-differences.txt", "memcached-1.6.45-differences.txt"]
            .map(|name| std::fs::read_to_string(tests.join(name)).unwrap())
            .into_iter()
            .find(|text| text.lines().any(|line| line == format!("version {version}")))?;
        let mut listed = BTreeMap::new();
        for entry in text.split("\n@ ").skip(1) {
            let (place, rest) = entry.split_once('\n').unwrap();
            let lines: Vec<&str> = rest.trim_end().lines().filter(|line| !line.starts_with('#')).collect();
            listed.insert(place.to_owned(), lines.join("\n"));
        }
        Some(Self(listed))
    }

    fn take(&mut self, place: &str) -> Option<String> {
        self.0.remove(place)
    }

    fn left(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}
