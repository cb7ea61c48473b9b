//! The binary as a node: what it does with its process, its files and its sockets. Flags alone are tested where
//! they are read.
//!
//! Every process is ended by its pid; ports are whichever are free; nothing waits for a time, only for an event,
//! with a deadline.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, getsid, kill_process, test_kill_process};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);

/// A directory for one test, its command lines, and the name that they run under.
struct Place {
    dir: TempDir,
    program: PathBuf,
    first: &'static [&'static str],
}

impl Place {
    fn doled() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir, program: env!("CARGO_BIN_EXE_doled").into(), first: &["serve"] }
    }

    /// The same program under the name `memcached`. Tests may run as root, who must name a user then.
    fn memcached() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("memcached");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_doled"), &program).expect("a link");
        let first: &[&str] = if geteuid().is_root() { &["-u", "root"] } else { &[] };
        Self { dir, program, first }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.first).args(args).current_dir(self.dir.path());
        command.env("MEMCACHED_PORT_FILENAME", self.path("ports")).stdin(Stdio::null());
        for name in ["DOLED_PORT", "DOLED_LISTEN", "DOLED_MEMORY", "DOLED_THREADS", "DOLED_MANAGER"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs to its end, and checks that it is one.
    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program runs")
    }

    #[track_caller]
    fn refused(&self, args: &[&str], expect: &str) {
        let output = self.output(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(expect), "{args:?}: {error}");
    }

    /// A node in the foreground, listening.
    fn start(&self, args: &[&str]) -> Running {
        // One that an earlier node left behind says nothing about this one.
        let _ = fs::remove_file(self.path("ports"));
        let running = Running(self.command(args).spawn().expect("the program runs"));
        wait_for("the port file", || self.path("ports").exists());
        running
    }

    /// What is after the colon in each line of the port file, by kind.
    fn ports(&self, kind: &str) -> Vec<u16> {
        let text = fs::read_to_string(self.path("ports")).expect("the port file");
        let ports = text.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(": "));
        ports.map(|port| port.parse().expect("a port")).collect()
    }

    fn port(&self) -> u16 {
        self.ports("TCP INET")[0]
    }
}

