//! The script format: blocks of what is sent, `----`, and what comes back, separated by empty lines.
//!
//! Each line sent gets `\r\n`, unless it ends with `\`. Escapes: `\r`, `\n`, `\xNN`, `\\`. What comes back is
//! written in the same way, `(nothing)` where nothing does, and `(closed)` at the end where the connection was
//! closed. Lines that start with `!` are directives to the runner, `#` comments belong to the next block.
//!
//! Substitutions in what is sent: `$1`, `$2`, … are the cas numbers of the script in the order in which they
//! appeared (they are written back so, where a script did not choose them itself); `$b(KEY)` is the bucket of a key; `$clock`, `$clock+N`, `$clock-N` are
//! the node's clock; `{x*N}` is a run of N letters, `{x*0}` an empty line.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proto::KeyHash;

/// A parsed script.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) path: PathBuf,
    /// Lines `!options …` at the top.
    pub(crate) options: Vec<String>,
    pub(crate) blocks: Vec<Block>,
    head: String,
}

/// One exchange.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    comments: String,
    /// Directives and lines, as written.
    pub(crate) lines: Vec<String>,
    pub(crate) expected: String,
}

impl Script {
    pub(crate) fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut script =
            Self { path: path.to_owned(), options: Vec::new(), blocks: Vec::new(), head: String::new() };
        for chunk in
            text.split("\n\n").map(|chunk| chunk.trim_matches('\n')).filter(|chunk| !chunk.is_empty())
        {
            script.add(chunk);
        }
        script
    }

    fn add(&mut self, chunk: &str) {
        let Some((sent, expected)) = chunk.split_once("\n----") else {
            assert!(self.blocks.is_empty(), "{}: a block without ----:\n{chunk}", self.path.display());
            self.options
                .extend(chunk.lines().filter_map(|line| line.strip_prefix("!options ")).map(str::to_owned));
            writeln!(self.head, "{chunk}\n").unwrap();
            return;
        };
        let (comments, lines): (Vec<&str>, Vec<&str>) = sent.lines().partition(|line| line.starts_with('#'));
        let comments = comments.iter().fold(String::new(), |all, line| all + line + "\n");
        let lines = lines.into_iter().map(str::to_owned).collect();
        self.blocks.push(Block { comments, lines, expected: expected.trim_start_matches('\n').to_owned() });
    }

    /// Compares, or writes what came as what is expected, with `UPDATE_EXPECT=1`.
    #[track_caller]
    pub(crate) fn check(mut self, got: &[String], how: &str) {
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            for (block, got) in self.blocks.iter_mut().zip(got) {
                got.clone_into(&mut block.expected);
            }
            std::fs::write(&self.path, self.render()).unwrap();
            return;
        }
        for (block, got) in self.blocks.iter().zip(got) {
            assert_eq!(
                *got,
                block.expected,
                "\n{} ({how}); UPDATE_EXPECT=1 accepts what came:\n{}",
                self.path.display(),
                block.lines.join("\n")
            );
        }
    }

    fn render(&self) -> String {
        let mut text = self.head.clone();
        for block in &self.blocks {
            let lines = block.lines.join("\n");
            writeln!(text, "{}{lines}\n----\n{}\n", block.comments, block.expected).unwrap();
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

/// The cas numbers of one run, by the names that the script has for them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Numbers up to here are the script's own choice (E) and stay as they are.
    pub(crate) chosen_max: u64,
    cas: Vec<u64>,
    known: HashMap<u64, usize>,
}

impl Names {
    /// The bytes to send for a line.
    pub(crate) fn encode(&self, line: &str, clock: impl Fn() -> u64) -> Vec<u8> {
        let mut line = self.substitute(line, clock);
        let has_end = match line.strip_suffix('\\') {
            Some(rest) if !rest.ends_with('\\') => {
                line = rest.to_owned();
                false
            }
            _ => true,
        };
        let mut bytes = unescape(&line);
        if has_end {
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    fn substitute(&self, line: &str, clock: impl Fn() -> u64) -> String {
        let mut out = String::new();
        let mut rest = line;
        while let Some(at) = rest.find(['$', '{']) {
            out.push_str(&rest[..at]);
            let (text, used) =
                self.value(&rest[at..], &clock).unwrap_or_else(|| (rest[at..=at].to_owned(), 1));
            out.push_str(&text);
            rest = &rest[at + used..];
        }
        out + rest
    }

    /// The value of the substitution at the start of `text`, and its length there.
    fn value(&self, text: &str, clock: &impl Fn() -> u64) -> Option<(String, usize)> {
        if let Some(body) = text.strip_prefix('{') {
            let (run, _) = body.split_once('}')?;
            let (letter, count) = run.split_once('*')?;
            return Some((letter.repeat(count.parse().ok()?), run.len() + 2));
        }
        if let Some(body) = text.strip_prefix("$b(") {
            let (key, _) = body.split_once(')')?;
            return Some((KeyHash::of(key.as_bytes()).bucket().to_string(), key.len() + 4));
        }
        if let Some(body) = text.strip_prefix("$clock") {
            let digits = body.get(1..).unwrap_or_default().bytes().take_while(u8::is_ascii_digit).count();
            let offset = || body[1..=digits].parse::<u64>().ok();
            return Some(match body.as_bytes().first() {
                Some(b'+') => ((clock() + offset()?).to_string(), 7 + digits),
                Some(b'-') => ((clock() - offset()?).to_string(), 7 + digits),
                _ => (clock().to_string(), 6),
            });
        }
        let digits: String = text.get(1..)?.chars().take_while(char::is_ascii_digit).collect();
        let cas = self.cas.get(digits.parse::<usize>().ok()?.checked_sub(1)?)?;
        Some((cas.to_string(), 1 + digits.len()))
    }

    /// What came, as scripts write it.
    pub(crate) fn decode(&mut self, output: &[u8], is_closed: bool) -> String {
        let mut text = String::new();
        let mut rest = output;
        while !rest.is_empty() {
            let (line, end) = match rest.windows(2).position(|pair| pair == b"\r\n") {
                Some(at) => (&rest[..at], at + 2),
                None => (rest, rest.len()),
            };
            text.push_str(&self.name_cas(&escape(line)));
            text.push_str(if rest[..end].ends_with(b"\r\n") { "\n" } else { "\\\n" });
            rest = &rest[end..];
        }
        if text.is_empty() {
            text.push_str("(nothing)\n");
        }
        if is_closed {
            text.push_str("(closed)\n");
        }
        text.truncate(text.len() - 1);
        text
    }

    /// Replaces the cas of `VALUE` lines, the `c` of meta replies and the `cas=` of `me` by its name.
    fn name_cas(&mut self, line: &str) -> String {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let count = words.len();
        let prefix = match words[0].as_str() {
            "VALUE" if count == 5 => "",
            "HD" | "VA" => "c",
            "ME" => "cas=",
            _ => return line.to_owned(),
        };
        let from = if prefix.is_empty() { 4 } else { 1 };
        for word in &mut words[from..] {
            let cas = word.strip_prefix(prefix).and_then(|digits| digits.parse::<u64>().ok());
            if let Some(cas) = cas.filter(|cas| *cas > self.chosen_max) {
                let number = *self.known.entry(cas).or_insert_with(|| {
                    self.cas.push(cas);
                    self.cas.len()
                });
                *word = format!("{prefix}${number}");
            }
        }
        words.join(" ")
    }
}

fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('x') => {
                    let hex: String = chars.by_ref().take(2).collect();
                    bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                }
                other => bytes.extend(other.unwrap().to_string().bytes()),
            },
            _ => bytes.extend(c.to_string().bytes()),
        }
    }
    bytes
}

/// Long runs of one letter are written short, and an empty line as a run of none.
fn escape(line: &[u8]) -> String {
    if line.is_empty() {
        return "{x*0}".to_owned();
    }
    let mut text = String::new();
    let mut rest = line;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take_while(|&&byte| byte == first).count();
        if run >= 20 && first.is_ascii_alphanumeric() {
            write!(text, "{{{}*{run}}}", char::from(first)).unwrap();
            rest = &rest[run..];
            continue;
        }
        match first {
            b'\\' => text.push_str("\\\\"),
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b' '..=b'~' => text.push(char::from(first)),
            other => write!(text, "\\x{other:02x}").unwrap(),
        }
        rest = &rest[1..];
    }
    text
}

/// The scripts beside this file's directory, in order of their names.
pub(crate) fn all() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "test")).collect();
    paths.sort();
    paths
}
