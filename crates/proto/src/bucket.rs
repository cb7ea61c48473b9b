//! `bucket(key) = XXH3_64(key) >> 49`, for every client in every language.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

/// How many slices the hash space has; fixed for ever, since keys would move.
pub const BUCKET_COUNT: usize = 1 << 15;

/// One of the 32,768 slices of the hash space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u16);

impl Bucket {
    /// The bucket of that number; `None` when it is 32,768 or more.
    pub const fn new(number: u16) -> Option<Self> {
        if (number as usize) < BUCKET_COUNT { Some(Self(number)) } else { None }
    }

    /// The bucket's number, 0 to 32,767.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The bucket's number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All buckets in order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + Clone {
        (0..BUCKET_COUNT as u16).map(Self)
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The 64-bit hash of a key; its top 15 bits are the bucket, the rest finds the item inside a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// Hashes a key: its bytes, and of a base64-encoded key what it decodes to.
    #[inline]
    pub fn of(key: &[u8]) -> Self {
        Self(xxh3_64(key))
    }

    /// The bucket of the hashed key.
    #[inline]
    pub const fn bucket(self) -> Bucket {
        Bucket((self.0 >> 49) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_the_top_of_the_hash() {
        assert_eq!(KeyHash(u64::MAX).bucket().number(), 32_767);
        assert_eq!(KeyHash(1 << 49).bucket().number(), 1);
        // XXH3_64 of the empty input, from the published test vectors.
        assert_eq!(KeyHash::of(b"").0, 0x2d06_8005_38d3_94c2);
        assert!(Bucket::new(32_768).is_none());
    }
}
