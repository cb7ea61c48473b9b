//! Time as plain numbers, so that the pure crates can be driven by a simulator.
//!
//! `Instant` is for ordinary timers (time-outs, probes). `LeaseTime` is for safety: two clocks read
//! together, because T1 of the promise wants a node to measure an interval as the longer of both and a
//! manager as the shorter.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds of an ordinary monotonic clock since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// Builds an instant from milliseconds since the clock's start.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// Whole milliseconds since the clock's start.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

/// Two clocks read together: `CLOCK_BOOTTIME` and `CLOCK_MONOTONIC_RAW`, in nanoseconds.
///
/// There is no order between two of these, only an interval, measured on the side that is safe for whoever
/// asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeaseTime {
    /// Nanoseconds of `CLOCK_BOOTTIME`: goes on while the machine is suspended.
    pub boot: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC_RAW`: not slewed by time synchronisation.
    pub raw: u64,
}

impl LeaseTime {
    /// Both clocks at the same reading; for tests and simulators.
    pub const fn from_millis(ms: u64) -> Self {
        Self { boot: ms * 1_000_000, raw: ms * 1_000_000 }
    }

    /// The longer of the two intervals since `earlier`: what a holder of a lease must believe has passed.
    pub fn elapsed_max(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.boot.saturating_sub(earlier.boot).max(self.raw.saturating_sub(earlier.raw)))
    }

    /// The shorter of the two intervals since `earlier`: what a giver of a lease must believe has passed.
    pub fn elapsed_min(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.boot.saturating_sub(earlier.boot).min(self.raw.saturating_sub(earlier.raw)))
    }

    /// The ordinary instant of this reading, for timers that carry no safety.
    pub const fn instant(self) -> Instant {
        Instant(self.boot)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_measured_on_the_safe_side() {
        let start = LeaseTime { boot: 100, raw: 100 };
        let after_suspend = LeaseTime { boot: 600, raw: 150 };
        assert_eq!(after_suspend.elapsed_max(start), Duration::from_nanos(500));
        assert_eq!(after_suspend.elapsed_min(start), Duration::from_nanos(50));
    }

    #[test]
    fn instants_saturate() {
        assert_eq!(Instant(5).since(Instant(9)), Duration::ZERO);
        assert_eq!(Instant(5) - Duration::from_secs(1), Instant::ZERO);
    }
}
