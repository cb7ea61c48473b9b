//! Which key is asked for next.

use stdx::Prng;

/// How often which key is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Popularity {
    /// All equally often.
    Uniform,
    /// The n-th most popular key in proportion to `1 / n^alpha`; `alpha` above 0 and not 1.
    Zipf(f64),
}

/// Draws keys. The popular keys are spread over the key space, so that no server holds all of them.
#[derive(Clone, Debug)]
pub(crate) struct KeyChooser {
    count: u64,
    zipf: Option<Zipf>,
}

impl KeyChooser {
    pub(crate) fn new(count: u64, popularity: Popularity) -> Self {
        let zipf = match popularity {
            Popularity::Uniform => None,
            Popularity::Zipf(alpha) => Some(Zipf::new(count, alpha)),
        };
        Self { count, zipf }
    }

    pub(crate) fn next(&self, prng: &mut Prng) -> u64 {
        match &self.zipf {
            None => prng.below(self.count),
            Some(zipf) => Prng::new(zipf.rank(prng)).next_u64() % self.count,
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
    fn every_key_is_below_the_count() {
        let mut prng = Prng::new(1);
        for popularity in [Popularity::Uniform, Popularity::Zipf(1.2)] {
            let chooser = KeyChooser::new(7, popularity);
            assert!((0..1000).all(|_| chooser.next(&mut prng) < 7));
        }
    }
}
