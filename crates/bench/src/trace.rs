//! Request traces: what was asked of some cache, in order. Read as a stream, so that a trace may be of any length.
//!
//! Compressed files (`.xz`, `.zst`, `.gz`, `.bz2`) go through the system's tool of that name.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use crate::limits::TRACE_LINE_MAX;

/// One request of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRequest {
    /// What is done.
    pub op: TraceOp,
    /// With which key.
    pub key: TraceKey,
    /// Length of the value, if the trace says it.
    pub value_len: Option<usize>,
    /// exptime in seconds, if the trace says it; 0: never.
    pub ttl_s: Option<u32>,
}

impl TraceRequest {
    /// A get of a key, of a trace that says no more.
    pub const fn get(key: TraceKey) -> Self {
        Self { op: TraceOp::Get, key, value_len: None, ttl_s: None }
    }
}

/// What a request of a trace does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceOp {
    /// Get; on a miss the key is stored.
    Get,
    /// Store.
    Set,
    /// Delete.
    Delete,
}

/// A key as the trace names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TraceKey {
    /// By number.
    Number(u64),
    /// As it is, 1 to 250 bytes without spaces.
    Text(Vec<u8>),
}

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFormat {
    /// A key on each line.
    Keys,
    /// Lines `start count …`: the keys from `start` on, `count` of them (the ARC traces, `.lis`).
    Lis,
    /// Lines `time,key,keysize,valuesize,client,op,ttl` (Twitter's).
    Twitter,
    /// Big-endian 32-bit numbers.
    I32,
    /// Big-endian 64-bit numbers.
    I64,
}

const FORMATS: &[(&str, TraceFormat)] = &[
    ("keys", TraceFormat::Keys),
    ("lis", TraceFormat::Lis),
    ("twitter", TraceFormat::Twitter),
    ("i32", TraceFormat::I32),
    ("i64", TraceFormat::I64),
];

/// Endings of compressed files, and the tool for each.
const TOOLS: &[(&str, &str)] = &[("xz", "xz"), ("zst", "zstd"), ("gz", "gzip"), ("bz2", "bzip2")];

/// A trace: `FILE`, or `FORMAT:FILE` where the format cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceFile {
    /// The file.
    pub path: PathBuf,
    /// Its format; `None`: by its name and its first bytes.
    pub format: Option<TraceFormat>,
}

impl FromStr for TraceFile {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let prefixed = text.split_once(':').and_then(|(name, path)| {
            let (_, format) = FORMATS.iter().find(|(known, _)| *known == name)?;
            Some(Self { path: path.into(), format: Some(*format) })
        });
        Ok(prefixed.unwrap_or_else(|| Self { path: text.into(), format: None }))
    }
}

impl fmt::Display for TraceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The tool that unpacks it is missing.
    #[error("{}: {tool} is needed to unpack it: {source}", path.display())]
    Tool {
        /// Which.
        path: PathBuf,
        /// The program.
        tool: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The tool failed.
    #[error("{}: {tool} cannot unpack it", path.display())]
    Torn {
        /// Which.
        path: PathBuf,
        /// The program.
        tool: &'static str,
    },
    /// A line or a number that is not of the format.
    #[error("{}: request {number} \"{text}\": {rule}", path.display())]
    Request {
        /// In which file.
        path: PathBuf,
        /// Which line or number, from 1.
        number: u64,
        /// As it stands there.
        text: String,
        /// What it should be.
        rule: &'static str,
    },
}

