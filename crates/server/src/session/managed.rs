//! The managed words: `bg`, `clock`, `node`, `map`; `own` and `disown` on the admin listener.
//!
//! A plain memcached knows none of them, and neither does a node that is not managed.

use proto::reply::text;
use proto::reply::{put_clock, put_map, put_node};
use proto::request::{Bg, Own};
use proto::{Bucket, Generation, MapVersion};

use super::{NextClaim, Session};
use crate::engine::Context;
use crate::managed::Managed;

impl Session {
    /// `bg`, or a malformed one: covers exactly the next command.
    pub(super) fn bg(&mut self, cx: &Context<'_>, bg: Option<Bg>, out: &mut Vec<u8>) {
        if cx.engine.managed.is_none() {
            out.extend_from_slice(text::ERROR);
            return;
        }
        self.claim = bg.map_or(NextClaim::Bad, |bg| NextClaim::Claim(bg.into()));
    }

    /// `own`: a bucket that is owned under another generation starts empty; saying the same twice changes
    /// nothing.
    pub(super) fn own(&self, cx: &Context<'_>, own: Own, out: &mut Vec<u8>) {
        if self.by_hand(cx).is_none() {
            out.extend_from_slice(text::ERROR);
            return;
        }
        let mut guard = cx.engine.store.lock(own.bucket.index());
        if guard.tag() != own.generation.0 {
            guard.wipe();
            guard.set_tag(own.generation.0);
        }
        drop(guard);
        out.extend_from_slice(text::OWNED);
    }

    pub(super) fn disown(&self, cx: &Context<'_>, bucket: Bucket, out: &mut Vec<u8>) {
        if self.by_hand(cx).is_none() {
            out.extend_from_slice(text::ERROR);
            return;
        }
        cx.engine.store.lock(bucket.index()).set_tag(Generation::NONE.0);
        out.extend_from_slice(text::DISOWNED);
    }

    fn by_hand<'a>(&self, cx: &Context<'a>) -> Option<&'a Managed> {
        cx.engine.managed.as_ref().filter(|managed| managed.by_hand && self.admin)
    }
}

/// `clock`: the node's clock, for deadlines.
pub(super) fn clock(cx: &Context<'_>, managed: &Managed, out: &mut Vec<u8>) {
    put_clock(out, managed.incarnation, managed.clock_ms(cx.now.lease));
}

/// `node`: who answers.
pub(super) fn node(managed: &Managed, out: &mut Vec<u8>) {
    put_node(out, managed.cluster(), &managed.node, managed.incarnation);
}

/// `map`: what is newer than the asker's.
pub(super) fn map(managed: &Managed, held: MapVersion, out: &mut Vec<u8>) {
    let (version, map) = managed.map.newer_than(held);
    put_map(out, version, &map);
}
