//! What the manager has done since it started, for `/metrics`.

/// Counts since the start. Owned by the driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) polls: u64,
    pub(crate) polls_refused: u64,
    pub(crate) deaths: u64,
    pub(crate) releases: u64,
    pub(crate) dirty_reports: u64,
    pub(crate) commands: u64,
    pub(crate) requests_refused: u64,
    pub(crate) map_requests: u64,
    pub(crate) commits: u64,
    pub(crate) commits_failed: u64,
    pub(crate) reloads: u64,
    pub(crate) buckets_moved: u64,
    pub(crate) buckets_wiped: u64,
    pub(crate) nodes_admitted: u64,
    pub(crate) nodes_dead: u64,
    pub(crate) nodes_silent: u64,
}
