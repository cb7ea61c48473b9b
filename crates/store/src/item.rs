//! What an item looks like from outside.

/// A key with its hash. The caller hashes; the bucket is the top 15 bits.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// 1 to 250 bytes.
    pub bytes: &'a [u8],
    /// XXH3_64 of the bytes.
    pub hash: u64,
}

impl<'a> Key<'a> {
    /// A key whose hash is not known yet.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, hash: xxhash_rust::xxh3::xxh3_64(bytes) }
    }

    /// The key's bucket as an index.
    #[inline]
    pub const fn bucket(&self) -> usize {
        (self.hash >> 49) as usize
    }
}

/// A key, and what an earlier look-up of it found: [`crate::Store::prefetch`] fills that in, so that the look-up
/// which follows need not search again. Without, or when the item has moved meanwhile, it searches.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    /// The key.
    pub key: Key<'a>,
    pub(crate) hint: Hint,
}

impl<'a> From<Key<'a>> for Sought<'a> {
    #[inline]
    fn from(key: Key<'a>) -> Self {
        Self { key, hint: Hint::default() }
    }
}

/// A slot and the word that was in it. As long as the bucket's slot of that number says the same, the item is
/// where the word says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hint {
    pub(crate) slot: u32,
    /// Zero: no hint.
    pub(crate) word: u64,
}

/// An item as stored, borrowed for as long as its lock or read section lasts.
#[derive(Clone, Copy, Debug)]
pub struct ItemView<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value without its line end.
    pub value: &'a [u8],
    /// Client flags.
    pub flags: u32,
    /// The unique version of the item.
    pub cas: u64,
    /// When it expires; zero: never.
    pub exptime_ms: u64,
    /// When it was last fetched or written; may be some seconds behind.
    pub last_access_ms: u64,
    /// Marks of the meta protocol.
    pub marks: Marks,
}

/// One-bit facts about an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Fetched since it was written.
    pub fetched: bool,
    /// Kept though invalidated: readers are told that it is stale.
    pub stale: bool,
    /// A client was told to refresh it and has not yet.
    pub won: bool,
    /// Its key came base64-encoded and goes out so.
    pub binary_key: bool,
}

/// A write. The value's bytes are filled in by a closure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Put {
    /// Client flags.
    pub flags: u32,
    /// When the item expires; zero: never.
    pub exptime_ms: u64,
    /// The cas to give it; `None`: the next unique one.
    pub cas: Option<u64>,
    /// Marks to set.
    pub marks: Marks,
}

/// Why a write did not happen. The old item is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The item is larger than the item limit.
    #[error("object too large for cache")]
    TooLarge,
    /// No memory is free and nothing may be evicted.
    #[error("out of memory storing object")]
    OutOfMemory,
}

/// Why a key has no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Not stored, deleted or evicted.
    Missing,
    /// There, but past its exptime.
    Expired,
    /// There, but at or below its bucket's floor.
    Flushed,
}