/// A child that does not outlive its test.
struct Running(Child);

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    #[track_caller]
    fn ends_well(mut self) {
        assert!(self.0.wait().expect("a child").success());
    }

    #[track_caller]
    fn end(self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a running child");
        self.ends_well();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended and waited for already, when all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon by its pid file, which does not outlive its test.
struct Daemon(Pid);

impl Daemon {
    fn of(pid_file: &Path) -> Self {
        let text = fs::read_to_string(pid_file).expect("the pid file");
        assert!(text.ends_with('\n'), "{text:?}");
        Self(Pid::from_raw(text.trim().parse().expect("a pid")).expect("a pid"))
    }

    #[track_caller]
    fn end(self, signal: Signal) {
        kill_process(self.0, signal).expect("a running daemon");
        wait_for("the daemon's end", || !is_alive(self.0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// An orphan may have nobody who buries it: a zombie is dead.
fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    test_kill_process(pid).is_ok() && !stat.contains(") Z ") && !stat.is_empty()
}

#[track_caller]
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a line and returns the first line of the answer.
fn ask(mut stream: impl Read + Write, line: &str) -> String {
    stream.write_all(line.as_bytes()).expect("a node that reads");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("an answer");
    answer
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a node that listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream
}

fn setting(port: u16, name: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(b"stats settings\r\n").expect("a node that reads");
    let lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
    let mut lines = lines.take_while(|line| line != "END");
    let prefix = format!("STAT {name} ");
    lines.find_map(|line| line.strip_prefix(&prefix).map(str::to_owned)).expect("the setting")
}

#[test]
fn a_node_writes_its_ports_and_ends_by_signals() {
    for signal in [Signal::INT, Signal::TERM, Signal::USR1] {
        let place = Place::doled();
        let node = place.start(&["-p", "-1", "-l", "127.0.0.1,127.0.0.1:0,[::1]", "-P", "pid"]);
        assert_eq!((place.ports("TCP INET").len(), place.ports("TCP INET6").len()), (1, 1));
        wait_for("the pid file", || place.path("pid").exists());
        let pid = fs::read_to_string(place.path("pid")).expect("the pid file");
        assert_eq!(pid, format!("{}\n", node.pid().as_raw_pid()));
        assert!(!place.path("ports.lck").exists());
        kill_process(node.pid(), Signal::HUP).expect("a running node");
        assert_eq!(ask(connect(place.port()), "version\r\n"), "VERSION 1.6.200\r\n");
        node.end(signal);
        assert!(!place.path("pid").exists());
    }
}

#[test]
fn flags_reach_the_node() {
    let place = Place::doled();
    let flags =
        ["-p", "-1", "-R", "7", "-c", "9", "-t", "1", "-m", "32", "-I", "2m", "-M", "-F", "-B", "ascii"];
    let node =
        place.start(&[&flags[..], &["-D", "/", "-o", "idle_timeout=60", "-b", "33", "-k", "-r"]].concat());
    for (name, value) in [
        ("reqs_per_event", "7"),
        ("maxconns", "9"),
        ("num_threads", "1"),
        ("maxbytes", "33554432"),
        ("item_size_max", "2097152"),
        ("evictions", "off"),
        ("flush_enabled", "no"),
        ("binding_protocol", "ascii"),
        ("idle_timeout", "60"),
        ("tcp_backlog", "33"),
        ("stat_key_prefix", "/"),
        ("detail_enabled", "yes"),
    ] {
        assert_eq!(setting(place.port(), name), value, "{name}");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", node.pid().as_raw_pid())).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the core limit");
    assert_ne!(core.split_whitespace().nth(4), Some("0"));
    node.end(Signal::TERM);
}

#[test]
fn a_connection_too_many_gets_an_error() {
    let place = Place::doled();
    let node = place.start(&["-p", "-1", "-c", "1"]);
    let first = connect(place.port());
    assert_eq!(ask(&first, "version\r\n"), "VERSION 1.6.200\r\n");
    let mut answer = String::new();
    BufReader::new(connect(place.port())).read_line(&mut answer).expect("an answer");
    assert_eq!(answer, "ERROR Too many open connections\r\n");
    drop(first);
    node.end(Signal::TERM);
}

#[test]
fn a_connection_too_many_can_wait() {
    let place = Place::doled();
    let node = place.start(&["-p", "-1", "-c", "1", "-o", "no_maxconns_fast"]);
    let first = connect(place.port());
    assert_eq!(ask(&first, "version\r\n"), "VERSION 1.6.200\r\n");
    let second = connect(place.port());
    (&second).write_all(b"version\r\n").expect("room in the kernel");
    assert_eq!(ask(&first, "stats nothing\r\n"), "ERROR\r\n");
    second.set_nonblocking(true).expect("a socket");
    assert!((&second).read(&mut [0; 1]).is_err(), "it was answered although it is one too many");
    second.set_nonblocking(false).expect("a socket");
    drop(first);
    assert_eq!(ask(&second, "version\r\n"), "VERSION 1.6.200\r\n");
    drop(second);
    node.end(Signal::TERM);
}

#[test]
fn a_daemon_returns_when_it_listens() {
    let place = Place::doled();
    let output = place.output(&["-d", "-p", "-1", "-P", "pid"]);
    // The output has ended, so the daemon has let go of it.
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let daemon = Daemon::of(&place.path("pid"));
    assert_eq!(ask(connect(place.port()), "version\r\n"), "VERSION 1.6.200\r\n");
    assert_eq!(getsid(Some(daemon.0)).expect("a session"), daemon.0);
    let directory = fs::read_link(format!("/proc/{}/cwd", daemon.0.as_raw_pid())).expect("its directory");
    assert_eq!(directory, Path::new("/"));
    kill_process(daemon.0, Signal::HUP).expect("a running daemon");
    assert_eq!(ask(connect(place.port()), "version\r\n"), "VERSION 1.6.200\r\n");
    daemon.end(Signal::TERM);
    assert!(!place.path("pid").exists());
}

#[test]
fn a_daemon_that_does_not_start_says_why() {
    let place = Place::doled();
    place.refused(&["-d", "-p", "-1", "-P", "no/such/directory/pid"], "--pidfile");
    place.refused(&["-d", "-p", "x"], "--port \"x\"");
    let node = place.start(&["-p", "-1"]);
    place.refused(&["-d", "-p", &place.port().to_string()], "cannot listen on");
    node.end(Signal::TERM);
}

#[test]
fn a_unix_socket_has_its_mask_and_turns_the_network_off() {
    let place = Place::doled();
    let node = Running(place.command(&["-s", "socket", "-a", "0640"]).spawn().expect("the program runs"));
    wait_for("the socket", || UnixStream::connect(place.path("socket")).is_ok());
    let mode = fs::metadata(place.path("socket")).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let stream = UnixStream::connect(place.path("socket")).expect("a node that listens");
    assert_eq!(ask(stream, "version\r\n"), "VERSION 1.6.200\r\n");
    node.end(Signal::TERM);
    assert!(!place.path("socket").exists() && !place.path("ports").exists());
}

#[test]
fn under_the_name_memcached_it_is_one() {
    let place = Place::memcached();
    let node = place.start(&["-p", "-1", "-A"]);
    assert_eq!(setting(place.port(), "inter"), "0.0.0.0");
    assert_eq!(ask(connect(place.port()), "version\r\n"), "VERSION 1.6.200\r\n");
    connect(place.port()).write_all(b"shutdown\r\n").expect("a node that reads");
    node.ends_well();
}

#[test]
fn with_u_it_serves_udp_on_loopback() {
    let place = Place::memcached();
    let node = place.start(&["-p", "-1", "-U", "-1"]);
    let udp = place.ports("UDP INET");
    assert_eq!((udp.len(), setting(place.port(), "udpport")), (1, udp[0].to_string()));
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    socket.send_to(b"\x01\x02\0\0\0\x01\0\0mn\r\n", ("127.0.0.1", udp[0])).expect("sent");
    let mut reply = [0; 100];
    let len = socket.recv(&mut reply).expect("a reply");
    assert_eq!(&reply[..len], b"\x01\x02\0\0\0\x01\0\0MN\r\n");
    node.end(Signal::TERM);
    place.refused(&["-U", "5", "-l", "0.0.0.0"], "every address");
}

#[test]
fn under_the_name_memcached_it_is_a_daemon_too() {
    let place = Place::memcached();
    let output = place.output(&["-d", "-p", "-1", "-l", "127.0.0.1", "-P", "pid"]);
    assert!(output.status.success(), "{output:?}");
    let daemon = Daemon::of(&place.path("pid"));
    assert_eq!(ask(connect(place.port()), "version\r\n"), "VERSION 1.6.200\r\n");
    daemon.end(Signal::INT);
}

#[test]
fn it_prints_what_tools_look_for() {
    let place = Place::memcached();
    let print = |args: &[&str]| {
        let output = place.output(args);
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(print(&["-V"]), "memcached 1.6.200\n");
    assert_eq!(print(&["--version"]), "memcached 1.6.200\n");
    assert!(print(&["-i"]).contains("MIT"));
    let help = print(&["-h"]);
    for flag in [
        "-s, --unix-socket",
        "-A, --enable-shutdown",
        "-o, --extended",
        "-F, --disable-flush-all",
        "-S, --enable-sasl",
        "-Y, --auth-file",
        "-e, --memory-file",
    ] {
        assert!(help.contains(flag), "{flag} is missing");
    }
    for absent in ["ext_", "proxy_", "drop_privileges", "debugtime"] {
        assert!(!help.to_lowercase().contains(absent), "{absent} is not there");
    }
}

#[test]
fn with_sasl_nothing_is_done_before_the_password() {
    let place = Place::memcached();
    fs::write(place.path("users"), "tester:secret:\n").expect("a file");
    let mut command = place.command(&["-p", "-1", "-S"]);
    let node = Running(command.env("MEMCACHED_SASL_PWDB", place.path("users")).spawn().expect("it runs"));
    wait_for("the port file", || place.path("ports").exists());
    let mut stream = connect(place.port());
    let mut ask = |opcode: u8, key: &str, value: &str| {
        let mut request = vec![0x80, opcode, 0, key.len() as u8, 0, 0, 0, 0];
        request.extend_from_slice(&((key.len() + value.len()) as u32).to_be_bytes());
        request.resize(24, 0);
        stream.write_all(&[&request, key.as_bytes(), value.as_bytes()].concat()).expect("a node that reads");
        let mut head = [0; 24];
        stream.read_exact(&mut head).expect("an answer");
        let len = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        stream.read_exact(&mut vec![0; len as usize]).expect("the rest of it");
        u16::from_be_bytes([head[6], head[7]])
    };
    let (sasl_auth, no_op) = (0x21, 0x0a);
    assert_eq!(ask(sasl_auth, "PLAIN", "\0tester\0wrong"), 0x20);
    assert_eq!(ask(sasl_auth, "PLAIN", "\0tester\0secret"), 0);
    assert_eq!(ask(no_op, "", ""), 0);
    node.end(Signal::TERM);
}

#[test]
fn the_auth_file_is_checked_and_read_again_by_signal() {
    let place = Place::memcached();
    fs::write(place.path("users"), "anna:one\nsecret\n").expect("a file");
    let users = place.path("users").display().to_string();
    let refused = place.output(&["-p", "-1", "-Y", &users]);
    let error = String::from_utf8(refused.stderr).expect("text");
    assert!(
        !refused.status.success() && error.contains("users: line 2") && !error.contains("secret"),
        "{error}"
    );

    fs::write(place.path("users"), "anna:one\n").expect("a file");
    let node = place.start(&["-p", "-1", "-Y", &users]);
    let login = |password: &str| ask(connect(place.port()), &format!("set a 0 0 8\r\nanna {password}\r\n"));
    assert_eq!(ask(connect(place.port()), "version\r\n"), "CLIENT_ERROR unauthenticated\r\n");
    assert_eq!(login("one"), "STORED\r\n");
    fs::write(place.path("users"), "anna:two\n").expect("a file");
    assert_eq!(login("two"), "CLIENT_ERROR authentication failure\r\n");
    kill_process(node.pid(), Signal::HUP).expect("a running node");
    wait_for("the new password", || login("two") == "STORED\r\n");
    assert_eq!(login("one"), "CLIENT_ERROR authentication failure\r\n");
    node.end(Signal::TERM);
}

#[test]
fn a_guarded_daemon_names_its_guardian() {
    let place = Place::doled();
    // No manager lives at this address, which a node starts without.
    let managed = ["--managed", "--manager", "127.0.0.1:1", "--node", "n", "--data", "data"];
    let output = place.output(&[&["-d", "-p", "-1", "-P", "pid"], &managed[..]].concat());
    // It may have said already that it reaches no manager.
    assert!(output.status.success(), "{output:?}");
    let guardian = Daemon::of(&place.path("pid"));
    let children = format!("/proc/{0}/task/{0}/children", guardian.0.as_raw_pid());
    let node: i32 = fs::read_to_string(children).expect("its children").trim().parse().expect("one child");
    let node = Daemon(Pid::from_raw(node).expect("a pid"));
    assert!(ask(connect(place.port()), "node\r\n").starts_with("NODE 0 n "));
    kill_process(guardian.0, Signal::HUP).expect("a running guardian");
    assert_eq!(ask(connect(place.port()), "version\r\n"), "VERSION 1.6.200\r\n");
    guardian.end(Signal::USR1);
    assert!(!is_alive(node.0));
}

#[test]
fn a_wrong_command_line_ends_it() {
    let place = Place::memcached();
    place.refused(&["-Z"], "-Z (--enable-ssl)");
    place.refused(&["--foo"], "--foo");
    place.refused(&["-o", "foo"], "-o \"foo\"");
    place.refused(&["foo"], "foo");
}

#[test]
fn what_means_nothing_is_said_with_v() {
    let place = Place::doled();
    let mut child =
        place.command(&["-p", "-1", "-v", "-f", "1.1"]).stderr(Stdio::piped()).spawn().expect("runs");
    let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let node = Running(child);
    let lines = stderr.lines().map(|line| line.expect("a line"));
    let said: Vec<String> = lines.take_while(|line| !line.contains("listening on")).collect();
    assert_eq!(said, ["doled: without meaning here: -f (--slab-growth-factor): there are no slabs"]);
    node.end(Signal::TERM);
}

#[test]
fn commands_and_replies_are_told_with_vv() {
    let place = Place::memcached();
    let said = place.path("said");
    let mut command = place.command(&["-p", "-1", "-l", "127.0.0.1", "-vv", "-t", "1"]);
    command.stderr(fs::File::create(&said).expect("a file"));
    let running = Running(command.spawn().expect("the program runs"));
    wait_for("the port file", || place.path("ports").exists());
    let mut client = connect(place.port());
    let sent = "get foo\r\nset a\x01 0 0 1\r\nx\r\ngets a\x01\r\nbogus\r\nverbosity 0\r\n";
    client.write_all(sent.as_bytes()).expect("it is sent");
    let told = || fs::read_to_string(&said).expect("the file");
    wait_for("the last reply", || told().contains(">0 OK"));
    drop(running);
    let told = told();
    let of_client: Vec<&str> = told.lines().filter(|line| line.contains('0') && line.len() > 2).collect();
    for line in [
        "<0 new auto-negotiating client connection",
        "<0 get foo",
        ">0 END",
        "<0 set a\\x01 0 0 1",
        ">0 STORED",
        ">0 sending key a\\x01",
        ">0 ERROR",
        "<0 verbosity 0",
    ] {
        assert!(of_client.contains(&line), "{line} in {told}");
    }
    assert!(told.contains(" server listening (auto-negotiate)"), "{told}");
}

#[test]
fn root_names_a_user_for_memcached() {
    if !geteuid().is_root() {
        return;
    }
    let mut place = Place::memcached();
    place.first = &[];
    place.refused(&["-p", "-1"], "can't run as root without the -u switch");
    place.refused(&["-p", "-1", "-u", "nosuchuser"], "--user \"nosuchuser\": no such user");
    let everybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(place.dir.path(), everybody).expect("permissions");
    let node = place.start(&["-p", "-1", "-u", "nobody", "-c", "100"]);
    assert_eq!(ask(connect(place.port()), "version\r\n"), "VERSION 1.6.200\r\n");
    let tasks = fs::read_dir(format!("/proc/{}/task", node.pid().as_raw_pid())).expect("its threads");
    for task in tasks {
        let status = fs::read_to_string(task.expect("a thread").path().join("status")).expect("a status");
        let uids = status.lines().find(|line| line.starts_with("Uid:")).expect("its users");
        assert!(!uids.split_whitespace().any(|uid| uid == "0"), "{uids}");
    }
    node.end(Signal::TERM);
}

#[test]
fn too_few_descriptors_are_told() {
    let place = Place::doled();
    let program = place.program.to_str().expect("a path");
    // Who may raise limits, as root may in most places, is not refused.
    let can_raise = 7;
    let script = format!(
        "ulimit -n 200; if ulimit -n 600 2>/dev/null; then exit {can_raise}; fi; exec {program} serve -p -1 -c 500"
    );
    let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().expect("a shell");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_told = error.contains("--conn-limit 500: this process may open only 200 files");
    assert!(output.status.code() == Some(can_raise) || is_told, "{error}");
}