/// The requests of a trace.
pub struct TraceReader {
    path: PathBuf,
    format: TraceFormat,
    input: BufReader<Box<dyn Read + Send>>,
    tool: Option<(Child, &'static str)>,
    /// Lines or numbers read.
    number: u64,
    /// The rest of a `.lis` line: next key, keys left.
    range: (u64, u64),
    line: Vec<u8>,
}

/// Bytes that the format is guessed from.
const GUESS_LEN: usize = 256 << 10;

impl TraceFile {
    /// Opens it.
    pub fn open(&self) -> Result<TraceReader, TraceError> {
        let fail = |source| TraceError::Read { path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(fail)?;
        let ending = self.path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let mut tool = None;
        let mut name = self.path.clone();
        let input: Box<dyn Read + Send> = match TOOLS.iter().find(|(known, _)| *known == ending) {
            None => Box::new(file),
            Some(&(_, program)) => {
                name.set_extension("");
                let mut child =
                    Command::new(program).arg("-dc").stdin(file).stdout(Stdio::piped()).spawn().map_err(
                        |source| TraceError::Tool { path: self.path.clone(), tool: program, source },
                    )?;
                let output = child.stdout.take().expect("the output is a pipe");
                tool = Some((child, program));
                Box::new(output)
            }
        };
        let mut input = BufReader::with_capacity(GUESS_LEN, input);
        let format = match self.format {
            Some(format) => format,
            None => guess(&name, input.fill_buf().map_err(fail)?),
        };
        Ok(TraceReader {
            path: self.path.clone(),
            format,
            input,
            tool,
            number: 0,
            range: (0, 0),
            line: Vec::new(),
        })
    }
}

/// By the name; binary by its bytes.
fn guess(name: &Path, start: &[u8]) -> TraceFormat {
    match name.extension().and_then(|ending| ending.to_str()) {
        Some("lis") => return TraceFormat::Lis,
        Some("csv") => return TraceFormat::Twitter,
        _ => {}
    }
    if start.iter().all(|byte| matches!(byte, b'\t' | b'\r' | b'\n' | 0x20..=0x7e | 0x80..)) {
        let line = start.split(|&b| b == b'\n').next().unwrap_or_default();
        let commas = line.iter().filter(|&&b| b == b',').count();
        return if commas >= 6 { TraceFormat::Twitter } else { TraceFormat::Keys };
    }
    // In a file of 32-bit numbers the words at even and at odd places are the same ones; the high and the low halves
    // of 64-bit numbers are not.
    let halves = |skip: usize| -> HashSet<&[u8]> { start.chunks_exact(4).skip(skip).step_by(2).collect() };
    let (high, low) = (halves(0), halves(1));
    let common = high.intersection(&low).count();
    if high.len() <= 2 || common * 10 < high.len().min(low.len()) {
        TraceFormat::I64
    } else {
        TraceFormat::I32
    }
}

impl Iterator for TraceReader {
    type Item = Result<TraceRequest, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.range.1 > 0 {
                let key = self.range.0;
                self.range = (key.wrapping_add(1), self.range.1 - 1);
                return Some(Ok(TraceRequest::get(TraceKey::Number(key))));
            }
            match self.read_one() {
                Ok(Some(Found::Request(request))) => return Some(Ok(request)),
                Ok(Some(Found::Nothing)) => {}
                Ok(None) => return self.finish(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// What a line or a number brought.
enum Found {
    Request(TraceRequest),
    /// An empty line, a heading, or a range that is now in `range`.
    Nothing,
}

impl TraceReader {
    fn read_one(&mut self) -> Result<Option<Found>, TraceError> {
        match self.format {
            TraceFormat::I32 => self.number_of(4),
            TraceFormat::I64 => self.number_of(8),
            TraceFormat::Keys | TraceFormat::Lis | TraceFormat::Twitter => self.line_of(),
        }
    }

    fn number_of(&mut self, width: usize) -> Result<Option<Found>, TraceError> {
        let mut bytes = [0u8; 8];
        match self.input.read_exact(&mut bytes[8 - width..]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(source) => return Err(TraceError::Read { path: self.path.clone(), source }),
        }
        self.number += 1;
        let key = TraceKey::Number(u64::from_be_bytes(bytes));
        Ok(Some(Found::Request(TraceRequest::get(key))))
    }

    fn line_of(&mut self) -> Result<Option<Found>, TraceError> {
        self.line.clear();
        let read = self.input.by_ref().take(TRACE_LINE_MAX).read_until(b'\n', &mut self.line);
        let count = read.map_err(|source| TraceError::Read { path: self.path.clone(), source })?;
        if count == 0 {
            return Ok(None);
        }
        self.number += 1;
        let line = self.line.trim_ascii();
        if line.is_empty() {
            return Ok(Some(Found::Nothing));
        }
        let parsed = match self.format {
            TraceFormat::Lis => range(line).map(|range| {
                self.range = range;
                Found::Nothing
            }),
            TraceFormat::Twitter if self.number == 1 && line.starts_with(b"time") => Ok(Found::Nothing),
            TraceFormat::Twitter => twitter(line).map(Found::Request),
            _ => key(line).map(|key| Found::Request(TraceRequest::get(key))),
        };
        parsed.map(Some).map_err(|rule| TraceError::Request {
            path: self.path.clone(),
            number: self.number,
            text: String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned(),
            rule,
        })
    }

    /// After the last byte: whether the tool found the file whole.
    fn finish(&mut self) -> Option<Result<TraceRequest, TraceError>> {
        let (mut child, tool) = self.tool.take()?;
        let sound = child.wait().is_ok_and(|status| status.success());
        (!sound).then(|| Err(TraceError::Torn { path: self.path.clone(), tool }))
    }
}

impl Drop for TraceReader {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.tool {
            // It ends by itself when its pipe is closed; one that already has cannot be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn key(text: &[u8]) -> Result<TraceKey, &'static str> {
    let sound = (1..=250).contains(&text.len()) && text.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    sound.then(|| TraceKey::Text(text.to_vec())).ok_or("a key is 1 to 250 bytes without spaces")
}

fn range(line: &[u8]) -> Result<(u64, u64), &'static str> {
    let mut numbers = line.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty()).map(number);
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(start), Some(count)) => Ok((start, count)),
        _ => Err("the first key and the count are needed, two numbers"),
    }
}

fn twitter(line: &[u8]) -> Result<TraceRequest, &'static str> {
    let rule = "time,key,keysize,valuesize,client,op,ttl are needed";
    // A key may hold commas; the other columns do not.
    let columns: Vec<&[u8]> = line.rsplitn(6, |&b| b == b',').collect();
    let [ttl, op, _client, value_len, _key_len, start] = columns.as_slice() else { return Err(rule) };
    let place = start.iter().position(|&b| b == b',').ok_or(rule)?;
    let op = match *op {
        b"get" | b"gets" => TraceOp::Get,
        b"delete" => TraceOp::Delete,
        b"set" | b"add" | b"replace" | b"cas" | b"append" | b"prepend" | b"incr" | b"decr" => TraceOp::Set,
        _ => return Err("the sixth column must be one of memcached's operations"),
    };
    Ok(TraceRequest {
        op,
        key: key(&start[place + 1..])?,
        value_len: Some(number(value_len).ok_or(rule)? as usize),
        ttl_s: Some(u32::try_from(number(ttl).ok_or(rule)?).map_err(|_| rule)?),
    })
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(name: &str, bytes: &[u8]) -> Result<Vec<TraceRequest>, TraceError> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        TraceFile { path, format: None }.open()?.collect()
    }

