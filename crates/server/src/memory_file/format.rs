//! The bytes of a memory file (docs/memory-file.md): a magic number, then frames with checksums.
//!
//! Pure. Nothing is believed: a length that does not fit is `None`, which the reader calls damage.

use proto::limits::KEY_LEN_MAX;
use store::{ItemView, Marks, Numbering, Saved};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The first bytes of every memory file, of whatever version.
pub(super) const MAGIC: [u8; 8] = *b"doledmem";

/// The version that this program writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;

/// Length of what precedes a frame's content.
pub(super) const HEAD_LEN: usize = 16;

/// What a frame holds: its first byte.
pub(super) const FACTS: u8 = b'F';
pub(super) const ITEMS: u8 = b'I';
pub(super) const END: u8 = b'E';

/// Bytes of an item besides its key, its value and a cas of its own.
pub(super) const ITEM_HEAD_LEN: usize = 36;

const FETCHED: u8 = 1;
const STALE: u8 = 2;
const WON: u8 = 4;
const BINARY_KEY: u8 = 8;
const OWN_CAS: u8 = 16;
const MAIN: u8 = 32;

/// What precedes a frame's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Of the content.
    pub(super) len: u32,
    /// Frames are counted from zero.
    pub(super) number: u32,
    pub(super) hash: u64,
}

impl Head {
    pub(super) fn of(content: &[u8], number: u32) -> Option<Self> {
        let len = u32::try_from(content.len()).ok()?;
        Some(Self { len, number, hash: xxh3_64_with_seed(content, u64::from(number)) })
    }

    pub(super) fn encode(self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..].copy_from_slice(&self.hash.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: [u8; HEAD_LEN]) -> Self {
        let mut rest = &bytes[..];
        let mut next = || take_u32(&mut rest).expect("sixteen bytes");
        let (len, number, low, high) = (next(), next(), next(), next());
        Self { len, number, hash: u64::from(high) << 32 | u64::from(low) }
    }
}

/// What a memory file says about the node that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// `-m`, in bytes.
    pub(super) memory: u64,
    /// `-I`, in bytes.
    pub(super) item_size_max: u64,
    /// The store's clock at the end, by which exptimes go.
    pub(super) store_ms: u64,
    /// Unix time at the end.
    pub(super) unix_ms: u64,
    /// The boot clock at the end.
    pub(super) boot_ns: u64,
    /// The boot of the machine that this clock belongs to; zero where it is not known.
    pub(super) boot_id: u128,
    /// When a delayed flush is due, on the store's clock; zero: none is.
    pub(super) flush_at_ms: u64,
    pub(super) numbering: Numbering,
}

impl Facts {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(FACTS);
        for number in [self.memory, self.item_size_max, self.store_ms, self.unix_ms, self.boot_ns] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.boot_id.to_le_bytes());
        for number in [self.flush_at_ms, self.numbering.start].iter().chain(&self.numbering.last) {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// From a frame's content behind its first byte.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        let facts = Self {
            memory: take_u64(rest)?,
            item_size_max: take_u64(rest)?,
            store_ms: take_u64(rest)?,
            unix_ms: take_u64(rest)?,
            boot_ns: take_u64(rest)?,
            boot_id: u128::from_le_bytes(take(rest)?),
            flush_at_ms: take_u64(rest)?,
            numbering: Numbering {
                start: take_u64(rest)?,
                last: (0..store::BUCKET_COUNT).map(|_| take_u64(rest)).collect::<Option<_>>()?,
            },
        };
        rest.is_empty().then_some(facts)
    }
}

/// Writes an item.
pub(super) fn put_item(out: &mut Vec<u8>, saved: &Saved<'_>) {
    let item = &saved.item;
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    let bits = bit(item.marks.fetched, FETCHED)
        | bit(item.marks.stale, STALE)
        | bit(item.marks.won, WON)
        | bit(item.marks.binary_key, BINARY_KEY)
        | bit(saved.has_own_cas, OWN_CAS)
        | bit(saved.is_main, MAIN);
    let value_len = u32::try_from(item.value.len()).expect("items are at most 1 GiB");
    let key_len = u8::try_from(item.key.len()).expect("keys are at most 250 bytes");
    let frequency = u8::try_from(saved.frequency).unwrap_or(u8::MAX);
    out.extend_from_slice(&value_len.to_le_bytes());
    out.extend_from_slice(&item.flags.to_le_bytes());
    for number in [item.exptime_ms, item.last_access_ms, saved.seq] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&[key_len, bits, frequency, 0]);
    if saved.has_own_cas {
        out.extend_from_slice(&item.cas.to_le_bytes());
    }
    out.extend_from_slice(item.key);
    out.extend_from_slice(item.value);
}

/// Reads the item that `rest` begins with, and moves on behind it.
pub(super) fn take_item<'a>(rest: &mut &'a [u8]) -> Option<Saved<'a>> {
    let value_len = take_u32(rest)? as usize;
    let flags = take_u32(rest)?;
    let (exptime_ms, last_access_ms, seq) = (take_u64(rest)?, take_u64(rest)?, take_u64(rest)?);
    let [key_len, bits, frequency, _] = take(rest)?;
    let is = |bit: u8| bits & bit != 0;
    let cas = if is(OWN_CAS) { take_u64(rest)? } else { 0 };
    let (key, behind) = rest.split_at_checked(usize::from(key_len))?;
    let (value, behind) = behind.split_at_checked(value_len)?;
    *rest = behind;
    let marks = Marks { fetched: is(FETCHED), stale: is(STALE), won: is(WON), binary_key: is(BINARY_KEY) };
    (1..=KEY_LEN_MAX).contains(&key.len()).then_some(Saved {
        item: ItemView { key, value, flags, cas, exptime_ms, last_access_ms, marks },
        seq,
        has_own_cas: is(OWN_CAS),
        frequency: u32::from(frequency),
        is_main: is(MAIN),
    })
}

pub(super) fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_le_bytes)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    take(rest).map(u32::from_le_bytes)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*first)
}
