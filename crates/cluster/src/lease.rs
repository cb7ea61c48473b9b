//! A lease: the time-bound right of a node to serve at all, and the two lengths that belong to it.
//!
//! The node counts L from the send time of its poll, as the longer of its two clocks; the manager waits W from
//! the arrival of that poll, as the shorter of its two (T1). `Lease` is plain data that fits two atomics.

use std::time::Duration;

use stdx::LeaseTime;

/// Default length of a lease, L.
pub const LEASE: Duration = Duration::from_secs(10);
/// By how much a clock may run wrong, epsilon, in percent (T1).
pub const DRIFT_PERCENT: u32 = 5;
/// Added to the waiting time, for the granularity of timers.
pub const WAIT_MARGIN: Duration = Duration::from_millis(250);

/// W = L(1+e)/(1-e) + 0.25 s: how long a manager waits before a silent node's lease is surely over.
pub fn waiting_time(lease: Duration) -> Duration {
    lease * (100 + DRIFT_PERCENT) / (100 - DRIFT_PERCENT) + WAIT_MARGIN
}

/// Until when a node may serve, on both of its clocks.
///
/// A shell that keeps the two numbers in two atomics may read them torn: a mix of an older and a newer lease
/// ends with the older one, which is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    until: LeaseTime,
}

impl Lease {
    /// No right to serve; what a node starts with.
    pub const NONE: Self = Self { until: LeaseTime { boot: 0, raw: 0 } };

    /// The lease that a reply gives: `length` from the SEND time of its poll ("Node/OnReply", hazard g).
    pub fn from_poll(sent: LeaseTime, length: Duration) -> Self {
        let length = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        let until =
            LeaseTime { boot: sent.boot.saturating_add(length), raw: sent.raw.saturating_add(length) };
        Self { until }
    }

    /// Rebuilds a lease from [`Lease::until`].
    pub const fn from_until(until: LeaseTime) -> Self {
        Self { until }
    }

    /// The end on both clocks, for keeping in atomics.
    pub const fn until(self) -> LeaseTime {
        self.until
    }

    /// True while the holder may serve: `now.elapsed_max(sent) < length` ("Node/Exec"). `now` is read after
    /// the request was received completely, never cached (hazard a).
    pub const fn is_valid(self, now: LeaseTime) -> bool {
        now.boot < self.until.boot && now.raw < self.until.raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_wait_is_what_the_promise_says() {
        assert_eq!(waiting_time(LEASE).as_millis(), 11_302);
    }

    #[test]
    fn the_longer_of_both_clocks_ends_a_lease() {
        let sent = LeaseTime { boot: 1_000, raw: 500 };
        let lease = Lease::from_poll(sent, Duration::from_nanos(100));
        assert!(lease.is_valid(sent));
        assert!(lease.is_valid(LeaseTime { boot: 1_099, raw: 599 }));
        assert!(!lease.is_valid(LeaseTime { boot: 1_100, raw: 510 }));
        assert!(!lease.is_valid(LeaseTime { boot: 1_010, raw: 600 }));
        assert!(!Lease::NONE.is_valid(LeaseTime::default()));
    }
}
