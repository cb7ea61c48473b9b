//! Clocks that run wrong within the limits of T1, each machine's two their own way.

use stdx::{LeaseTime, Prng};

pub(crate) use crate::history::Real;

/// One millisecond of real time.
pub(crate) const MS: Real = 1_000_000;

/// The two clocks of one machine.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    boot: Drift,
    raw: Drift,
    /// While the machine is suspended the raw clock stands: how long it has stood.
    stood: Real,
}

#[derive(Clone, Copy, Debug)]
struct Drift {
    start: u64,
    /// Parts per million of real time.
    rate_ppm: u64,
}

impl Drift {
    fn new(prng: &mut Prng) -> Self {
        let rate_ppm = match prng.below(4) {
            0 => 950_000,
            1 => 1_050_000,
            2 => 950_000 + prng.below(100_001),
            _ => 1_000_000,
        };
        Self { start: 1_000_000_000 + prng.below(1 << 40), rate_ppm }
    }

    fn at(self, elapsed: Real) -> u64 {
        self.start + (u128::from(elapsed) * u128::from(self.rate_ppm) / 1_000_000) as u64
    }
}

impl Clocks {
    /// Two clocks with random starts and rates.
    pub(crate) fn new(prng: &mut Prng) -> Self {
        Self { boot: Drift::new(prng), raw: Drift::new(prng), stood: 0 }
    }

    /// Reads both.
    pub(crate) fn read(&self, now: Real) -> LeaseTime {
        LeaseTime { boot: self.boot.at(now), raw: self.raw.at(now - self.stood) }
    }

    /// The machine was suspended for so long, until now.
    pub(crate) fn suspended(&mut self, length: Real) {
        self.stood += length;
    }

    /// The real time at which the boot clock shows `boot`, or a little later.
    pub(crate) fn real_at(&self, boot: u64) -> Real {
        let elapsed = u128::from(boot.saturating_sub(self.boot.start)) * 1_000_000;
        (elapsed / u128::from(self.boot.rate_ppm)) as u64 + 2
    }
}
