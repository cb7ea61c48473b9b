//! memcached's binary protocol: decode of requests, encode of replies.
//!
//! Every message is a 24-byte header, then *extras* (numbers, as the opcode has them), the key and the value;
//! all numbers are big-endian. A value is not part of what [`decode`] waits for: whoever holds the connection
//! reads or swallows it. Behaviour is memcached's (`proto_bin.c` of 1.6), where the comments here do not say
//! otherwise. Managed nodes do not speak it, since `bg` has no binary form.
//!
//! ```text
//!  0      1       2           4       5         6         8           12      16
//!  +------+-------+-----------+-------+---------+---------+-----------+-------+------+
//!  | 0x80 |opcode | key length|extras | datatype| vbucket |body length|opaque | cas  |  request
//!  | 0x81 |       |           |length |  (0)    | /status |           |       |      |  reply
//!  +------+-------+-----------+-------+---------+---------+-----------+-------+------+
//! ```
//!
//! **Invariant**: no allocation, no panic and constant work for any bytes; all lengths are checked on the
//! header alone, before a byte of what they announce is waited for.

mod header;
pub mod opcode;
mod reply;
mod request;
mod status;

pub use header::{Echo, HEADER_LEN, REPLY_MAGIC, REQUEST_MAGIC};
pub use reply::Reply;
pub use request::{Arith, Command, Decoded, Request, StoreVerb, decode};
pub use status::Status;

#[cfg(test)]
mod tests;
