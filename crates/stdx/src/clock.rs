//! The only place where clocks are read.
//!
//! Shells read the clock and hand the reading to the pure crates. Wall time is for exptimes given as unix
//! time and for logs, never for safety (T3).

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::time::{Instant, LeaseTime};

/// Reads both lease clocks; about 45 ns.
pub fn lease_now() -> LeaseTime {
    LeaseTime { boot: read(ClockId::Boottime), raw: read(ClockId::MonotonicRaw) }
}

/// Reads the clock of ordinary timers (`CLOCK_BOOTTIME`, the same as [`LeaseTime::instant`]).
pub fn now() -> Instant {
    Instant(read(ClockId::Boottime))
}

/// Unix time in milliseconds; zero when the wall clock stands before 1970.
pub fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Unix time in microseconds; zero when the wall clock stands before 1970.
pub fn unix_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// A random number from the kernel, for seeds, incarnations and nonces.
pub fn random_u64() -> u64 {
    let mut bytes = [0u8; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel gives no random numbers: {error}"),
        }
    }
    u64::from_ne_bytes(bytes)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
