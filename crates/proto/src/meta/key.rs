//! The key of a meta command: as it stands, or as base64.

use super::base64;
use crate::limits::KEY_LEN_MAX;

/// A key as it stands on the wire, and what that means. Checked: its length is legal and it decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaKey<'a> {
    wire: &'a [u8],
    base64: bool,
}

/// Room for a decoded key.
pub type KeyScratch = [u8; base64::decoded_len_max(KEY_LEN_MAX)];

impl<'a> MetaKey<'a> {
    /// The key as it came, to be echoed; followed by ` b` where [`Self::is_base64`].
    #[inline]
    pub const fn wire(&self) -> &'a [u8] {
        self.wire
    }

    /// Whether it came as base64.
    #[inline]
    pub const fn is_base64(&self) -> bool {
        self.base64
    }

    /// The key that the item has: 1 to 250 bytes, any bytes if it came as base64. `scratch` holds it then.
    #[inline]
    pub fn bytes<'s>(&self, scratch: &'s mut KeyScratch) -> &'s [u8]
    where
        'a: 's,
    {
        if !self.base64 {
            return self.wire;
        }
        let len = base64::decode(self.wire, scratch).unwrap_or_default();
        scratch.get(..len).unwrap_or_default()
    }

    /// A word as a key, if it is one.
    #[inline]
    pub(super) fn checked(wire: &'a [u8], base64: bool) -> Option<Self> {
        (wire.len() <= KEY_LEN_MAX && (!base64 || is_base64(wire))).then_some(Self { wire, base64 })
    }
}

/// Writes an item's key as a meta command takes it: as it is, or as base64 and ` b`.
pub fn put_key(out: &mut Vec<u8>, key: &[u8], as_base64: bool) {
    if as_base64 {
        base64::encode(key, out);
        out.extend_from_slice(b" b");
    } else {
        out.extend_from_slice(key);
    }
}

#[cold]
fn is_base64(wire: &[u8]) -> bool {
    let mut scratch: KeyScratch = [0; _];
    base64::decode(wire, &mut scratch).is_some()
}
