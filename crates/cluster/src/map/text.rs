//! The map as text: one encoding for the node's `map` word, for poll replies, and for files.
//!
//! ```text
//! doled-map 1
//! cluster 1234
//! version 4294967299
//! since 0                              <- 0: the whole map; else only the buckets changed after that version
//! hash xxh3-64 49
//! node n1 127.0.0.1:11311              <- all nodes, also in a delta; '-' where the address is not known yet
//! buckets 0 32768 4294967299 n1        <- first, count, generation, owner or '-'
//! end
//! ```
//!
//! It comes from the network: nothing in it is believed before all of it was read, so a refused text leaves
//! the map as it was.

use std::collections::BTreeMap;
use std::str::FromStr;

use proto::limits::{ADDRESS_LEN_MAX, MAP_TEXT_LEN_MAX};
use proto::{BUCKET_COUNT, Bucket, ClusterId, Generation, MapVersion, NodeId};

use super::{Map, MapNode, NOBODY};
use crate::limits::NODES_MAX;

/// Why a map text was refused; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Longer than any map.
    #[error("a map text of {0} bytes is longer than the {MAP_TEXT_LEN_MAX} that a map can have")]
    TooLong(usize),
    /// Not a map, or one that contradicts itself or what is known.
    #[error("map line {line}: {rule}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The value and the rule that it breaks.
        rule: String,
    },
    /// The map of someone else.
    #[error("the map is of cluster {theirs}, not of {ours}")]
    OtherCluster {
        /// The cluster of the text.
        theirs: ClusterId,
        /// The cluster of the map held.
        ours: ClusterId,
    },
    /// An older map than the one held.
    #[error("map version {theirs} is older than {ours}")]
    Older {
        /// The version of the text.
        theirs: MapVersion,
        /// The version held.
        ours: MapVersion,
    },
    /// A delta that starts after the map held: ask for the whole map.
    #[error("the delta starts at version {since}, the map held is {ours}")]
    Gap {
        /// Where the delta starts.
        since: MapVersion,
        /// The version held.
        ours: MapVersion,
    },
}

/// Writes a map; `since` is `NONE` for the whole.
pub(super) fn encode(map: &Map, since: MapVersion) -> Vec<u8> {
    let mut out = format!(
        "doled-map 1\ncluster {}\nversion {}\nsince {since}\nhash xxh3-64 49\n",
        map.cluster, map.version
    );
    for node in &map.nodes {
        let address = if node.address.is_empty() { "-" } else { &node.address };
        out.extend(["node ", node.id.as_str(), " ", address, "\n"]);
    }
    let runs = if since == MapVersion::NONE { map.runs() } else { map.runs_since(since) };
    for run in runs {
        let owner = run.owner.and_then(|owner| map.nodes.get(owner)).map_or("-", |node| node.id.as_str());
        let line = format!("buckets {} {} {} {owner}\n", run.first, run.count, run.generation);
        out.push_str(&line);
    }
    out.push_str("end\n");
    out.into_bytes()
}

/// Reads a map text and takes it over.
pub(super) fn apply(map: &mut Map, text: &[u8]) -> Result<bool, ApplyError> {
    if text.len() > MAP_TEXT_LEN_MAX {
        return Err(ApplyError::TooLong(text.len()));
    }
    let text = std::str::from_utf8(text).map_err(|error| ApplyError::Line {
        line: 1 + text[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count(),
        rule: "the text is not UTF-8".to_owned(),
    })?;
    let mut lines = Lines { rest: text, number: 0 };
    let header = Header::read(&mut lines)?;
    if !header.is_news_for(map)? {
        return Ok(false);
    }
    let body = Body::read(&mut lines, &header)?;
    body.check_against(map, &header)?;
    body.install(map, &header);
    Ok(true)
}

/// The lines of a text, with their number for messages.
struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    /// The next line without its end; every line must have one.
    fn next(&mut self) -> Result<&'a str, ApplyError> {
        self.number += 1;
        let Some((line, rest)) = self.rest.split_once('\n') else {
            return Err(self.refuse("the text ends before its \"end\" line"));
        };
        self.rest = rest;
        Ok(line)
    }

    /// The next line, which must be `word value`.
    fn value(&mut self, word: &str) -> Result<&'a str, ApplyError> {
        let line = self.next()?;
        line.strip_prefix(word)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or_else(|| self.refuse(format!("\"{}\" stands where \"{word} …\" must", cut(line))))
    }

    fn number<T: FromStr>(&self, text: &str, what: &str) -> Result<T, ApplyError> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| digits)
            .ok_or_else(|| self.refuse(format!("{what} \"{}\" is not a number in range", cut(text))))
    }

    fn refuse(&self, rule: impl Into<String>) -> ApplyError {
        ApplyError::Line { line: self.number, rule: rule.into() }
    }
}

struct Header {
    cluster: ClusterId,
    version: MapVersion,
    since: MapVersion,
}

