//! Reading a memory file: everything is there, or nothing is believed.

use std::io::{self, Read};

use store::{Store, StoreOptions};

use super::format::{
    END, FACTS, Facts, HEAD_LEN, Head, ITEM_HEAD_LEN, ITEMS, MAGIC, VERSION, take_item, take_u64,
};
use super::{Cold, Moment};
use crate::limits::MEMORY_FILE_FRAME_LEN;

/// The end of an earlier process, brought to this one.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) store: Store,
    /// What the store's clock shows at the moment that was passed.
    pub(crate) store_ms: u64,
    /// When a delayed flush is due, on the store's clock; zero: none is.
    pub(crate) flush_at_ms: u64,
    /// Items in the file, and those of them that are back: the others have expired, or found no memory.
    pub(crate) item_count: u64,
    pub(crate) restored_count: u64,
}

/// Checks whose file it is.
pub(super) fn read_magic(input: &mut impl Read) -> Result<(), Cold> {
    let mut magic = [0; MAGIC.len()];
    read_exact(input, &mut magic)?;
    if magic == MAGIC { Ok(()) } else { Err(Cold::Foreign) }
}

/// Reads what is behind the magic number. `passed` is called with the length of each frame when it was taken.
pub(super) fn read(
    input: &mut impl Read,
    options: &StoreOptions,
    now: &Moment,
    mut passed: impl FnMut(usize),
) -> Result<Loaded, Cold> {
    let mut version = [0; 4];
    read_exact(input, &mut version)?;
    let version = u32::from_le_bytes(version);
    if version != VERSION {
        return Err(Cold::Version(version));
    }
    let mut frames = Frames { input, number: 0, content: Vec::new(), len_max: content_len_max(options) };
    let Some((&FACTS, facts)) = frames.next()?.split_first() else { return Err(Cold::Damaged("no facts")) };
    let facts = Facts::decode(facts).ok_or(Cold::Damaged("facts of another length"))?;
    check_settings(&facts, options)?;
    let store_ms = facts.store_ms.saturating_add(now.since(&facts)?);
    let store = Store::resume(options, &facts.numbering);
    let store = store.ok_or(Cold::Damaged("write sequence numbers that cannot be"))?;
    let mut loaded =
        Loaded { store, store_ms, flush_at_ms: facts.flush_at_ms, item_count: 0, restored_count: 0 };
    loop {
        match frames.next()?.split_first() {
            Some((&ITEMS, mut items)) => {
                while !items.is_empty() {
                    let saved = take_item(&mut items).ok_or(Cold::Damaged("half an item"))?;
                    loaded.item_count += 1;
                    let restored = loaded.store.restore(&saved, store_ms);
                    loaded.restored_count += u64::from(restored == Ok(true));
                }
            }
            Some((&END, mut count)) => {
                if take_u64(&mut count) != Some(loaded.item_count) || !count.is_empty() {
                    return Err(Cold::Damaged("another number of items at its end"));
                }
                break;
            }
            _ => return Err(Cold::Damaged("an unknown frame")),
        }
        passed(HEAD_LEN + frames.content.len());
    }
    match frames.input.read(&mut [0]) {
        Ok(0) => Ok(loaded),
        Ok(_) => Err(Cold::Damaged("something behind its end")),
        Err(error) => Err(Cold::Io(error)),
    }
}

fn content_len_max(options: &StoreOptions) -> u64 {
    let facts_len = 1024 + 8 * store::BUCKET_COUNT as u64;
    let item_len = ITEM_HEAD_LEN as u64 + 8 + options.item_size_max.0;
    facts_len.max(MEMORY_FILE_FRAME_LEN as u64 + item_len)
}

fn check_settings(facts: &Facts, options: &StoreOptions) -> Result<(), Cold> {
    for (flag, then, now) in
        [("-m", facts.memory, options.memory.0), ("-I", facts.item_size_max, options.item_size_max.0)]
    {
        if then != now {
            return Err(Cold::Setting { flag, then, now });
        }
    }
    Ok(())
}

impl Moment {
    /// Milliseconds since a node wrote its file. In the same boot of the machine by the clock that never jumps.
    fn since(&self, facts: &Facts) -> Result<u64, Cold> {
        if facts.boot_id == self.boot_id && self.boot_id != 0 {
            return Ok(self.lease.boot.saturating_sub(facts.boot_ns) / 1_000_000);
        }
        let back_ms = facts.unix_ms.saturating_sub(self.unix_ms);
        if back_ms > 0 { Err(Cold::ClockWentBack { back_ms }) } else { Ok(self.unix_ms - facts.unix_ms) }
    }
}

struct Frames<'a, R> {
    input: &'a mut R,
    number: u32,
    content: Vec<u8>,
    /// A longer content is damage, and no reason to take memory for it.
    len_max: u64,
}

impl<R: Read> Frames<'_, R> {
    fn next(&mut self) -> Result<&[u8], Cold> {
        let mut head = [0; HEAD_LEN];
        read_exact(self.input, &mut head)?;
        let head = Head::decode(head);
        if u64::from(head.len) > self.len_max || head.number != self.number {
            return Err(Cold::Damaged("a frame that cannot be"));
        }
        self.content.resize(head.len as usize, 0);
        read_exact(self.input, &mut self.content)?;
        if Head::of(&self.content, self.number) != Some(head) {
            return Err(Cold::Damaged("a frame with a wrong checksum"));
        }
        self.number += 1;
        Ok(&self.content)
    }
}

fn read_exact(input: &mut impl Read, bytes: &mut [u8]) -> Result<(), Cold> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Cold::Torn,
        _ => Cold::Io(error),
    })
}
