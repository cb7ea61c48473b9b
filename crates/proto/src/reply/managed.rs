//! Answers of managed nodes: `CLOCK <incarnation> <ms>`, `NODE <cluster> <name> <incarnation>`,
//! `MAP <version> <length>` with a text and `END`.

use super::{Reply, Stop, Whole, line};
use crate::ids::{ClusterId, Incarnation, MapVersion, NodeId};
use crate::limits::MAP_TEXT_LEN_MAX;
use crate::tokens::{Tokens, unsigned};

/// The node's clock, for deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Whose clock; another incarnation has another.
    pub incarnation: Incarnation,
    /// Milliseconds since a random point.
    pub ms: u64,
}

/// Who answers, checked before anything else is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node's cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub name: NodeId,
    /// Its present life.
    pub incarnation: Incarnation,
}

/// The newest map that the node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map<'a> {
    /// The version of it.
    pub version: MapVersion,
    /// Map or delta as text (`cluster::map`); empty when there is nothing newer than was asked for.
    pub text: &'a [u8],
}

pub(super) fn clock(line: &[u8]) -> Option<Clock> {
    let mut words = Tokens::new(line.strip_prefix(b"CLOCK ")?);
    let incarnation = Incarnation(unsigned(words.next()?)?);
    let ms = unsigned(words.next()?)?;
    words.next().is_none().then_some(Clock { incarnation, ms })
}

/// Once per connection, so the name may be allocated.
pub(super) fn node(line: &[u8]) -> Option<Node> {
    let mut words = Tokens::new(line.strip_prefix(b"NODE ")?);
    let cluster = ClusterId(unsigned(words.next()?)?);
    let name = str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let incarnation = Incarnation(unsigned(words.next()?)?);
    words.next().is_none().then_some(Node { cluster, name, incarnation })
}

pub(super) fn decode_map(buf: &[u8]) -> Whole<'_> {
    const END: &[u8] = b"\r\nEND\r\n";
    let (header, header_len) = line::first(buf)?;
    let Some(words) = header.strip_prefix(b"MAP ") else {
        return line::failure(header).map(|reply| (reply, header_len)).ok_or(Stop::Bad);
    };
    let (version, len) = map_header(words).ok_or(Stop::Bad)?;
    let consumed = header_len + len + END.len();
    let Some(body) = buf.get(header_len..consumed) else {
        return Err(Stop::NeedMore { at_least: consumed });
    };
    let text = body.strip_suffix(END).ok_or(Stop::Bad)?;
    Ok((Reply::Map(Map { version, text }), consumed))
}

fn map_header(words: &[u8]) -> Option<(MapVersion, usize)> {
    let mut words = Tokens::new(words);
    let version = MapVersion(unsigned(words.next()?)?);
    let len = usize::try_from(unsigned(words.next()?)?).ok().filter(|&len| len <= MAP_TEXT_LEN_MAX)?;
    words.next().is_none().then_some((version, len))
}