impl Header {
    fn read(lines: &mut Lines<'_>) -> Result<Self, ApplyError> {
        let format = lines.value("doled-map")?;
        if format != "1" {
            return Err(lines.refuse(format!("map format \"{}\" is not known, only 1 is", cut(format))));
        }
        let text = lines.value("cluster")?;
        let cluster = ClusterId(lines.number(text, "cluster")?);
        if cluster.0 == 0 {
            return Err(lines.refuse("cluster 0 is no cluster"));
        }
        let text = lines.value("version")?;
        let version = MapVersion(lines.number(text, "version")?);
        if version == MapVersion::NONE {
            return Err(lines.refuse("version 0 is no map"));
        }
        let text = lines.value("since")?;
        let since = MapVersion(lines.number(text, "since")?);
        if since >= version {
            return Err(lines.refuse(format!("a delta since {since} cannot lead to version {version}")));
        }
        let hash = lines.value("hash")?;
        if hash != "xxh3-64 49" {
            return Err(lines.refuse(format!("hash \"{}\" is not known, only xxh3-64 49 is", cut(hash))));
        }
        Ok(Self { cluster, version, since })
    }

    fn is_news_for(&self, map: &Map) -> Result<bool, ApplyError> {
        if map.cluster.0 != 0 && map.cluster != self.cluster {
            return Err(ApplyError::OtherCluster { theirs: self.cluster, ours: map.cluster });
        }
        if self.version < map.version {
            return Err(ApplyError::Older { theirs: self.version, ours: map.version });
        }
        if self.since > map.version {
            return Err(ApplyError::Gap { since: self.since, ours: map.version });
        }
        Ok(self.version > map.version)
    }

    fn is_whole(&self) -> bool {
        self.since == MapVersion::NONE
    }
}

struct Body {
    nodes: Vec<MapNode>,
    runs: Vec<ReadRun>,
}

/// A `buckets` line.
struct ReadRun {
    line: usize,
    first: usize,
    /// One past the last bucket.
    end: usize,
    generation: Generation,
    owner: u16,
}

impl Body {
    fn read(lines: &mut Lines<'_>, header: &Header) -> Result<Self, ApplyError> {
        let mut body = Self { nodes: Vec::new(), runs: Vec::new() };
        let mut index = BTreeMap::new();
        loop {
            let line = lines.next()?;
            if let Some(text) = line.strip_prefix("buckets ") {
                let run = Self::read_run(lines, header, text, &index)?;
                body.push_run(lines, header, run)?;
            } else if let Some(text) = line.strip_prefix("node ").filter(|_| body.runs.is_empty()) {
                body.push_node(lines, text, &mut index)?;
            } else if line == "end" {
                break;
            } else {
                return Err(lines.refuse(format!("\"{}\" is no line of a map here", cut(line))));
            }
        }
        let covered = body.runs.last().map_or(0, |run| run.end);
        if header.is_whole() && covered != BUCKET_COUNT {
            return Err(lines.refuse(format!("a whole map ends at bucket {covered}, not at {BUCKET_COUNT}")));
        }
        if !lines.rest.is_empty() {
            lines.number += 1;
            return Err(lines.refuse("something follows the \"end\" line"));
        }
        Ok(body)
    }

