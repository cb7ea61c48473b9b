//! The calls on their way, and their timers. Each call is in one place: held by a link, in its pipeline, parked, or
//! waiting for a report.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use route::{BackendId, Op};
use stdx::Instant;
use tokio::sync::oneshot;

use super::Answer;
use crate::limits::TIMERS_SLACK;
use crate::request::Request;

/// Names a call; an index is used again with another serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId {
    index: u32,
    serial: u32,
}

#[cfg(test)]
impl CallId {
    /// Of a call that nobody has made.
    pub(super) fn for_test(index: u32) -> Self {
        Self { index, serial: 0 }
    }
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// With a link, not sent.
    Held(BackendId),
    /// In a link's pipeline.
    Sent(BackendId),
    /// Waiting for a newer map, or for its time.
    Parked,
    /// Waiting for a dirty report.
    Reported,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) op: Op,
    pub(super) place: Place,
    /// When its timer fires; an earlier timer of it is dead.
    pub(super) wake_at: Instant,
    pub(super) generation: Option<proto::Generation>,
    pub(super) reply: oneshot::Sender<Answer>,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    free: Vec<u32>,
    timers: BinaryHeap<Reverse<(Instant, CallId)>>,
}

#[derive(Debug, Default)]
struct Slot {
    serial: u32,
    call: Option<Call>,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, call: Call) -> CallId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.call = Some(call);
        CallId { index, serial: slot.serial }
    }

    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.slots.get_mut(id.index as usize).filter(|slot| slot.serial == id.serial)?.call.as_mut()
    }

    pub(super) fn contains(&self, id: CallId) -> bool {
        self.slots.get(id.index as usize).is_some_and(|slot| slot.serial == id.serial && slot.call.is_some())
    }

    pub(super) fn remove(&mut self, id: CallId) -> Option<Call> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.serial == id.serial)?;
        let call = slot.call.take()?;
        slot.serial = slot.serial.wrapping_add(1);
        self.free.push(id.index);
        Some(call)
    }

    /// All parked calls.
    pub(super) fn parked(&self) -> Vec<CallId> {
        let parked = |slot: &Slot| slot.call.as_ref().is_some_and(|call| call.place == Place::Parked);
        let named = self.slots.iter().enumerate().filter(|(_, slot)| parked(slot));
        named.map(|(index, slot)| CallId { index: index as u32, serial: slot.serial }).collect()
    }

    /// Sets the one timer of a call.
    pub(super) fn wake(&mut self, id: CallId, at: Instant) {
        if let Some(call) = self.get_mut(id) {
            call.wake_at = at;
            self.timers.push(Reverse((at, id)));
        }
        if self.timers.len() > 2 * self.len() + TIMERS_SLACK {
            let mut timers = std::mem::take(&mut self.timers);
            timers.retain(|Reverse((at, id))| self.is_live(*id, *at));
            self.timers = timers;
        }
    }

    /// When the next timer fires; it may be a dead one.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// A call whose timer fires by `now`.
    pub(super) fn poll_timer(&mut self, now: Instant) -> Option<CallId> {
        while self.next_timer()? <= now {
            let Reverse((at, id)) = self.timers.pop()?;
            if self.is_live(id, at) {
                return Some(id);
            }
        }
        None
    }

    fn is_live(&self, id: CallId, at: Instant) -> bool {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.serial == id.serial);
        slot.and_then(|slot| slot.call.as_ref()).is_some_and(|call| call.wake_at == at)
    }
}
