//! The requests that `hits` replays: those of a file, or generated ones.

use std::collections::HashSet;

use anyhow::{Result, bail};
use bench::{KeyChooser, Popularity, TraceFile, TraceKey, TraceOp, TraceRequest};
use stdx::Prng;

/// Requests of one scan.
const SCAN_LEN: u64 = 5000;

/// A trace in memory, its keys numbered from 0 in the order of their first request.
pub(crate) struct Keys {
    pub(crate) name: String,
    pub(crate) keys: Vec<u32>,
    /// Different keys.
    pub(crate) unique: u64,
}

impl Keys {
    /// The first requests of a file; its sets and deletes are left out, since sizes and times of day are ours.
    pub(crate) fn read(file: &TraceFile, limit: u64) -> Result<Self> {
        let mut numbers = std::collections::HashMap::new();
        let mut keys = Vec::new();
        for request in file.open()? {
            let request = request?;
            if request.op != TraceOp::Get {
                continue;
            }
            let fresh = u32::try_from(numbers.len())?;
            keys.push(*numbers.entry(request.key).or_insert(fresh));
            if keys.len() as u64 == limit {
                break;
            }
        }
        if keys.is_empty() {
            bail!("{file}: no gets in it");
        }
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.split('.').next().unwrap_or_default().to_owned();
        Ok(Self { name, keys, unique: numbers.len() as u64 })
    }

    /// Traces that need no file.
    pub(crate) fn generated(limit: u64) -> Vec<Self> {
        let count = limit.min(2_000_000);
        let zipf = |alpha: f64| KeyChooser::new(count / 10, &Popularity::Zipf(alpha));
        let mut traces = Vec::new();
        for alpha in [0.7, 0.9, 1.1] {
            let (mut prng, zipf) = (Prng::new(1), zipf(alpha));
            let keys = (0..count).map(|_| zipf.next(&mut prng) as u32).collect();
            traces.push(Self::of(&format!("zipf {alpha}"), keys));
        }
        // One request in three belongs to scans over keys that never come back.
        let (mut prng, zipf) = (Prng::new(2), zipf(0.9));
        let mut scanned = u32::MAX;
        let scans = (0..count).map(|place| {
            if (place / SCAN_LEN).is_multiple_of(3) {
                scanned -= 1;
                scanned
            } else {
                zipf.next(&mut prng) as u32
            }
        });
        traces.push(Self::of("zipf 0.9 and scans", scans.collect()));
        // The popular keys are others in each tenth of the trace.
        let mut prng = Prng::new(3);
        let shifting = (0..count).map(|place| {
            let shift = place / (count / 10).max(1) * (count / 100);
            (zipf.next(&mut prng) + shift) as u32
        });
        traces.push(Self::of("shifting zipf 0.9", shifting.collect()));
        traces
    }

    /// The first requests only.
    pub(crate) fn first(&self, count: u64) -> Self {
        let count = (count as usize).min(self.keys.len());
        Self::of(&self.name, self.keys[..count].to_vec())
    }

    fn of(name: &str, keys: Vec<u32>) -> Self {
        let unique = keys.iter().collect::<HashSet<_>>().len() as u64;
        Self { name: name.to_owned(), keys, unique }
    }

    /// The requests, `copies` of each over as many sets of keys: a larger cache with the same hit ratio.
    pub(crate) fn requests(
        &self,
        copies: u32,
    ) -> impl Iterator<Item = Result<TraceRequest, bench::TraceError>> {
        self.keys.iter().flat_map(move |key| {
            (0..copies).map(move |copy| {
                let number = u64::from(copy) << 32 | u64::from(*key);
                Ok(TraceRequest::get(TraceKey::Number(number)))
            })
        })
    }
}
