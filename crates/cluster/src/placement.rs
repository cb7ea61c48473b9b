//! Who should own which bucket.
