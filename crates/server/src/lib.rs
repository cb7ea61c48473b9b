//! The node: listener, workers, admin words, stats.
