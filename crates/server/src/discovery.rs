//! The list of nodes that clients with auto-discovery ask for: `config get cluster`, as ElastiCache answers it, and
//! the older `get AmazonElastiCache:cluster`.
//!
//! It says what the operator wrote, whatever the node is: a managed node's clients are proxies, and who can't say
//! `bg` must not be sent to its neighbours, so the list is never made from a map. Owned by the options and shared by
//! all workers; a file is read again when asked (SIGHUP), and a wrong one changes nothing.
//!
//! **Invariants**: the list can be answered as it is, in one line of `host|ip|port` with single spaces between; its
//! version never goes back while the node lives, since clients compare it.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::limits::DISCOVERY_LEN_MAX;

/// The key under which clients of engines before 1.4.14 ask.
pub(crate) const DISCOVERY_KEY: &[u8] = b"AmazonElastiCache:cluster";

/// A list of nodes. Clones share what is read again.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// `None`: given otherwise, and never read again.
    path: Option<PathBuf>,
    list: Arc<RwLock<List>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct List {
    version: u64,
    nodes: String,
}

/// Why a file gives no list.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// It can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no such file.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: ListError,
    },
}

/// What is wrong in a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not read to its end.
    #[error("longer than {DISCOVERY_LEN_MAX} bytes")]
    TooLong,
    /// The first line.
    #[error(
        "the first line is \"{0}\": it must be the list's version, a number from 1 that grows with each change"
    )]
    NoVersion(String),
    /// Nobody.
    #[error("there is no node")]
    Empty,
    /// A node that clients could not read.
    #[error("the node \"{0}\": write host:port or host|ip|port, without \"END\" in it")]
    BadNode(String),
    /// Clients would not look at it.
    #[error("version {new} is not above {old}, which clients have seen with other nodes")]
    OldVersion {
        /// In the file.
        new: u64,
        /// Until now.
        old: u64,
    },
}

impl Discovery {
    /// A list of nodes, `host:port` or `host|ip|port`, with white space or commas between them.
    pub fn of(version: u64, nodes: &str) -> Result<Self, ListError> {
        if nodes.len() as u64 > DISCOVERY_LEN_MAX {
            return Err(ListError::TooLong);
        }
        let list = List { version, nodes: nodes_of(nodes)? };
        Ok(Self { path: None, list: Arc::new(RwLock::new(list)) })
    }

    /// Reads a file: the version in the first line, nodes in the others.
    pub fn open(path: &Path) -> Result<Self, DiscoveryError> {
        let failed = |source| DiscoveryError::Read { path: path.to_owned(), source };
        // Read again later, when a daemon has left this directory.
        let path = std::path::absolute(path).map_err(failed)?;
        let list = Arc::new(RwLock::new(read(&path)?));
        Ok(Self { path: Some(path), list })
    }

    /// Reads the file again, if it was one. After an error the list is that of before.
    pub fn reload(&self) -> Result<(), DiscoveryError> {
        let Some(path) = &self.path else { return Ok(()) };
        let new = read(path)?;
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        if new != *list && new.version <= list.version {
            let source = ListError::OldVersion { new: new.version, old: list.version };
            return Err(DiscoveryError::Content { path: path.clone(), source });
        }
        *list = new;
        Ok(())
    }

    /// Shows version and nodes.
    pub(crate) fn read(&self, show: impl FnOnce(u64, &str)) {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        show(list.version, &list.nodes);
    }
}

fn read(path: &Path) -> Result<List, DiscoveryError> {
    let failed = |source| DiscoveryError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(DISCOVERY_LEN_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    parse(&text).map_err(|source| DiscoveryError::Content { path: path.to_owned(), source })
}

fn parse(text: &str) -> Result<List, ListError> {
    if text.len() as u64 > DISCOVERY_LEN_MAX {
        return Err(ListError::TooLong);
    }
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let version = first.trim().parse().ok().filter(|version| *version > 0);
    let version = version.ok_or_else(|| ListError::NoVersion(first.trim().chars().take(40).collect()))?;
    Ok(List { version, nodes: nodes_of(rest)? })
}

fn nodes_of(text: &str) -> Result<String, ListError> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let nodes = words.map(node).collect::<Result<Vec<String>, _>>()?;
    if nodes.is_empty() { Err(ListError::Empty) } else { Ok(nodes.join(" ")) }
}

/// `host|ip|port`. Of `host:port` the ip is known if the host is one; else it stays empty, and clients take the host.
fn node(word: &str) -> Result<String, ListError> {
    let bad = || ListError::BadNode(word.chars().take(80).collect());
    let parts: Vec<&str> = word.split('|').collect();
    let (host, ip, port) = match parts[..] {
        [host, ip, port] => (host, ip, port),
        [address] => {
            let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            (host, if host.parse::<IpAddr>().is_ok() { host } else { "" }, port)
        }
        _ => return Err(bad()),
    };
    let is_good = !host.is_empty()
        && !word.contains("END")
        && word.bytes().all(|byte| byte.is_ascii_graphic())
        && (ip.is_empty() || ip.parse::<IpAddr>().is_ok())
        && port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_good { Ok(format!("{host}|{ip}|{port}")) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(discovery: &Discovery) -> String {
        let mut text = String::new();
        discovery.read(|version, nodes| text = format!("{version}: {nodes}"));
        text
    }

    #[test]
    fn lists_are_written_in_several_ways() {
        let check = |text: &str, expect: &str| assert_eq!(nodes_of(text).expect(text), expect);
        check("10.0.0.1:11211,cache.example:5", "10.0.0.1|10.0.0.1|11211 cache.example||5");
        check("[::1]:7\n a|10.0.0.1|8  b||9 \n", "::1|::1|7 a|10.0.0.1|8 b||9");
        for bad in [
            "a",
            "a:0",
            "a:70000",
            "a:x",
            "a|b",
            "a|b|5",
            "|10.0.0.1|5",
            ":5",
            "a|10.0.0.1|5|6",
            "aENDb:5",
            "\u{e4}:5",
        ] {
            assert_eq!(nodes_of(bad), Err(ListError::BadNode(bad.to_owned())));
        }
        assert_eq!(nodes_of(" , \n"), Err(ListError::Empty));
        assert!(matches!(parse("a:5\n"), Err(ListError::NoVersion(_))));
        assert!(matches!(parse("0\na:5\n"), Err(ListError::NoVersion(_))));
        assert_eq!(parse("7\n"), Err(ListError::Empty));
        let long = "a:5 ".repeat(20_000);
        assert_eq!(parse(&format!("1\n{long}")), Err(ListError::TooLong));
        assert!(Discovery::of(1, &long).is_err());
    }

    #[test]
    fn a_file_is_read_again_and_its_version_never_goes_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("nodes");
        assert!(Discovery::open(&path).is_err());
        std::fs::write(&path, "3\na:5\n").expect("a file");
        let discovery = Discovery::open(&path).expect("a list");
        discovery.reload().expect("nothing new");
        for wrong in ["2\na:5 b:5\n", "3\na:5 b:5\n", "2\na:5\n", "4\n", "x"] {
            std::fs::write(&path, wrong).expect("a file");
            let error = discovery.reload().expect_err(wrong).to_string();
            assert!(error.contains("nodes: "), "{error}");
            assert_eq!(shown(&discovery), "3: a||5", "{wrong}");
        }
        std::fs::write(&path, "4\na:5\nb:5\n").expect("a file");
        discovery.clone().reload().expect("a newer list");
        assert_eq!(shown(&discovery), "4: a||5 b||5");
        assert!(Discovery::of(1, "a:5").expect("a list").reload().is_ok());
    }
}
