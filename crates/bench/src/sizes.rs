//! Lengths of keys and values, and the exptimes of sets. All are chosen by the key, so that a key keeps its own.

use std::sync::Arc;

use stdx::Prng;

use crate::weighted::Weighted;

/// The length of keys or values in bytes.
#[derive(Clone, Debug)]
pub enum Sizes {
    /// All the same.
    Fixed(usize),
    /// Evenly from the first to the last.
    Range(usize, usize),
    /// By a histogram.
    Histogram(Histogram),
}

/// Ranges of lengths, with weights.
#[derive(Clone, Debug)]
pub struct Histogram {
    weights: Weighted,
    /// First and last length of each range.
    ranges: Arc<[(usize, usize)]>,
}

impl Histogram {
    /// As CacheLib writes them: with one bound more than weights, weight `i` is that of `bounds[i]..bounds[i + 1]`;
    /// with as many, that of exactly `bounds[i]`. `None` when the counts do not match or the weights are unsound.
    pub fn new(bounds: &[usize], weights: &[f64]) -> Option<Self> {
        let ranges: Arc<[(usize, usize)]> = if bounds.len() == weights.len() {
            bounds.iter().map(|&size| (size, size)).collect()
        } else if bounds.len() == weights.len() + 1 {
            bounds.windows(2).map(|pair| (pair[0], pair[1].saturating_sub(1).max(pair[0]))).collect()
        } else {
            return None;
        };
        Some(Self { weights: Weighted::new(weights)?, ranges })
    }
}

impl Sizes {
    /// The length that belongs to a key, or to any other number.
    pub fn of(&self, key: u64) -> usize {
        let even = |prng: &mut Prng, from: usize, to: usize| {
            from + prng.below(to.saturating_sub(from) as u64 + 1) as usize
        };
        let mut prng = Prng::new(key);
        match self {
            Self::Fixed(len) => *len,
            Self::Range(from, to) => even(&mut prng, *from, *to),
            Self::Histogram(histogram) => {
                let (from, to) = histogram.ranges[histogram.weights.at(prng.unit())];
                even(&mut prng, from, to)
            }
        }
    }

    /// The longest one.
    pub fn max(&self) -> usize {
        match self {
            Self::Fixed(len) => *len,
            Self::Range(_, to) => *to,
            Self::Histogram(histogram) => histogram.ranges.iter().map(|range| range.1).max().unwrap_or(0),
        }
    }

    /// These, with everything longer than `max` shortened to it.
    pub fn capped(self, max: usize) -> Self {
        match self {
            Self::Fixed(len) => Self::Fixed(len.min(max)),
            Self::Range(from, to) => Self::Range(from.min(max), to.min(max)),
            Self::Histogram(Histogram { weights, ranges }) => Self::Histogram(Histogram {
                weights,
                ranges: ranges.iter().map(|(from, to)| (*from.min(&max), *to.min(&max))).collect(),
            }),
        }
    }
}

/// The exptime of sets, in seconds.
#[derive(Clone, Debug)]
pub enum Ttl {
    /// All the same; 0: never.
    Fixed(u32),
    /// One of these, by weight.
    Mix(Weighted, Arc<[u32]>),
}

impl Ttl {
    /// The exptime that belongs to a key.
    pub fn of(&self, key: u64) -> u32 {
        match self {
            Self::Fixed(seconds) => *seconds,
            // Another number than the sizes' draw, so that short-lived items are not the small ones.
            Self::Mix(weights, seconds) => seconds[weights.at(Prng::new(!key).unit())],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_size_and_sizes_follow_the_weights() {
        let sizes = Sizes::Histogram(Histogram::new(&[10, 20, 100], &[3.0, 1.0]).expect("sound"));
        let found: Vec<usize> = (0..1000).map(|key| sizes.of(key)).collect();
        assert!(found.iter().all(|len| (10..100).contains(len)));
        let small = found.iter().filter(|len| **len < 20).count();
        assert!((700..800).contains(&small), "{small}");
        assert_eq!(sizes.of(7), sizes.of(7));
        let exact = Histogram::new(&[10, 20], &[1.0, 1.0]).expect("sound");
        assert!((0..50).all(|key| [10, 20].contains(&Sizes::Histogram(exact.clone()).of(key))));
        assert!(Histogram::new(&[10], &[1.0, 2.0]).is_none());
        assert_eq!(Sizes::Histogram(exact).capped(15).max(), 15);
    }

    #[test]
    fn exptimes_follow_the_weights() {
        let ttl = Ttl::Mix(Weighted::new(&[1.0, 1.0]).expect("sound"), Arc::from([60, 0]));
        let short = (0..1000).filter(|&key| ttl.of(key) == 60).count();
        assert!((430..570).contains(&short), "{short}");
    }
}
