//! The memcached text protocol, the managed words and the control codec.
