//! The node's own scripts through the proxy: they answer as a single node does, before a pool and before a cluster.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use stdx::ByteSize;

use crate::script::{Block, Names, Script};
use crate::servers::{Cluster, Front, Server};
use crate::socket::Socket;

/// Scripts of what a proxy passes on, and does not decide itself.
const SCRIPTS: &[&str] = &["arith", "errors", "noreply", "pipeline", "storage", "unmanaged"];

/// Commands about a server's own memory, which a proxy has not.
const NOT_PROXIED: &[&str] = &["cache_memlimit"];

/// When it is answered, all before it was.
const SENTINEL: &[u8] = b"mn\r\n";
const SENTINEL_REPLY: &[u8] = b"MN\r\n";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../server/tests/{name}.test"))
}

#[test]
fn a_pool_answers_as_one_node_does() {
    for name in SCRIPTS.iter().chain(&["flush", "large"]) {
        let item_size_max = if *name == "large" { ByteSize::kib(4) } else { ByteSize::mib(1) };
        let servers: Vec<Server> = (0..3).map(|_| Server::with_items_of(item_size_max)).collect();
        let front = Front::pool(servers.iter().map(Server::address));
        check(name, &front, NOT_PROXIED);
    }
}

#[test]
fn a_cluster_answers_as_one_node_does() {
    for name in SCRIPTS {
        let cluster = Cluster::start(2);
        check(name, &cluster.front(), &[NOT_PROXIED, &["flush_all"]].concat());
    }
}

#[track_caller]
fn check(name: &str, front: &Front, left_out: &[&str]) {
    let script = Script::load(&path(name));
    let mut run = Run { front, sockets: BTreeMap::new(), names: Names::default() };
    let has_any = |line: &String| left_out.iter().any(|word| line.starts_with(word));
    for block in script.blocks.iter().filter(|block| !block.lines.iter().any(has_any)) {
        let got = run.block(block);
        assert_eq!(got, block.expected, "\n{name}.test:\n{}", block.lines.join("\n"));
    }
}

struct Run<'a> {
    front: &'a Front,
    sockets: BTreeMap<String, Socket>,
    names: Names,
}

impl Run<'_> {
    fn block(&mut self, block: &Block) -> String {
        let mut name = "main";
        let mut bytes = Vec::new();
        for line in &block.lines {
            match line.strip_prefix("!conn ") {
                Some(rest) => name = rest,
                None => bytes.extend(self.names.encode(line, || 0)),
            }
        }
        let (output, is_closed) = self.exchange(name, &bytes);
        self.names.decode(&output, is_closed)
    }

    /// Sends, and returns what came back until all is answered or the connection is closed.
    fn exchange(&mut self, name: &str, bytes: &[u8]) -> (Vec<u8>, bool) {
        let front = self.front;
        let socket = self.sockets.entry(name.to_owned()).or_insert_with(|| front.connect());
        // The proxy may close before all is sent.
        let _ = socket.0.write_all(bytes).and_then(|()| socket.0.write_all(SENTINEL));
        let (mut output, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match socket.0.read(&mut buffer) {
                Ok(0) => return (output, true),
                Ok(n) => output.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return (output, true),
                Err(error) => panic!("no answer to {}: {error}", bytes.escape_ascii()),
            }
            if output.ends_with(SENTINEL_REPLY) {
                output.truncate(output.len() - SENTINEL_REPLY.len());
                return (output, false);
            }
        }
    }
}
