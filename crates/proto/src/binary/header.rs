//! The header that every binary message starts with.

/// Length of a header in bytes.
pub const HEADER_LEN: usize = 24;

/// First byte of a request; a connection that starts with it is binary.
pub const REQUEST_MAGIC: u8 = 0x80;

/// First byte of a reply.
pub const REPLY_MAGIC: u8 = 0x81;

/// What a reply repeats of its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// The request's opcode, that of the quiet form where it was one.
    pub opcode: u8,
    /// The client's own mark.
    pub opaque: u32,
}

/// A request's header. Datatype and vbucket are ignored, as memcached does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) echo: Echo,
    pub(super) key_len: u16,
    pub(super) extras_len: u8,
    /// Extras, key and value.
    pub(super) body_len: u32,
    pub(super) cas: u64,
}

impl Header {
    /// The header at the start of a buffer and what follows it; `None` when it has not come whole. The first
    /// byte is not looked at.
    #[inline]
    pub(super) fn split_from(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&[_, opcode, k0, k1, extras_len, _, _, _, ref rest @ ..], behind) =
            input.split_first_chunk::<HEADER_LEN>()?;
        let &[b0, b1, b2, b3, o0, o1, o2, o3, c0, c1, c2, c3, c4, c5, c6, c7] = rest;
        let header = Self {
            echo: Echo { opcode, opaque: u32::from_be_bytes([o0, o1, o2, o3]) },
            key_len: u16::from_be_bytes([k0, k1]),
            extras_len,
            body_len: u32::from_be_bytes([b0, b1, b2, b3]),
            cas: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
        };
        Some((header, behind))
    }

    /// Length of the value; `None` when extras and key are longer than the body that should hold them.
    #[inline]
    pub(super) fn value_len(&self) -> Option<u32> {
        self.body_len.checked_sub(u32::from(self.key_len))?.checked_sub(u32::from(self.extras_len))
    }
}
