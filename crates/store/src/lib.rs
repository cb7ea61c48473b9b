//! The items: memory, index, eviction, expiry, bucket floors.
