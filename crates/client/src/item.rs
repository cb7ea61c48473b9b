//! What is stored, and how long.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::Generation;

/// An item as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The data.
    pub value: Vec<u8>,
    /// What the writer's client put beside it.
    pub flags: u32,
}

/// The version of an item that was read by [`crate::Client::gets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cas {
    pub(crate) unique: u64,
    /// Under which the item was read, in a managed cluster. Under another one the item read is gone for ever.
    pub(crate) generation: Option<Generation>,
}

/// What [`crate::Client::cas`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CasResult {
    /// The item was the one read; the new value is stored.
    Stored,
    /// It was written since; nothing is stored.
    Changed,
    /// It is gone; nothing is stored.
    Missing,
}

/// How long an item lives. A cache may drop it earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Until it is dropped for want of room.
    #[default]
    Never,
    /// That long from now, in whole seconds, rounded up.
    After(Duration),
    /// Until that moment by the server's wall clock.
    At(SystemTime),
}

/// Longer times are taken by memcached for a moment since 1970.
const RELATIVE_MAX: u64 = 60 * 60 * 24 * 30;

impl Expiry {
    /// As on the wire. What is over already is negative; what lies beyond 2038 is cut there.
    pub(crate) fn exptime(self) -> i64 {
        let (seconds, absolute) = match self {
            Self::Never => return 0,
            Self::After(time) => (ceil(time), ceil(time) > RELATIVE_MAX),
            Self::At(moment) => (moment.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()), true),
        };
        let from =
            if absolute && matches!(self, Self::After(_)) { stdx::clock::unix_millis() / 1000 } else { 0 };
        match seconds.saturating_add(from) {
            // 0 would mean for ever, and a small number a time from now.
            0 => -1,
            moment if absolute && moment <= RELATIVE_MAX => -1,
            seconds => seconds.min(i32::MAX as u64) as i64,
        }
    }
}

fn ceil(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_memcached_takes_them_for() {
        assert_eq!(Expiry::Never.exptime(), 0);
        assert_eq!(Expiry::After(Duration::ZERO).exptime(), -1);
        assert_eq!(Expiry::After(Duration::from_millis(1)).exptime(), 1);
        assert_eq!(Expiry::After(Duration::from_secs(RELATIVE_MAX)).exptime(), RELATIVE_MAX as i64);
        let long = Expiry::After(Duration::from_secs(RELATIVE_MAX + 1)).exptime();
        assert!(long > 1_700_000_000, "{long}");
        assert_eq!(Expiry::At(UNIX_EPOCH).exptime(), -1);
        assert_eq!(Expiry::At(UNIX_EPOCH + Duration::from_secs(60)).exptime(), -1);
        assert_eq!(Expiry::At(UNIX_EPOCH + Duration::from_secs(1 << 40)).exptime(), i64::from(i32::MAX));
        assert_eq!(Expiry::At(UNIX_EPOCH + Duration::from_secs(2_000_000_000)).exptime(), 2_000_000_000);
    }
}