    fn push_node<'a>(
        &mut self,
        lines: &Lines<'_>,
        text: &'a str,
        index: &mut BTreeMap<&'a str, u16>,
    ) -> Result<(), ApplyError> {
        let Some((name, address)) = text.split_once(' ') else {
            return Err(lines.refuse("a node line is: node <name> <host:port>"));
        };
        let id = NodeId::from_str(name).map_err(|error| lines.refuse(error.to_string()))?;
        let address = if address == "-" { "" } else { address };
        if !address.is_empty() && !is_address(address) {
            return Err(lines.refuse(format!("\"{}\" is not a host:port", cut(address))));
        }
        if self.nodes.len() == NODES_MAX {
            return Err(lines.refuse(format!("a map has at most {NODES_MAX} nodes")));
        }
        if index.insert(name, self.nodes.len() as u16).is_some() {
            return Err(lines.refuse(format!("node {name} is named twice")));
        }
        self.nodes.push(MapNode { id, address: address.to_owned() });
        Ok(())
    }

    fn read_run(
        lines: &Lines<'_>,
        header: &Header,
        text: &str,
        index: &BTreeMap<&str, u16>,
    ) -> Result<ReadRun, ApplyError> {
        let mut words = text.split(' ');
        let (Some(first), Some(count), Some(generation), Some(owner), None) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return Err(lines.refuse("a buckets line is: buckets <first> <count> <generation> <name or ->"));
        };
        let first: usize = lines.number(first, "first bucket")?;
        let count: usize = lines.number(count, "bucket count")?;
        let generation = Generation(lines.number(generation, "generation")?);
        let Some(end) = first.checked_add(count).filter(|&end| count > 0 && end <= BUCKET_COUNT) else {
            return Err(
                lines.refuse(format!("{count} buckets from {first} on are not within 0 to {BUCKET_COUNT}"))
            );
        };
        if generation.0 > header.version.0 {
            let version = header.version;
            return Err(lines.refuse(format!("generation {generation} is above the map's version {version}")));
        }
        if !header.is_whole() && generation.0 <= header.since.0 {
            let since = header.since;
            return Err(
                lines.refuse(format!("generation {generation} is not newer than the delta's start {since}"))
            );
        }
        let owner = match owner {
            "-" => NOBODY,
            name => *index
                .get(name)
                .ok_or_else(|| lines.refuse(format!("owner \"{}\" is no node of the map", cut(name))))?,
        };
        if owner != NOBODY && generation == Generation::NONE {
            return Err(lines.refuse("an owned bucket has a generation"));
        }
        Ok(ReadRun { line: lines.number, first, end, generation, owner })
    }

    fn push_run(&mut self, lines: &Lines<'_>, header: &Header, run: ReadRun) -> Result<(), ApplyError> {
        let covered = self.runs.last().map_or(0, |run| run.end);
        if run.first < covered {
            return Err(lines.refuse(format!("bucket {} comes again or out of order", run.first)));
        }
        if header.is_whole() && run.first != covered {
            return Err(lines.refuse(format!("bucket {covered} is missing in a whole map")));
        }
        if run.owner != NOBODY && self.nodes.get(usize::from(run.owner)).is_some_and(|n| n.address.is_empty())
        {
            return Err(lines.refuse("a node without an address owns nothing"));
        }
        self.runs.push(run);
        Ok(())
    }

    /// The rules between this text and the map held: generations never go back, and one generation has one
    /// owner for ever.
    fn check_against(&self, map: &Map, header: &Header) -> Result<(), ApplyError> {
        for run in &self.runs {
            let owner = self.nodes.get(usize::from(run.owner)).map(|node| &node.id);
            for bucket in run.first..run.end {
                let refuse = |rule: String| Err(ApplyError::Line { line: run.line, rule });
                let held = map.generations[bucket];
                if run.generation < held {
                    return refuse(format!(
                        "bucket {bucket} goes back from generation {held} to {}",
                        run.generation
                    ));
                }
                let held_owner = map.nodes.get(usize::from(map.owners[bucket])).map(|node| &node.id);
                if run.generation == held && held_owner != owner {
                    return refuse(format!(
                        "bucket {bucket} has another owner under the same generation {held}"
                    ));
                }
            }
        }
        if header.is_whole() { Ok(()) } else { self.check_kept_owners(map) }
    }

    /// In a delta, what it doesn't mention keeps its owner, who must still be there.
    fn check_kept_owners(&self, map: &Map) -> Result<(), ApplyError> {
        let gone: Vec<bool> =
            map.nodes.iter().map(|old| !self.nodes.iter().any(|n| n.id == old.id)).collect();
        if !gone.contains(&true) {
            return Ok(());
        }
        let mut runs = self.runs.iter().peekable();
        for bucket in Bucket::all() {
            while runs.next_if(|run| run.end <= bucket.index()).is_some() {}
            let mentioned = runs.peek().is_some_and(|run| run.first <= bucket.index());
            let owner = map.owner_index(bucket).filter(|&owner| gone.get(owner) == Some(&true));
            if let (false, Some(owner)) = (mentioned, owner) {
                let name = &map.nodes[owner].id;
                let rule = format!("node {name} is gone but still owns bucket {bucket}");
                return Err(ApplyError::Line { line: 6, rule });
            }
        }
        Ok(())
    }

    fn install(self, map: &mut Map, header: &Header) {
        map.cluster = header.cluster;
        map.version = header.version;
        if !header.is_whole() && map.nodes.iter().zip(&self.nodes).any(|(old, new)| old.id != new.id) {
            let position =
                |id: &NodeId| self.nodes.iter().position(|n| n.id == *id).map_or(NOBODY, |i| i as u16);
            let moved: Vec<u16> = map.nodes.iter().map(|old| position(&old.id)).collect();
            for owner in &mut map.owners {
                *owner = moved.get(usize::from(*owner)).copied().unwrap_or(NOBODY);
            }
        }
        map.nodes = self.nodes;
        for run in &self.runs {
            map.generations[run.first..run.end].fill(run.generation);
            map.owners[run.first..run.end].fill(run.owner);
        }
    }
}

/// True for `host:port`: no spaces or control characters, a port of 1 to 65535.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let port_ok = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let legal = |b: u8| b.is_ascii_graphic();
    !host.is_empty() && text.len() <= ADDRESS_LEN_MAX && host.bytes().all(legal) && port_ok
}

/// At most 40 characters of a stranger's text, for a message.
fn cut(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_default).collect()
}
