//! Warm restarts (`-e`) of real processes: what comes back, and what is said when nothing does.
//!
//! Every process is ended by its pid; ports are whichever are free; nothing waits for a time, only for an event,
//! with a deadline.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, flags: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doled"));
        command.args(["serve", "-p", "-1", "-v", "-A", "-t", "2"]).args(flags.split_whitespace());
        command.env("MEMCACHED_PORT_FILENAME", self.path("ports")).current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// A node with `-e items` and these flags, that listens.
    #[track_caller]
    fn start(&self, flags: &str) -> Node {
        let _ = fs::remove_file(self.path("ports"));
        let child = self.command(flags).args(["-e", "items"]).spawn().expect("the program runs");
        let mut node = Node { child, port: 0 };
        let begin = Instant::now();
        while !self.path("ports").exists() {
            if let Some(status) = node.child.try_wait().expect("a child") {
                panic!("{status}: {}", node.said());
            }
            assert!(begin.elapsed() < DEADLINE, "the node does not listen");
            std::thread::sleep(Duration::from_millis(2));
        }
        let ports = fs::read_to_string(self.path("ports")).expect("the port file");
        node.port = ports.trim().rsplit(' ').next().and_then(|port| port.parse().ok()).expect("a port");
        node
    }

    #[track_caller]
    fn refused(&self, flags: &str, expect: &str) {
        let Output { status, stderr, .. } = self.command(flags).output().expect("the program runs");
        let error = String::from_utf8_lossy(&stderr);
        assert!(!status.success() && error.contains(expect), "{flags}: {error}");
    }

    /// Starts once more, and checks that there is nothing, and why.
    #[track_caller]
    fn is_cold(&self, flags: &str, why: &str) {
        let node = self.start(flags);
        assert_eq!(node.ask("mn\r\nget big\r\n", "END"), ["MN"]);
        assert!(!self.path("items").exists() || why.contains("no memory file"));
        let said = node.end(Signal::TERM);
        assert!(said.contains(why), "{said}");
    }
}

struct Node {
    child: Child,
    port: u16,
}

