//! Named limits of the map and of the two machines.

use std::time::Duration;

/// Most nodes in a cluster. One more is refused when it is added; a map with more is refused whole.
pub const NODES_MAX: usize = 4096;

/// Longest lease that a node believes. A reply with a longer one is refused: its manager is misconfigured.
pub const LEASE_MAX: Duration = Duration::from_secs(3600);

/// Lives that poll and are not admitted yet. One more is refused.
pub const NEWCOMERS_MAX: usize = 4096;

/// Lives of one name whose polls are remembered. With one more the oldest is forgotten: a copy of one of its polls
/// that is still on its way would be taken again.
pub const LIVES_REMEMBERED_MAX: usize = 32;

/// Names whose polls are remembered. With one more the first in order is forgotten, as above.
pub const NAMES_REMEMBERED_MAX: usize = NODES_MAX + NEWCOMERS_MAX;

/// Dirty reports that may wait at a time. One more is refused; its sender keeps it and reports again.
pub const DIRTY_WAITING_MAX: usize = 65_536;

/// Commands, deaths and releases that may wait for their change at a time. One more is refused.
pub const COMMANDS_WAITING_MAX: usize = 1024;

/// How long a poll without news is held; then it is answered with the lease alone.
pub const POLL_HOLD: Duration = Duration::from_secs(1);

/// Pause before a store that failed is read again.
pub const RELOAD_PAUSE: Duration = Duration::from_millis(200);

const _: () = assert!(NODES_MAX < u16::MAX as usize, "a node's index fits 16 bits with one value spare");
