//! What can be set about routing.

use std::time::Duration;

/// Thresholds and time-outs; the default suits servers in one data centre.
#[derive(Clone, Copy, Debug)]
pub struct RouteOptions {
    /// How long one attempt may wait for its reply.
    pub timeout: Duration,
    /// How long a write may take with all its attempts; at least `timeout`.
    pub write_budget: Duration,
    /// Time-outs in a row after which a backend is down.
    pub timeouts_until_down: u32,
    /// First pause before a down backend is probed; doubles with each failure.
    pub probe_pause_min: Duration,
    /// Longest pause between probes.
    pub probe_pause_max: Duration,
    /// Places of each key in a static pool, at least 1.
    pub replicas: usize,
}

impl Default for RouteOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(500),
            write_budget: Duration::from_millis(2000),
            timeouts_until_down: 3,
            probe_pause_min: Duration::from_millis(100),
            probe_pause_max: Duration::from_secs(5),
            replicas: 1,
        }
    }
}
