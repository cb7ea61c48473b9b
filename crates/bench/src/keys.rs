//! Which key is asked for next.

use std::sync::Arc;

use stdx::Prng;

use crate::weighted::Weighted;

/// How often which key is asked for.
#[derive(Clone, Debug)]
pub enum Popularity {
    /// All equally often.
    Uniform,
    /// The n-th most popular key in proportion to `1 / n^alpha`; `alpha` above 0 and not 1.
    Zipf(f64),
    /// By a histogram.
    Buckets(PopularityBuckets),
}

/// Groups of keys that are equally popular, as CacheLib writes them: how many keys of how many are in a group, and
/// which share of the requests it gets.
#[derive(Clone, Debug)]
pub struct PopularityBuckets {
    weights: Weighted,
    /// Where each group ends, as a share of all keys.
    ends: Arc<[f64]>,
}

impl PopularityBuckets {
    /// `None` when the counts do not match, or when no key or no weight is above zero.
    pub fn new(keys: &[f64], weights: &[f64]) -> Option<Self> {
        let total: f64 = keys.iter().sum();
        let sound = keys.len() == weights.len() && total > 0.0 && keys.iter().all(|count| *count >= 0.0);
        let ends = keys.iter().scan(0.0, |sum, count| {
            *sum += count / total;
            Some(*sum)
        });
        sound.then(|| Weighted::new(weights).map(|weights| Self { weights, ends: ends.collect() }))?
    }

    fn next(&self, count: u64, prng: &mut Prng) -> u64 {
        let group = self.weights.at(prng.unit());
        let start = group.checked_sub(1).map_or(0.0, |before| self.ends[before]);
        let place = start + (self.ends[group] - start) * prng.unit();
        ((place * count as f64) as u64).min(count - 1)
    }
}

/// Draws keys. The popular keys are spread over the key space, so that no server holds all of them.
#[derive(Clone, Debug)]
pub struct KeyChooser {
    count: u64,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    Uniform,
    Zipf(Zipf),
    Buckets(PopularityBuckets),
}

impl KeyChooser {
    /// Of `count` keys, at least one.
    pub fn new(count: u64, popularity: &Popularity) -> Self {
        let shape = match popularity {
            Popularity::Uniform => Shape::Uniform,
            Popularity::Zipf(alpha) => Shape::Zipf(Zipf::new(count, *alpha)),
            Popularity::Buckets(buckets) => Shape::Buckets(buckets.clone()),
        };
        Self { count, shape }
    }

    /// The number of a key, below the count.
    pub fn next(&self, prng: &mut Prng) -> u64 {
        match &self.shape {
            Shape::Uniform => prng.below(self.count),
            Shape::Buckets(buckets) => buckets.next(self.count, prng),
            Shape::Zipf(zipf) => Prng::new(zipf.rank(prng)).next_u64() % self.count,
        }
    }
}

/// Ranks by inverting the integral that approximates the Zipf sum (Gray et al., "Quickly generating
/// billion-record synthetic databases", 1994, the idea): exact at the head, within a fraction of a per cent in
/// the tail, with no table.
#[derive(Clone, Debug)]
struct Zipf {
    count: u64,
    alpha: f64,
    /// Integral of `x^-alpha` from 0.5 to count + 0.5.
    area: f64,
    low: f64,
}

impl Zipf {
    fn new(count: u64, alpha: f64) -> Self {
        let low = integral(0.5, alpha);
        Self { count, alpha, area: integral(count as f64 + 0.5, alpha) - low, low }
    }

    fn rank(&self, prng: &mut Prng) -> u64 {
        let y = self.low + prng.unit() * self.area;
        let x = (y * (1.0 - self.alpha)).powf(1.0 / (1.0 - self.alpha));
        (x.round() as u64).clamp(1, self.count) - 1
    }
}

fn integral(x: f64, alpha: f64) -> f64 {
    x.powf(1.0 - alpha) / (1.0 - alpha)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_is_as_steep_as_asked() {
        let (mut prng, zipf) = (Prng::new(1), Zipf::new(1000, 0.99));
        let mut counts = vec![0u32; 1000];
        for _ in 0..400_000 {
            counts[zipf.rank(&mut prng) as usize] += 1;
        }
        let ratio = |a: usize, b: usize| f64::from(counts[a]) / f64::from(counts[b]);
        // Rank 2 against rank 20 of 1/n^0.99: (20/2)^0.99 = 9.77.
        assert!((8.8..10.8).contains(&ratio(1, 19)), "{}", ratio(1, 19));
        assert!(counts.iter().all(|&count| count > 0));
    }

    #[test]
    fn a_group_gets_its_share() {
        let buckets = PopularityBuckets::new(&[1.0, 9.0], &[1.0, 1.0]).expect("sound");
        let (mut prng, chooser) = (Prng::new(1), KeyChooser::new(100, &Popularity::Buckets(buckets)));
        let popular = (0..1000).filter(|_| chooser.next(&mut prng) < 10).count();
        assert!((430..570).contains(&popular), "{popular}");
        assert!(PopularityBuckets::new(&[1.0], &[1.0, 1.0]).is_none());
        assert!(PopularityBuckets::new(&[0.0], &[1.0]).is_none());
    }

    #[test]
    fn every_key_is_below_the_count() {
        let mut prng = Prng::new(1);
        let buckets = PopularityBuckets::new(&[1.0, 9.0], &[5.0, 5.0]).expect("sound");
        for popularity in [Popularity::Uniform, Popularity::Zipf(1.2), Popularity::Buckets(buckets)] {
            let chooser = KeyChooser::new(7, &popularity);
            assert!((0..1000).all(|_| chooser.next(&mut prng) < 7));
        }
    }
}
