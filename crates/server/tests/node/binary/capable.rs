//! `memccapable` (libmemcached-tools): the node passes what memcached passes.
//!
//! Each of its tests is a run of its own: after a failure it goes on with the same connection, and everything
//! that follows fails too.

use std::process::Command;

use doled_server::{Node, ServerOptions};

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
