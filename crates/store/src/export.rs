//! A bucket as a stream: its items and the mutations that are made meanwhile, in one order.
//!
//! Who reads the stream (a copy's feeder, a handoff) takes a step whenever its consumer has room. A step holds
//! the bucket's lock and hands over the keys that changed since the last one, each as it is now, and then some
//! items that were not handed over yet. So everything handed over was true when it was, no value is kept
//! twice, and a key that changes a thousand times between two steps travels once.
//!
//! The items go in the order of their tags, which neither moves nor longer index runs change: the cursor is a
//! number. A mutation of a key that the cursor has not reached needs no note, since the receiver has nothing of
//! that key yet and the cursor will meet what became of it. For the others the key's hash is noted, eight bytes
//! each; a stream whose reader is so slow that too many keys wait is given up.
//!
//! **Invariants**: a receiver that begins with [`Change::Begin`] and applies everything in order has, of each
//! key, either nothing or what the sender had at the last step that handed the key over; so when all is handed
//! over, what the sender had. What the sender evicts or what expires is not noted: nothing newer was written.
//! Reads are not mutations: uses of an item do not travel.

use std::collections::VecDeque;

use crate::index::{Slots, TAG_END, tag_of};
use crate::item::{ItemView, Key, Put, PutError};
use crate::limits::{EXPORT_CHANGES_MAX, EXPORTS_MAX, FOREIGN_SEQ_MAX};
use crate::put::Brought;
use crate::store::BucketGuard;

/// One piece of a stream. Exptimes are on the sender's clock.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// The first: the receiver has nothing yet, and its own writes are to be numbered above `seq`.
    Begin {
        /// The sender's last write sequence number in this bucket.
        seq: u64,
    },
    /// The bucket was wiped.
    Wipe,
    /// All items whose keys have this hash are out of date; the current ones follow at once.
    Drop {
        /// XXH3_64 of the key.
        hash: u64,
    },
    /// An item of which the receiver has nothing.
    Fill(ItemView<'a>),
}

/// Names a stream of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportId(u64);

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Every mutation whose number ([`BucketGuard::noted`]) is at most this has been handed over.
    pub covers: u64,
    /// All items were handed over; from now on only mutations come.
    pub is_complete: bool,
    /// There was more than went into this step.
    pub has_more: bool,
}

/// Why a stream can't begin or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The bucket has as many as it may have.
    #[error("the bucket has {EXPORTS_MAX} streams already")]
    TooMany,
    /// Its reader was too slow; the stream has ended.
    #[error("more than {EXPORT_CHANGES_MAX} changed keys waited for the stream's reader")]
    Overrun,
    /// It was ended, or never begun.
    #[error("the bucket has no such stream")]
    Ended,
}

/// The streams of one bucket, under its lock.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    streams: Vec<Stream>,
    last_id: u64,
    /// Mutations since there were streams.
    noted: u64,
}

#[derive(Debug)]
struct Stream {
    id: ExportId,
    /// Items with tags below were handed over.
    next_tag: u64,
    /// Hashes of keys below `next_tag` that changed, and the number of the first change.
    changed: VecDeque<(u64, u64)>,
    begun: bool,
    wiped: bool,
    overrun: bool,
}

impl Exports {
    /// Called when the key of this hash was changed, or found to be absent by a mutation.
    pub(crate) fn note(&mut self, hash: u64) {
        self.noted += 1;
        for stream in self.streams.iter_mut().filter(|stream| tag_of(hash) < stream.next_tag) {
            stream.note(hash, self.noted);
        }
    }

    pub(crate) fn note_wipe(&mut self) {
        self.noted += 1;
        for stream in &mut self.streams {
            stream.wiped = true;
            stream.changed.clear();
        }
    }
}

impl Stream {
    fn note(&mut self, hash: u64, number: u64) {
        if self.overrun || self.changed.iter().any(|(waiting, _)| *waiting == hash) {
            return;
        }
        if self.changed.len() == EXPORT_CHANGES_MAX {
            self.overrun = true;
            self.changed = VecDeque::new();
            return;
        }
        self.changed.push_back((hash, number));
    }
}

