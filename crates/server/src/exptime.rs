//! Exptimes on the wire to the store's clock.
//!
//! memcached counts whole seconds of a clock that ticks once a second, so its items live up to a second less
//! than asked for. Here a relative exptime of n ends n seconds after the command, in milliseconds, and an
//! absolute one at that second of unix time. The store keeps it in steps (`store::limits::EXPTIME_STEP_MS`),
//! rounded up: an item never lives shorter than asked for, and longer by less than a step.

use crate::clock::{ALWAYS_EXPIRED_MS, Now};

/// The longest relative exptime, 30 days in seconds; what is larger is unix time.
const RELATIVE_MAX: i64 = 60 * 60 * 24 * 30;

/// When an item with this exptime expires, on the store's clock; zero: never.
#[inline]
pub(crate) fn to_store_ms(exptime: i64, now: &Now) -> u64 {
    match exptime {
        0 => 0,
        ..0 => ALWAYS_EXPIRED_MS,
        1..=RELATIVE_MAX => now.store_ms + exptime.unsigned_abs() * 1000,
        _ => (exptime.unsigned_abs() * 1000).saturating_sub(now.unix_start_ms).max(ALWAYS_EXPIRED_MS),
    }
}

#[cfg(test)]
mod tests {
    use stdx::LeaseTime;

    use super::*;
    use crate::clock::Start;

    #[track_caller]
    fn check(exptime: i64, store_ms: u64) {
        let now = Start::at(LeaseTime::from_millis(0), 1_700_000_000_000).when(LeaseTime::from_millis(5_000));
        assert_eq!(to_store_ms(exptime, &now), store_ms);
    }

    #[test]
    fn exptimes_are_relative_up_to_thirty_days() {
        check(0, 0);
        check(-1, ALWAYS_EXPIRED_MS);
        check(1, 7_000);
        check(2_592_000, 2_592_000_000 + 6_000);
        // The first absolute one is in 1970.
        check(2_592_001, ALWAYS_EXPIRED_MS);
        check(1_700_000_000, 1_000);
        check(1_700_000_010, 11_000);
    }
}
