//! The tokio client, driving route.
