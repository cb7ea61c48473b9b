//! The node's time: what a session is told about now, and who reads the clocks.

use stdx::{LeaseTime, clock};

/// The store's clock starts here, so that one millisecond is always past: that is how an item that is expired
/// from the start is stored.
pub const STORE_CLOCK_START_MS: u64 = 1000;

/// Expired already, on the store's clock.
pub const ALWAYS_EXPIRED_MS: u64 = 1;

const _: () = assert!(ALWAYS_EXPIRED_MS < STORE_CLOCK_START_MS);

/// One reading of the clocks, taken after the bytes to be handled were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For leases and deadlines.
    pub lease: LeaseTime,
    /// The store's clock: milliseconds since the process started, plus [`STORE_CLOCK_START_MS`]; after a warm
    /// restart it goes on, with the time in between.
    pub store_ms: u64,
    /// Unix time at which the store's clock was zero, in milliseconds.
    pub unix_start_ms: u64,
}

impl Now {
    /// Unix time, in milliseconds.
    pub fn unix_ms(&self) -> u64 {
        self.unix_start_ms + self.store_ms
    }
}

/// When a node started, on the clocks that go on from there.
///
/// Unix time is read once, as memcached does: items then expire by a clock that never jumps.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    lease: LeaseTime,
    unix_start_ms: u64,
    /// What the store's clock showed then.
    store_ms: u64,
}

impl Start {
    /// Starts now.
    pub fn now() -> Self {
        Self::at(clock::lease_now(), clock::unix_millis())
    }

    /// Starts at given readings, for tests.
    pub fn at(lease: LeaseTime, unix_ms: u64) -> Self {
        Self::resumed(lease, unix_ms, STORE_CLOCK_START_MS)
    }

    /// Starts at given readings, with a store's clock that goes on where another process's was.
    pub(crate) fn resumed(lease: LeaseTime, unix_ms: u64, store_ms: u64) -> Self {
        Self { lease, unix_start_ms: unix_ms.saturating_sub(store_ms), store_ms }
    }

    /// What a reading of the clocks means to this node.
    #[inline]
    pub fn when(&self, lease: LeaseTime) -> Now {
        Now {
            lease,
            store_ms: self.store_ms + lease.boot.saturating_sub(self.lease.boot) / 1_000_000,
            unix_start_ms: self.unix_start_ms,
        }
    }

    /// Whole milliseconds since the start, by the faster of the lease clocks.
    pub fn elapsed_max_ms(&self, lease: LeaseTime) -> u64 {
        u64::try_from(lease.elapsed_max(self.lease).as_millis()).unwrap_or(u64::MAX)
    }
}
