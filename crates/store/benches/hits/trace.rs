//! Traces of keys: read from files, which may be compressed, or made from a seed.

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::process::{Command, Stdio};

use stdx::Prng;

/// Requests in their order; the keys are numbered in the order of their first request.
pub(crate) struct Trace {
    pub(crate) keys: Vec<u32>,
    pub(crate) unique: usize,
}

impl Trace {
    fn new(keys: impl Iterator<Item = u64>) -> Self {
        let mut numbers = HashMap::new();
        let keys = keys
            .map(|key| {
                let next = numbers.len() as u32;
                *numbers.entry(key).or_insert(next)
            })
            .collect();
        Self { keys, unique: numbers.len() }
    }

    /// `FILE` in a format (`i32`, `i64`: big-endian keys; `oltp`: lines of `start count`), or a made one.
    pub(crate) fn open(name: &str, format: &str) -> Self {
        let mut prng = Prng::new(11);
        match name {
            "zipf" => Self::zipf(&mut prng, 0),
            "zipf-drift" => Self::zipf(&mut prng, 400),
            "scans" => Self::scans(&mut prng),
            "loop" => Self::new((0..1_000_000).map(|n| n % 30_000)),
            _ => Self::read(name, format),
        }
    }

    /// Skewed popularity; every `drift` requests the whole order moves by one key.
    fn zipf(prng: &mut Prng, drift: u64) -> Self {
        const KEYS: f64 = 200_000.0;
        Self::new((0..2_000_000u64).map(|n| {
            // Inverse of the integral of x^-0.9.
            let rank = (prng.unit() * (KEYS.powf(0.1) - 1.0) + 1.0).powf(10.0) as u64;
            rank + n.checked_div(drift).unwrap_or(0)
        }))
    }

    /// Skewed popularity, and from time to time a run over keys that come only once.
    fn scans(prng: &mut Prng) -> Self {
        let skewed = Self::zipf(prng, 0);
        let mut fresh = 1 << 32;
        let mut keys = Vec::new();
        for (n, key) in skewed.keys.iter().enumerate() {
            keys.push(u64::from(*key));
            if n % 100_000 == 0 {
                keys.extend(fresh..fresh + 20_000);
                fresh += 20_000;
            }
        }
        Self::new(keys.into_iter())
    }

    fn read(path: &str, format: &str) -> Self {
        let tool = match path.rsplit('.').next() {
            Some("xz") => &["xz", "-dc"][..],
            Some("zst") => &["zstd", "-dc"],
            _ => &["cat"],
        };
        let mut command = Command::new(tool[0]);
        command.args(&tool[1..]).arg(path).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the tool is installed");
        let mut output = std::io::BufReader::new(child.stdout.take().expect("piped"));
        let trace = match format {
            "oltp" => Self::new(output.lines().flat_map(|line| {
                let line = line.expect("text");
                let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().expect("a number"));
                let (start, count) = (numbers.next().expect("start"), numbers.next().expect("count"));
                start..start + count
            })),
            _ => {
                let mut bytes = Vec::new();
                output.read_to_end(&mut bytes).expect("readable");
                let wide = if format == "i32" { 4 } else { 8 };
                Self::new(
                    bytes
                        .chunks_exact(wide)
                        .map(|key| key.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))),
                )
            }
        };
        assert!(child.wait().expect("ended").success() && !trace.keys.is_empty(), "{path} is a trace");
        trace
    }
}
