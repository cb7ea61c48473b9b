//! The binary protocol: scripts (`tests/binary/*.test`) against sessions in memory, their bytes whole and cut,
//! and against the installed memcached; and `memccapable`, which was written to judge this protocol.
//!
//! Each line of a script is a frame, see [`frames`]. Lines with `!`: `!conn NAME` switches to another
//! connection, `!advance 5s` lets time pass, `!ours` keeps the block from memcached. Where memcached answers
//! otherwise, a second `----` is followed by the reason, and lines with its answer.

mod capable;
mod frames;
mod judge;
mod memory;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use memory::{Cut, World};

/// Random cuts of each script.
const RANDOM_CUTS: u64 = 20;

/// A parsed script.
pub(crate) struct Script {
    path: PathBuf,
    head: String,
    pub(crate) options: Vec<String>,
    pub(crate) blocks: Vec<Block>,
}

/// One exchange.
pub(crate) struct Block {
    comments: String,
    pub(crate) lines: Vec<String>,
    expected: String,
    /// What memcached answers, where it is something else.
    theirs: Option<Theirs>,
}

struct Theirs {
    reason: String,
    expected: String,
}

impl Script {
    fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut script =
            Self { path: path.to_owned(), head: String::new(), options: Vec::new(), blocks: Vec::new() };
        for chunk in text.split("\n\n").map(|chunk| chunk.trim_matches('\n')).filter(|c| !c.is_empty()) {
            match chunk.split_once("\n----") {
                Some((sent, answers)) => {
                    script.blocks.push(Block::parse(sent, answers.strip_prefix('\n').unwrap_or_default()));
                }
                None => {
                    assert!(script.blocks.is_empty(), "{}: no ---- in\n{chunk}", path.display());
                    let options = chunk.lines().filter_map(|line| line.strip_prefix("!options "));
                    script.options.extend(options.flat_map(|line| line.split(' ')).map(str::to_owned));
                    writeln!(script.head, "{chunk}\n").unwrap();
                }
            }
        }
        script
    }

    fn render(&self) -> String {
        let blocks = self.blocks.iter().map(|block| {
            let theirs = block.theirs.as_ref();
            let theirs = theirs.map_or(String::new(), |t| format!("\n---- {}\n{}", t.reason, t.expected));
            format!("{}{}\n----\n{}{theirs}\n", block.comments, block.lines.join("\n"), block.expected)
        });
        self.head.clone() + &blocks.collect::<Vec<_>>().join("\n")
    }
}

impl Block {
    fn parse(sent: &str, answers: &str) -> Self {
        let (comments, lines): (Vec<&str>, Vec<&str>) = sent.lines().partition(|line| line.starts_with('#'));
        let (expected, theirs) = match answers.split_once("\n---- ") {
            Some((ours, theirs)) => {
                let (reason, expected) = theirs.split_once('\n').unwrap();
                (ours, Some(Theirs { reason: reason.to_owned(), expected: expected.to_owned() }))
            }
            None => (answers, None),
        };
        Self {
            comments: comments.iter().fold(String::new(), |all, line| all + line + "\n"),
            lines: lines.into_iter().map(str::to_owned).collect(),
            expected: expected.to_owned(),
            theirs,
        }
    }
}

/// The scripts, in order of their names.
fn scripts() -> Vec<Script> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/binary");
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Script::load(path)).collect()
}

/// Compares with what the scripts say; with `REWRITE=1` makes the scripts say what came.
#[test]
fn binary_scripts_give_what_they_say() {
    let is_rewrite = std::env::var_os("REWRITE").is_some();
    for mut script in scripts() {
        let got = World::run(&script, &Cut::Whole);
        for (block, got) in script.blocks.iter_mut().zip(got) {
            if is_rewrite {
                block.expected = got;
            } else {
                let sent = block.lines.join("\n");
                assert_eq!(got, block.expected, "{}:\n{sent}", script.path.display());
            }
        }
        if is_rewrite {
            std::fs::write(&script.path, script.render()).unwrap();
        }
    }
}

#[test]
fn binary_scripts_give_the_same_however_the_bytes_are_cut() {
    for script in scripts() {
        let whole = World::run(&script, &Cut::Whole);
        for cut in [Cut::ByteByByte].into_iter().chain((0..RANDOM_CUTS).map(Cut::Random)) {
            for ((got, whole), block) in World::run(&script, &cut).iter().zip(&whole).zip(&script.blocks) {
                let sent = block.lines.join("\n");
                assert_eq!(got, whole, "{} ({cut:?}):\n{sent}", script.path.display());
            }
        }
    }
}
