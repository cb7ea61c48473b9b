//! CacheLib's cachebench workloads: `config.json` and the histograms that it names.
//!
//! Read are the key and value sizes, the popularity of keys and the shares of the operations. What concerns
//! CacheLib itself (pools, cache sizes, threads) is not.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::keys::{Popularity, PopularityBuckets};
use crate::limits::HISTOGRAM_VALUE_MAX;
use crate::options::Mix;
use crate::sizes::{Histogram, Sizes};

/// A workload as it is used here.
#[derive(Clone, Debug)]
pub struct Cachebench {
    /// Different keys.
    pub keys: u64,
    /// Their lengths.
    pub key_size: Sizes,
    /// Lengths of values, at most [`HISTOGRAM_VALUE_MAX`].
    pub value_size: Sizes,
    /// How often which key is asked for.
    pub popularity: Popularity,
    /// Shares of the operations.
    pub mix: Mix,
}

/// Why a workload cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CachebenchError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {source}", path.display())]
    Json {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Figures that do not fit together.
    #[error("{}: {rule}", path.display())]
    Rule {
        /// In which file.
        path: PathBuf,
        /// What is wrong.
        rule: String,
    },
}

#[derive(Deserialize)]
struct Config {
    test_config: TestConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TestConfig {
    num_keys: u64,
    key_size_range: Vec<usize>,
    key_size_range_probability: Vec<f64>,
    val_size_dist_file: Option<String>,
    val_size_range: Vec<usize>,
    val_size_range_probability: Vec<f64>,
    pop_dist_file: Option<String>,
    get_ratio: f64,
    lone_get_ratio: f64,
    set_ratio: f64,
    del_ratio: f64,
    enable_lookaside: bool,
}

impl Default for TestConfig {
    fn default() -> Self {
        Self {
            num_keys: 1_000_000,
            key_size_range: vec![16, 17],
            key_size_range_probability: vec![1.0],
            val_size_dist_file: None,
            val_size_range: Vec::new(),
            val_size_range_probability: Vec::new(),
            pop_dist_file: None,
            get_ratio: 0.9,
            lone_get_ratio: 0.0,
            set_ratio: 0.1,
            del_ratio: 0.0,
            enable_lookaside: false,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SizesFile {
    val_size_range: Vec<f64>,
    val_size_range_probability: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PopularityFile {
    popularity_buckets: Vec<f64>,
    popularity_weights: Vec<f64>,
}

impl Cachebench {
    /// Reads `config.json`, or that of a directory, and the files that it names.
    pub fn read(path: &Path) -> Result<Self, CachebenchError> {
        let path = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
        let config: Config = json(&path)?;
        let test = config.test_config;
        let value_size = value_size(&test, &path)?;
        let key_size = Histogram::new(&test.key_size_range, &test.key_size_range_probability)
            .ok_or_else(|| mismatch(&path, "keySizeRange and keySizeRangeProbability"))?;
        let popularity = match &test.pop_dist_file {
            None => Popularity::Uniform,
            Some(name) => {
                let path = path.with_file_name(name);
                let file: PopularityFile = json(&path)?;
                let buckets = PopularityBuckets::new(&file.popularity_buckets, &file.popularity_weights);
                Popularity::Buckets(
                    buckets.ok_or_else(|| mismatch(&path, "popularityBuckets and popularityWeights"))?,
                )
            }
        };
        Ok(Self {
            keys: test.num_keys.max(1),
            key_size: Sizes::Histogram(key_size),
            value_size: Sizes::Histogram(value_size).capped(HISTOGRAM_VALUE_MAX),
            popularity,
            mix: mix(&test),
        })
    }
}

/// Ratios are relative to their sum, as in CacheLib.
fn mix(test: &TestConfig) -> Mix {
    let sum = (test.get_ratio + test.lone_get_ratio + test.set_ratio + test.del_ratio).max(f64::MIN_POSITIVE);
    Mix {
        sets: test.set_ratio / sum,
        deletes: test.del_ratio / sum,
        lone_gets: test.lone_get_ratio / sum,
        set_on_miss: test.enable_lookaside,
    }
}

fn value_size(test: &TestConfig, config: &Path) -> Result<Histogram, CachebenchError> {
    let names = "valSizeRange and valSizeRangeProbability";
    let Some(name) = &test.val_size_dist_file else {
        return Histogram::new(&test.val_size_range, &test.val_size_range_probability)
            .ok_or_else(|| mismatch(config, names));
    };
    let path = config.with_file_name(name);
    let file: SizesFile = json(&path)?;
    let bounds: Vec<usize> = file.val_size_range.iter().map(|bound| bound.max(0.0) as usize).collect();
    Histogram::new(&bounds, &file.val_size_range_probability).ok_or_else(|| mismatch(&path, names))
}

fn mismatch(path: &Path, names: &str) -> CachebenchError {
    let rule = format!("{names} must be as many (one bound more for sizes), weights from 0 on and not all 0");
    CachebenchError::Rule { path: path.to_owned(), rule }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, CachebenchError> {
    let text = fs::read(path).map_err(|source| CachebenchError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| CachebenchError::Json { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_read_with_its_histograms() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        write(
            "config.json",
            r#"{"cache_config": {"cacheSizeMB": 1}, "test_config": {"numKeys": 50, "keySizeRange": [1, 8, 64],
                "keySizeRangeProbability": [0.3, 0.7], "getRatio": 0.9, "loneGetRatio": 0.1, "setRatio": 0.0,
                "enableLookaside": true, "valSizeDistFile": "s.json", "popDistFile": "p.json"}}"#,
        );
        write("s.json", r#"{"valSizeRange": [31, 9000000], "valSizeRangeProbability": [9, 1]}"#);
        write("p.json", r#"{"oneHits": 0.1, "popularityBuckets": [1, 9], "popularityWeights": [5, 5]}"#);
        let found = Cachebench::read(dir.path()).expect("sound");
        assert_eq!((found.keys, found.value_size.max()), (50, HISTOGRAM_VALUE_MAX));
        assert!((1..64).contains(&found.key_size.of(5)));
        assert!(found.mix.set_on_miss && (found.mix.lone_gets - 0.1).abs() < 1e-9);

        write("p.json", r#"{"popularityBuckets": [1], "popularityWeights": [5, 5]}"#);
        let error = Cachebench::read(dir.path()).expect_err("mismatch").to_string();
        assert!(error.contains("p.json: popularityBuckets and popularityWeights must be as many"), "{error}");
        write("p.json", "{");
        assert!(Cachebench::read(dir.path()).expect_err("torn").to_string().contains("line 1"));
    }
}