impl Node {
    /// Sends commands and returns the lines of the answer before `last`.
    #[track_caller]
    fn ask(&self, commands: &str, last: &str) -> Vec<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a node that listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        let mut writer = stream.try_clone().expect("a socket");
        let commands = commands.to_owned();
        let sender = std::thread::spawn(move || writer.write_all(commands.as_bytes()));
        let lines = BufReader::new(&mut stream).lines().map(|line| line.expect("an answer"));
        let lines = lines.take_while(|line| line != last).collect();
        sender.join().expect("no panic").expect("a node that reads");
        lines
    }

    /// What it wrote to standard error until it ended.
    fn said(&mut self) -> String {
        let mut said = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        said
    }

    #[track_caller]
    fn end(mut self, signal: Signal) -> String {
        kill_process(Pid::from_child(&self.child), signal).expect("a running child");
        let said = self.said();
        let status = self.child.wait().expect("a child");
        assert!(status.success() || signal == Signal::KILL, "{status}: {said}");
        said
    }

    /// Items of many sizes and exptimes; answers are read, so all are stored.
    fn fill(&self) {
        let mut commands = String::new();
        for n in 0..3000 {
            let exptime = [0, 100, 5000, 2_000_000][n % 4];
            let value = "v".repeat(n % 700);
            commands += &format!("set key{n} {} {exptime} {} noreply\r\n{value}\r\n", n % 5, value.len());
        }
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        commands += &format!("set absolute 0 {} 1 noreply\r\na\r\n", unix_s + 300);
        let big = "b".repeat(900_000);
        commands += &format!("set big 0 0 {} noreply\r\n{big}\r\n", big.len());
        commands +=
            "ms own 2 E1234567\r\nhi\r\nms meta 2 T0 F9\r\nhi\r\nmg meta v\r\nmd meta I T900\r\nmn\r\n";
        assert_eq!(self.ask(&commands, "MN"), ["HD", "HD", "VA 2", "hi", "HD"]);
    }

    /// Everything that can be seen of every key, but times by their second.
    #[track_caller]
    fn dump(&self) -> BTreeMap<String, String> {
        let lines = self.ask("lru_crawler metadump all\r\n", "END");
        let facts = lines.iter().map(|line| {
            let (key, facts) = line.split_once(' ').expect("key and facts");
            (key.to_owned(), facts.to_owned())
        });
        facts.collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Ended and waited for already, when all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number behind `name=` among facts.
fn fact(facts: &str, name: &str) -> i64 {
    let word = facts.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    word.and_then(|word| word.parse().ok()).expect("a number")
}

#[test]
fn items_survive_a_graceful_end() {
    let place = Place::new();
    let mut node = place.start("-m 64");
    node.fill();
    assert_eq!(fs::metadata(place.path("items.partial")).expect("a file").len(), 0);
    let mut before = node.dump();
    assert_eq!(before.len(), 3004);
    let casid = node.ask("gets key3\r\n", "END");
    for (turn, end) in ["USR1", "shutdown graceful"].iter().enumerate() {
        let said = if *end == "USR1" {
            node.end(Signal::USR1)
        } else {
            let mut stream = TcpStream::connect(("127.0.0.1", node.port)).expect("a node");
            stream.write_all(b"shutdown graceful\r\n").expect("a node that reads");
            node.said()
        };
        assert!(said.contains("-e ") && said.contains("3004 items written"), "{said}");
        assert!(place.path("items").exists() && !place.path("items.partial").exists());
        node = place.start("-m 64");
        assert!(!place.path("items").exists(), "it is out of date from now on");
        let after = node.dump();
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        for (key, old) in &before {
            let new = &after[key];
            for (name, slack) in [("exp", 1), ("la", 1), ("cas", 0), ("size", 0), ("flags", 0)] {
                let (old, new) = (fact(old, name), fact(new, name));
                assert!((old - new).abs() <= slack, "{key} {name}: {old}, then {new}, turn {turn}");
            }
        }
        assert_eq!(node.ask("gets key3\r\n", "END"), casid);
        let meta = node.ask("mg meta s f c v k\r\nmn\r\n", "MN");
        let cas = fact(&before["key=meta"], "cas");
        // The first read takes the win.
        let win = ["X W", "Z X"][turn];
        assert_eq!(meta, [format!("VA 2 s2 f9 c{cas} kmeta {win}"), "hi".to_owned()]);
        before = node.dump();
    }
    assert_eq!(node.ask("incr none 1\r\nset key3 0 0 1\r\nx\r\nmn\r\n", "MN"), ["NOT_FOUND", "STORED"]);
    assert_ne!(node.ask("gets key3\r\n", "END")[0], casid[0]);
    node.end(Signal::TERM);
}

#[test]
fn other_ends_leave_nothing() {
    let place = Place::new();
    place.is_cold("", "there is no such file");
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let node = place.start("");
        node.fill();
        node.end(signal);
        assert!(!place.path("items").exists());
        assert_eq!(place.path("items.partial").exists(), signal == Signal::KILL);
        place.is_cold("", "there is no such file");
    }
}

#[test]
fn flushes_go_on() {
    let place = Place::new();
    let node = place.start("--enable-debugtime");
    node.fill();
    assert_eq!(node.ask("flush_all\r\nset new 0 0 1\r\nn\r\nflush_all 500\r\nmn\r\n", "MN").len(), 3);
    node.end(Signal::USR1);
    let node = place.start("--enable-debugtime");
    assert_eq!(node.dump().into_keys().collect::<Vec<_>>(), ["key=new"]);
    assert_eq!(node.ask("debugtime 501\r\nget new\r\nmn\r\n", "MN"), ["OK", "END"]);
    node.end(Signal::USR1);
    // The clock that was moved goes on.
    let node = place.start("--enable-debugtime");
    assert_eq!(node.dump().len(), 0);
    node.end(Signal::TERM);
}

#[test]
fn time_goes_on_while_nothing_runs() {
    let place = Place::new();
    let node = place.start("");
    node.ask("set short 0 1 1\r\ns\r\nset long 0 1000 1\r\nl\r\nmn\r\n", "MN");
    node.end(Signal::USR1);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1200) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let node = place.start("");
    assert_eq!(node.ask("get short long\r\n", "END"), ["VALUE long 0 1", "l"]);
    let said = node.end(Signal::TERM);
    assert!(said.contains("1 of 2 items are back"), "{said}");
}

