//! What is known of each segment without looking into it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use stdx::ByteSize;

use crate::arena::{Arena, Words};
use crate::limits::{CHUNK_COUNT, CHUNK_LEN};
use crate::record::ALWAYS_PAST;

/// The two queues of S3-FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// New items.
    Small,
    /// Items that were used or came back.
    Main,
}

#[derive(Debug, Default)]
pub(crate) struct Segment {
    /// Bytes with records, once it is sealed.
    pub(crate) used: AtomicU32,
    /// Bytes of records that no slot points to.
    pub(crate) dead: AtomicU32,
    /// Dead bytes when it was last walked in vain: an item was in the way. Until there are more, nobody tries
    /// again to clean it.
    pub(crate) stuck: AtomicU32,
    /// Records that are being written.
    pub(crate) writers: AtomicU32,
    /// Latest exptime of its records, in steps; `u32::MAX` when one never expires.
    pub(crate) latest_exptime: AtomicU32,
    main: AtomicBool,
}

impl Segment {
    /// Makes it an empty one of its kind.
    pub(crate) fn reset(&self, kind: Kind) {
        for field in [&self.used, &self.dead, &self.stuck, &self.writers, &self.latest_exptime] {
            field.store(0, Ordering::Relaxed);
        }
        self.main.store(kind == Kind::Main, Ordering::Relaxed);
    }

    pub(crate) fn kind(&self) -> Kind {
        if self.main.load(Ordering::Relaxed) { Kind::Main } else { Kind::Small }
    }

    /// Called before a record gets this exptime.
    pub(crate) fn note_exptime(&self, steps: u32) {
        let latest = match steps {
            0 => u32::MAX,
            ALWAYS_PAST => 1,
            _ => steps,
        };
        if self.latest_exptime.load(Ordering::Relaxed) < latest {
            self.latest_exptime.fetch_max(latest, Ordering::Relaxed);
        }
    }
}

const PAGE_SEGMENTS: usize = 4096;
const PAGE_COUNT: usize = 256;

#[derive(Debug)]
pub(crate) struct Segments {
    pub(crate) segment_len: usize,
    pages: Box<[OnceLock<Box<[Segment]>>]>,
    /// A bit for each segment whose items' uses count.
    settled: Words,
}

impl Segments {
    pub(crate) fn new(memory: ByteSize) -> Self {
        Self {
            segment_len: segment_len(memory),
            pages: (0..PAGE_COUNT).map(|_| OnceLock::new()).collect(),
            settled: Words::new(PAGE_SEGMENTS * PAGE_COUNT / 64),
        }
    }

    /// How many there can be.
    pub(crate) fn count_max(&self) -> u32 {
        (PAGE_SEGMENTS * PAGE_COUNT).min(CHUNK_COUNT * (CHUNK_LEN / self.segment_len)) as u32
    }

    /// Makes a segment usable; false when the system refuses the memory.
    pub(crate) fn open(&self, id: u32, arena: &Arena) -> bool {
        if id >= self.count_max() {
            return false;
        }
        self.pages[id as usize / PAGE_SEGMENTS]
            .get_or_init(|| (0..PAGE_SEGMENTS).map(|_| Segment::default()).collect());
        arena.map(self.place(id))
    }

    pub(crate) fn get(&self, id: u32) -> &Segment {
        let page = self.pages[id as usize / PAGE_SEGMENTS].get().expect("segments are opened before use");
        &page[id as usize % PAGE_SEGMENTS]
    }

    /// Whether uses of items in it count from now on. They do not as long as it is young: what is asked for
    /// again at once is often not asked for later.
    pub(crate) fn set_settled(&self, id: u32, settled: bool) {
        let Some(word) = self.settled.as_slice().get(id as usize / 64) else { return };
        let bit = 1 << (id % 64);
        if settled {
            word.fetch_or(bit, Ordering::Relaxed);
        } else {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Whether a use of the item at this place counts.
    pub(crate) fn is_settled(&self, at: u64) -> bool {
        let id = at / self.segment_len as u64;
        let word = self.settled.as_slice().get(id as usize / 64).map_or(0, load);
        word >> (id % 64) & 1 == 1
    }

    pub(crate) fn place(&self, id: u32) -> u64 {
        u64::from(id) * self.segment_len as u64
    }

    /// The segment that a place is in.
    pub(crate) fn of(&self, at: u64) -> &Segment {
        self.get((at / self.segment_len as u64) as u32)
    }

    /// Longest record that goes into a segment; larger items get memory of their own.
    pub(crate) fn record_len_max(&self) -> usize {
        self.segment_len / 4
    }
}

fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

/// Large enough to be walked seldom, small enough that there are some hundreds.
fn segment_len(memory: ByteSize) -> usize {
    match memory.0 >> 20 {
        256.. => 256 << 10,
        4..256 => 64 << 10,
        1..4 => 16 << 10,
        0 => 4 << 10,
    }
}
