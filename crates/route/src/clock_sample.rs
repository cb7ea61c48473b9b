//! A node's clock as one connection sees it, for the deadlines of creating commands ("Client and proxy").
//!
//! A write that timed out may lie in the buffers of a stopped node, and must not be applied when the node wakes:
//! its deadline, in the node's own clock, is never later than the moment when the caller was told.

use std::time::Duration;

use cluster::lease::DRIFT_PERCENT;
use proto::Incarnation;
use proto::reply::Clock;
use stdx::Instant;

/// One answer to `clock`. It belongs to the connection it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSample {
    /// Whose clock.
    pub incarnation: Incarnation,
    node_ms: u64,
    received: Instant,
}

impl ClockSample {
    /// A sample that has just been received.
    pub fn new(clock: Clock, received: Instant) -> Self {
        Self { incarnation: clock.incarnation, node_ms: clock.ms, received }
    }

    /// How old the sample is.
    pub fn age(&self, now: Instant) -> Duration {
        now.since(self.received)
    }

    /// `deadline` of our clock in the node's: `T_node + (deadline - received)(1-e)/(1+e)`, so that whichever clock is
    /// the slow one, the node's shows that number before ours shows the deadline. The node read its clock before we
    /// received it, which errs on the same side. One less, since the node's clock shows the last millisecond in time
    /// until it is over.
    pub fn stamp(&self, deadline: Instant) -> u64 {
        let ahead_ms = deadline.since(self.received).as_millis();
        let scaled = ahead_ms * u128::from(100 - DRIFT_PERCENT) / u128::from(100 + DRIFT_PERCENT);
        self.node_ms.saturating_add(u64::try_from(scaled).unwrap_or(u64::MAX)).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both clocks run wrong by the allowed 5 %, in all combinations: the node's deadline never comes late. The node
    /// shows whole milliseconds, and has read its clock at any time within one.
    #[test]
    fn a_stamp_is_never_later_than_the_deadline() {
        for (ours, theirs) in [(95u64, 95u64), (95, 105), (105, 95), (105, 105), (100, 100)] {
            for real_us in [0u64, 1, 500, 999, 1_000, 1_100, 2_000, 300_000, 500_000, 5_000_000] {
                for read_us in [123_456_000, 123_456_500, 123_456_999] {
                    let received = Instant::from_millis(77_000);
                    let clock = Clock { incarnation: Incarnation(1), ms: read_us / 1000 };
                    let sample = ClockSample::new(clock, received);
                    // Our clock shows the deadline after `real_us` of real time.
                    let deadline = Instant(received.0 + real_us * 1_000 * ours / 100);
                    // The first moment at which the node takes the write for late.
                    let late_us = (sample.stamp(deadline) + 1) * 1000;
                    let node_then_us = read_us + real_us * theirs / 100;
                    assert!(late_us <= node_then_us, "{ours} {theirs} {real_us} {read_us}");
                }
            }
        }
    }
}
