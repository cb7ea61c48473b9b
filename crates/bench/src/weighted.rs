//! Choices with weights: size histograms, popularity buckets, TTL mixes.

use std::sync::Arc;

/// Draws the position of a weight, in proportion to the weights. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Weighted {
    /// Sums of the weights up to and with each position.
    sums: Arc<[f64]>,
}

impl Weighted {
    /// `None` when there is no weight above zero, or one that is negative or not finite.
    pub fn new(weights: &[f64]) -> Option<Self> {
        let sound = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        let sums: Arc<[f64]> = weights
            .iter()
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        (sound && sums.last().is_some_and(|total| *total > 0.0)).then_some(Self { sums })
    }

    /// The position that `unit`, a number in `[0, 1)`, falls on.
    pub fn at(&self, unit: f64) -> usize {
        let total = self.sums.last().copied().unwrap_or_default();
        self.sums.partition_point(|sum| *sum <= unit * total).min(self.sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_in_proportion() {
        let weighted = Weighted::new(&[1.0, 0.0, 3.0]).expect("sound");
        assert_eq!([0.0, 0.2, 0.25, 0.99].map(|unit| weighted.at(unit)), [0, 0, 2, 2]);
        assert!(Weighted::new(&[]).is_none());
        assert!(Weighted::new(&[0.0]).is_none());
        assert!(Weighted::new(&[1.0, -1.0]).is_none());
    }
}