impl BucketGuard<'_> {
    /// Begins a stream of the locked bucket: everything that is there now, and every later change.
    pub fn start_export(&mut self) -> Result<ExportId, ExportError> {
        let exports = self.writes.exports.get_or_insert_default();
        if exports.streams.len() == EXPORTS_MAX {
            return Err(ExportError::TooMany);
        }
        exports.last_id += 1;
        let id = ExportId(exports.last_id);
        let changed = VecDeque::new();
        exports.streams.push(Stream { id, next_tag: 0, changed, begun: false, wiped: false, overrun: false });
        Ok(id)
    }

    /// Ends a stream; one that has ended stays so.
    pub fn end_export(&mut self, id: ExportId) {
        if let Some(exports) = &mut self.writes.exports {
            exports.streams.retain(|stream| stream.id != id);
        }
    }

    /// The number of the bucket's last mutation, when there are streams for which mutations are counted. Its
    /// answer may go out when a step that covers the number was acknowledged.
    pub fn noted(&self) -> Option<u64> {
        let exports = self.writes.exports.as_ref()?;
        (!exports.streams.is_empty()).then_some(exports.noted)
    }

    /// Hands the next part of a stream over: what changed, then further items, until keys and values sum up to
    /// `bytes_max`. The last key may exceed it, so that each step gets further.
    pub fn export(
        &mut self,
        id: ExportId,
        now_ms: u64,
        bytes_max: usize,
        mut visit: impl FnMut(Change<'_>),
    ) -> Result<Exported, ExportError> {
        let mut stream = self.take_stream(id)?;
        if !stream.begun {
            visit(Change::Begin { seq: self.writes.seq.get() });
            (stream.begun, stream.wiped) = (true, false);
        }
        if std::mem::take(&mut stream.wiped) {
            visit(Change::Wipe);
        }
        let mut bytes = 0;
        while let Some((hash, _)) = stream.changed.pop_front_if(|_| bytes < bytes_max) {
            visit(Change::Drop { hash });
            bytes += CHANGE_LEN;
            self.slots().each_of_hash(hash, |record| {
                if self.store.heap.absent(self.bucket(), record, now_ms).is_none() {
                    let item = record.view(self.index, now_ms);
                    bytes += CHANGE_LEN + item.key.len() + item.value.len();
                    visit(Change::Fill(item));
                }
            });
        }
        if bytes < bytes_max && stream.next_tag < TAG_END {
            stream.next_tag = self.export_items(stream.next_tag, now_ms, bytes_max - bytes, visit);
        }
        let exports = self.writes.exports.as_mut().expect("the stream was taken from there");
        let exported = Exported {
            covers: stream.changed.front().map_or(exports.noted, |(_, number)| number - 1),
            is_complete: stream.next_tag == TAG_END,
            has_more: stream.next_tag < TAG_END || !stream.changed.is_empty(),
        };
        exports.streams.push(stream);
        Ok(exported)
    }

    fn take_stream(&mut self, id: ExportId) -> Result<Stream, ExportError> {
        let exports = self.writes.exports.as_mut().ok_or(ExportError::Ended)?;
        let at = exports.streams.iter().position(|stream| stream.id == id).ok_or(ExportError::Ended)?;
        let stream = exports.streams.swap_remove(at);
        if stream.overrun { Err(ExportError::Overrun) } else { Ok(stream) }
    }

    /// Hands items over from a tag on; returns where to go on. Items of one tag, sixteen at most, go together.
    fn export_items(
        &self,
        first_tag: u64,
        now_ms: u64,
        bytes_max: usize,
        mut visit: impl FnMut(Change<'_>),
    ) -> u64 {
        let slots: Slots<'_> = self.slots();
        let mut bytes = 0;
        let mut last_tag = None;
        for (tag, record) in slots.by_tag(first_tag) {
            if bytes >= bytes_max && last_tag != Some(tag) {
                return tag;
            }
            last_tag = Some(tag);
            if self.store.heap.absent(self.bucket(), record, now_ms).is_none() {
                let item = record.view(self.index, now_ms);
                bytes += CHANGE_LEN + item.key.len() + item.value.len();
                visit(Change::Fill(item));
            }
        }
        TAG_END
    }

    /// What a receiver does with a change, whose exptimes were brought to its own clock. An item that finds no
    /// memory is left out: nothing is there then, which is always allowed.
    pub fn apply(&mut self, now_ms: u64, change: Change<'_>) -> Result<(), PutError> {
        match change {
            Change::Begin { seq } => {
                self.wipe();
                self.raise_seq(seq);
                Ok(())
            }
            Change::Wipe => {
                self.wipe();
                Ok(())
            }
            Change::Drop { hash } => {
                self.remove_hash(hash);
                Ok(())
            }
            Change::Fill(item) => self.fill(&item, now_ms).map(|_| ()),
        }
    }

    /// Stores an item with its cas, unless the key has a live one: what is there is newer. False in that case.
    pub fn fill(&mut self, item: &ItemView<'_>, now_ms: u64) -> Result<bool, PutError> {
        let key = Key::of(item.key);
        if self.find(key, now_ms).is_ok() {
            return Ok(false);
        }
        // A cas of this bucket's numbering needs no place of its own when the number may be the record's.
        let (seq, is_ours) = (item.cas >> 15, item.cas & 0x7fff == self.index as u64);
        let is_usable = |seq: &u64| *seq <= FOREIGN_SEQ_MAX && !self.bucket().rights.is_wiped(*seq);
        let seq = Some(seq).filter(|seq| is_ours && is_usable(seq));
        let put = Put {
            flags: item.flags,
            exptime_ms: item.exptime_ms,
            cas: if seq.is_some() { None } else { Some(item.cas) },
            marks: item.marks,
        };
        let brought = Brought { seq, used: None };
        self.put_brought(key, now_ms, &put, brought, item.value.len(), |bytes, _| {
            bytes.copy_from_slice(item.value);
        })?;
        Ok(true)
    }

    /// Numbers given from now on are above `seq`, unless that is out of reason.
    pub(crate) fn raise_seq(&mut self, seq: u64) {
        if seq <= FOREIGN_SEQ_MAX {
            self.writes.seq.set(self.writes.seq.get().max(seq));
        }
    }

    fn remove_hash(&mut self, hash: u64) {
        let heap = &self.store.heap;
        while let Some(found) = self.slots().find(hash, |record| Key::of(record.key()).hash == hash) {
            let slots = self.slots();
            heap.unlink(self.index, &self.writes, slots, found, slots.record(found));
        }
        heap.trim(self.bucket(), &self.writes);
        self.note(hash);
    }

    /// The key of this hash was changed.
    pub(crate) fn note(&mut self, hash: u64) {
        if let Some(exports) = &mut self.writes.exports {
            exports.note(hash);
        }
    }
}

/// What a piece of a stream counts besides key and value.
const CHANGE_LEN: usize = 32;
