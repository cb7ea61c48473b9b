//! memcached in, route in the middle, backends out.
