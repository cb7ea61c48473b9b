//! libmemcached's tools as judges: `memccapable` finds in the node what it finds in memcached, and the others
//! show a password.
//!
//! Each test of `memccapable` is a run of its own: after a failure it goes on with the same connection, and
//! everything that follows fails too.

use std::process::Command;

use doled_server::{Credentials, Node, ServerOptions};

use super::judge::Memcached;

const TESTS: [&str; 27] = [
    "noop", "quit", "quitq", "set", "setq", "flush", "flushq", "add", "addq", "replace", "replaceq",
    "delete", "deleteq", "get", "getq", "getk", "getkq", "incr", "incrq", "decr", "decrq", "version",
    "append", "appendq", "prepend", "prependq", "stat",
];

#[test]
fn memccapable_finds_no_difference_to_memcached() {
    if Command::new("memccapable").arg("-h").output().is_err() {
        eprintln!("SKIPPED: no memccapable is installed");
        return;
    }
    let node = Node::start(ServerOptions::default()).unwrap();
    let ours = run_all(node.tcp_address().unwrap().port());
    node.stop();
    node.wait();
    let failed: Vec<_> = ours.iter().filter(|(_, passed)| !passed).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let Some(memcached) = Memcached::start(&[]) else { return };
    assert_eq!(ours, run_all(memcached.port));
}

/// Which test passes.
fn run_all(port: u16) -> Vec<(&'static str, bool)> {
    TESTS.into_iter().map(|name| (name, run(port, name))).collect()
}

fn run(port: u16, name: &str) -> bool {
    let mut command = Command::new("memccapable");
    command.args(["-b", "-v", "-t", "10", "-h", "127.0.0.1", "-p", &port.to_string()]);
    let output = command.arg("-T").arg(format!("binary {name}")).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&format!("binary {name}")), "memccapable has no test {name}: {text}");
    let passed = output.status.success() && text.contains("[pass]");
    if !passed {
        eprintln!("memccapable {name} at port {port}: {text}");
    }
    passed
}

#[test]
fn libmemcached_shows_its_password() {
    if Command::new("memccp").arg("-h").output().is_err() {
        eprintln!("SKIPPED: libmemcached's tools are not installed");
        return;
    }
    let users: [(&[u8], &[u8]); 1] = [(b"anna", b"one")];
    let sasl = Some(Credentials::new(users).unwrap());
    let node = Node::start(ServerOptions { sasl, ..ServerOptions::default() }).unwrap();
    let servers = format!("--servers={}", node.tcp_address().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, "value").unwrap();
    let copy = |password: &str| {
        let mut command = Command::new("memccp");
        command.args(["--binary", "--username=anna", password, &servers]).arg(&file).output().unwrap()
    };
    let right = copy("--password=one");
    let said = String::from_utf8_lossy(&right.stderr);
    if said.contains("FAILED TO SEND AUTHENTICATION") {
        eprintln!("SKIPPED: the SASL library here has no PLAIN (libsasl2-modules)");
    } else {
        assert!(right.status.success(), "{said}");
        assert!(!copy("--password=two").status.success());
    }
    node.stop();
    node.wait();
}