    fn numbers(keys: &[u64]) -> Vec<TraceRequest> {
        keys.iter().map(|&key| TraceRequest::get(TraceKey::Number(key))).collect()
    }

    #[test]
    fn formats_are_seen_and_read() {
        assert_eq!(read("a.lis", b"5 2 0 0\n9 1 0 1\n").expect("sound"), numbers(&[5, 6, 9]));
        let found = read("a.trace", b"a,1\n\n b \r\nc").expect("sound");
        let keys = [&b"a,1"[..], b"b", b"c"].map(|key| TraceRequest::get(TraceKey::Text(key.to_vec())));
        assert_eq!(found, keys);
        let narrow: Vec<u8> = (0..2000u32).flat_map(|i| (i * 7 % 97).to_be_bytes()).collect();
        assert_eq!(read("b.trace", &narrow).expect("sound").len(), 2000);
        let wide: Vec<u8> =
            (0..2000u64).flat_map(|i| stdx::Prng::new(i % 300).next_u64().to_be_bytes()).collect();
        assert_eq!(read("c.trace", &wide).expect("sound").len(), 2000);
        let small: Vec<u8> = (0..2000u64).flat_map(|i| (i % 300).to_be_bytes()).collect();
        assert_eq!(read("d.trace", &small).expect("sound")[301], numbers(&[1])[0]);
        assert_eq!("i64:x".parse(), Ok(TraceFile { path: "x".into(), format: Some(TraceFormat::I64) }));
        assert_eq!("c:x".parse(), Ok(TraceFile { path: "c:x".into(), format: None }));
    }

    #[test]
    fn twitter_lines_keep_sizes_and_ttls() {
        let found =
            read("t.csv", b"0,k,1,30,2,get,0\n1,a,b,3,5,2,delete,60\n2,k,1,9,2,incr,7\n").expect("sound");
        assert_eq!(found[0].value_len, Some(30));
        assert_eq!((found[1].op, &found[1].key), (TraceOp::Delete, &TraceKey::Text(b"a,b".to_vec())));
        assert_eq!((found[2].op, found[2].ttl_s), (TraceOp::Set, Some(7)));
    }

    #[test]
    fn errors_name_the_request_and_the_rule() {
        for (name, bytes, part) in [
            ("a.lis", &b"1 2\nx 2\n"[..], "request 2 \"x 2\": the first key and the count"),
            ("a.csv", b"0,k,1,30,2,fly,0\n", "request 1 \"0,k,1,30,2,fly,0\": the sixth column"),
            ("a.txt", b"a b\n", "a key is 1 to 250 bytes without spaces"),
            ("a.gz", b"no gzip", "gzip cannot unpack it"),
        ] {
            let error = read(name, bytes).expect_err("not sound").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
