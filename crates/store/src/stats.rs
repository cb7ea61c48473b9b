//! Counters of the store, since its start or the last reset.

/// A snapshot; gauges first, then counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Items present, expired ones included until they are reclaimed.
    pub items: u64,
    /// Bytes they and the index occupy.
    pub bytes: u64,
    /// Bytes of memory that are in use, free parts of segments included.
    pub memory_used: u64,
    /// Limit of `memory_used`.
    pub memory_limit: u64,
    /// Items ever stored.
    pub total_items: u64,
    /// Live items dropped to make room.
    pub evictions: u64,
    /// Of these, never fetched.
    pub evicted_unfetched: u64,
    /// Of `evictions`, with an exptime.
    pub evicted_with_exptime: u64,
    /// Expired or wiped items whose memory was used again, or which a write replaced.
    pub reclaimed: u64,
    /// Of `reclaimed`, expired and never fetched.
    pub expired_unfetched: u64,
    /// Writes refused for want of memory.
    pub out_of_memory: u64,
}