#[test]
fn what_does_not_fit_starts_cold_and_says_why() {
    let place = Place::new();
    let save = || {
        let node = place.start("-m 64");
        node.fill();
        node.end(Signal::USR1);
    };
    save();
    place.is_cold("-m 65", "-m was 64 MiB, and is 65 MiB");
    save();
    place.is_cold("-m 64 -I 2m", "-I was 1 MiB, and is 2 MiB");
    save();
    let whole = fs::read(place.path("items")).expect("the file");
    for (len, why) in
        [(0, "ends in the middle"), (5, "ends in the middle"), (whole.len() / 2, "in the middle")]
    {
        fs::write(place.path("items"), &whole[..len]).expect("a place to write");
        let node = place.start("-m 64");
        assert_eq!(node.dump().len(), 0);
        let said = node.end(Signal::USR1);
        assert!(said.contains(why) && said.contains("0 items written"), "{len}: {said}");
    }
    let mut changed = whole.clone();
    changed[whole.len() - 1000] ^= 1;
    fs::write(place.path("items"), &changed).expect("a place to write");
    place.is_cold("-m 64", "wrong checksum");
    // What is somebody's own stays until it is replaced.
    fs::write(place.path("items"), "my notes").expect("a place to write");
    place.is_cold("-m 64", "no memory file");
    assert_eq!(fs::read(place.path("items")).expect("the notes"), b"my notes");
}

#[test]
fn a_read_only_file_is_read_and_removed_all_the_same() {
    let place = Place::new();
    let node = place.start("");
    node.fill();
    node.end(Signal::USR1);
    fs::set_permissions(place.path("items"), fs::Permissions::from_mode(0o400)).expect("our file");
    let node = place.start("");
    assert_eq!(node.dump().len(), 3004);
    assert!(!place.path("items").exists());
    node.end(Signal::TERM);
}

#[test]
fn a_disk_without_room_is_said_and_leaves_nothing() {
    let place = Place::new();
    let node = place.start("");
    node.fill();
    // No file may grow above this; the node has more.
    let limit = Rlimit { current: Some(700_000), maximum: Some(700_000) };
    prlimit(Some(Pid::from_child(&node.child)), Resource::Fsize, limit).expect("our child");
    let said = node.end(Signal::USR1);
    assert!(said.contains("cannot be written, so the next start is without items"), "{said}");
    assert!(!place.path("items").exists() && !place.path("items.partial").exists());
    place.is_cold("", "there is no such file");
}

#[test]
fn places_that_cannot_hold_the_file_are_refused_at_the_start() {
    let place = Place::new();
    place.refused("-e /no/such/directory/items", "/no/such/directory/items.partial");
    fs::create_dir(place.path("directory")).expect("a directory");
    place.refused("-e directory", "no regular file");
    place.refused("-e /dev/null", "no regular file");
    place.refused("--managed --admin 127.0.0.1:0 -e items", "--managed");
    let node = place.start("");
    place.refused("-e items", "another process uses it");
    node.end(Signal::TERM);
}

/// A node that is killed while it writes leaves a partial file, which nobody takes.
#[test]
fn killed_in_the_middle_of_writing_it_leaves_nothing_to_be_taken() {
    let place = Place::new();
    for _ in 0..3 {
        let node = place.start("-m 256");
        let value = "x".repeat(500_000);
        let mut commands = String::new();
        (0..200).for_each(|n| commands += &format!("set k{n} 0 0 {} noreply\r\n{value}\r\n", value.len()));
        node.ask(&(commands + "mn\r\n"), "MN");
        kill_process(Pid::from_child(&node.child), Signal::USR1).expect("a running child");
        let is_writing = || fs::metadata(place.path("items.partial")).is_ok_and(|file| file.len() > 0);
        let begin = Instant::now();
        while !is_writing() && !place.path("items").exists() && begin.elapsed() < DEADLINE {
            std::hint::spin_loop();
        }
        node.end(Signal::KILL);
        let was_whole = place.path("items").exists();
        let node = place.start("-m 256");
        assert_eq!(node.dump().len(), if was_whole { 200 } else { 0 });
        node.end(Signal::TERM);
    }
}
