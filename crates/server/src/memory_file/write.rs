//! Writing a memory file.

use std::io::{self, Write};

use store::Store;

use super::format::{END, Facts, Head, ITEMS, MAGIC, VERSION, put_item};
use crate::limits::MEMORY_FILE_FRAME_LEN;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) item_count: u64,
    /// The time was over before the last item.
    pub(super) was_cut_short: bool,
}

/// Drains a store into a file, as long as there is time. An error leaves half a file, which no reader takes.
pub(super) fn write(
    out: &mut impl Write,
    facts: &Facts,
    store: &Store,
    mut is_over: impl FnMut() -> bool,
) -> io::Result<Written> {
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    let mut frames = Frames { out, number: 0, content: Vec::with_capacity(2 * MEMORY_FILE_FRAME_LEN) };
    facts.encode(&mut frames.content);
    frames.send()?;
    let mut written = Written::default();
    let mut result = Ok(());
    frames.content.push(ITEMS);
    store.drain(facts.store_ms, |saved| {
        put_item(&mut frames.content, saved);
        written.item_count += 1;
        if frames.content.len() < MEMORY_FILE_FRAME_LEN {
            return true;
        }
        result = frames.send();
        frames.content.push(ITEMS);
        written.was_cut_short = is_over();
        result.is_ok() && !written.was_cut_short
    });
    result?;
    frames.send()?;
    frames.content.push(END);
    frames.content.extend_from_slice(&written.item_count.to_le_bytes());
    frames.send()?;
    Ok(written)
}

struct Frames<'a, W> {
    out: &'a mut W,
    number: u32,
    content: Vec<u8>,
}

impl<W: Write> Frames<'_, W> {
    fn send(&mut self) -> io::Result<()> {
        let head = Head::of(&self.content, self.number).expect("a frame is one item longer than its limit");
        self.out.write_all(&head.encode())?;
        self.out.write_all(&self.content)?;
        self.content.clear();
        self.number += 1;
        Ok(())
    }
}
