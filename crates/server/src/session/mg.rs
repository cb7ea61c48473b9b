//! `mg`: get.
//!
//! Most need no lock. It is taken where the get leaves more than a trace of the access behind: it creates the
//! item (N, on a miss), changes its exptime (T), or tells its client to refresh it (R when little time is left,
//! and the first fetch of a stale item), which must happen to one client only.

use proto::meta::{KeyScratch, MetaCode, MetaLine, Mg};
use store::{Absent, BucketGuard, ItemView, Key, Put};

use super::Session;
use super::get::count_get;
use super::meta::{self, created_exptime_ms, idle_s, new_marks, ttl_s};
use crate::engine::{Context, mutation};
use crate::exptime::to_store_ms;
use crate::managed::{Claim, Refused};
use crate::watch::events;

/// Room for the first line of an answer.
const LINE_RESERVE: usize = 128;

/// One `mg`, while it is executed.
struct Get<'a> {
    cx: &'a Context<'a>,
    mg: &'a Mg<'a>,
    key: Key<'a>,
}

/// What an item told about its accesses before this one.
#[derive(Clone, Copy)]
struct Trace {
    fetched: bool,
    last_access_ms: u64,
}

/// What came of looking without the lock.
enum Look {
    /// The answer, or that there is none.
    Done(Result<(), Absent>),
    /// The lock is needed; with a trace when the access has been noted already.
    Lock(Option<Trace>),
}

impl Session {
    pub(super) fn mg(&mut self, cx: &Context<'_>, mg: &Mg<'_>, out: &mut Vec<u8>) {
        let mut scratch: KeyScratch = [0; _];
        let bytes = mg.key.bytes(&mut scratch);
        let start = out.len();
        let result = self.take_claim(cx, [bytes]).and_then(|claim| {
            let get = Get { cx, mg, key: mutation::hashed(bytes) };
            get.execute(claim.as_ref(), out)
        });
        if let Err(refused) = result {
            // What came too late may have been answered already.
            out.truncate(start);
            meta::refuse(cx, refused, &mg.key, mg.flags, out);
        }
    }
}

impl Get<'_> {
    fn execute(&self, claim: Option<&Claim>, out: &mut Vec<u8>) -> Result<(), Refused> {
        let found = match self.unlocked(claim, out)? {
            Look::Done(found) => found,
            Look::Lock(trace) => {
                let locked = |guard: &mut BucketGuard<'_>| self.locked(guard, trace, out);
                if self.mg.vivify.is_some() {
                    mutation::create(self.cx, claim, self.key, locked)?
                } else {
                    mutation::change(self.cx, claim, self.key, locked)?
                }
            }
        };
        self.count(found);
        if found.is_err() && !self.mg.quiet {
            MetaLine::put_echo(out, MetaCode::En, &self.mg.key, self.mg.flags);
        }
        Ok(())
    }

    /// Answers if it can.
    fn unlocked(&self, claim: Option<&Claim>, out: &mut Vec<u8>) -> Result<Look, Refused> {
        let (cx, mg, store) = (self.cx, self.mg, &self.cx.engine.store);
        if mg.exptime.is_some() {
            return Ok(Look::Lock(None));
        }
        // Lease and tag before the look-up; the floor is looked at within it.
        mutation::check(cx, claim, || store.tag(self.key.bucket()))?;
        if mg.vivify.is_some() {
            // Whoever may create must be in time, whether or not there is an item.
            mutation::in_time(cx, claim)?;
        }
        let mut value_len = 0;
        let found = store.get(self.key, cx.now.store_ms, !mg.no_bump, |item| {
            value_len = item.value.len();
            if !item.marks.won && (item.marks.stale || self.is_short(item.exptime_ms)) {
                return Some(Trace { fetched: item.marks.fetched, last_access_ms: item.last_access_ms });
            }
            self.put_hit(out, &item, false);
            None
        });
        let look = match found {
            Ok(None) => Look::Done(Ok(())),
            Ok(trace) => Look::Lock(trace),
            Err(_) if mg.vivify.is_some() => Look::Lock(None),
            Err(absent) => Look::Done(Err(absent)),
        };
        if let Look::Done(found) = look {
            events::fetch(cx, self.key.bytes, found.map(|()| value_len));
        }
        Ok(look)
    }

    /// R: whether so little time is left that somebody should refresh the item.
    fn is_short(&self, exptime_ms: u64) -> bool {
        let below = |recache| exptime_ms != 0 && exptime_ms < to_store_ms(recache, &self.cx.now);
        self.mg.recache.is_some_and(below)
    }

    /// Answers under the bucket's lock; a miss is left to the caller. `trace` is there when the access has been
    /// noted already.
    fn locked(
        &self,
        guard: &mut BucketGuard<'_>,
        trace: Option<Trace>,
        out: &mut Vec<u8>,
    ) -> Result<(), Absent> {
        let now_ms = self.cx.now.store_ms;
        events::look_up(self.cx, guard, self.key);
        let mut item = match guard.find(self.key, now_ms) {
            Ok(item) => item,
            Err(absent) => return self.vivify(guard, out).ok_or(absent),
        };
        let marks = item.marks;
        if let Some(Trace { fetched, last_access_ms }) = trace {
            item.marks.fetched = fetched;
            item.last_access_ms = last_access_ms;
        }
        if self.put_hit(out, &item, false) {
            // Cannot fail: it was found under this lock.
            let _ = guard.set_marks(self.key, now_ms, store::Marks { won: true, ..marks });
        }
        if !self.mg.no_bump && trace.is_none() {
            guard.bump(self.key, now_ms);
        }
        if let Some(exptime) = self.mg.exptime {
            // Last, because it may end the item. Cannot fail either.
            let _ = guard.set_exptime(self.key, now_ms, to_store_ms(exptime, &self.cx.now));
        }
        Ok(())
    }

    /// N: creates an empty item that its client is to fill. `None` when it is not asked for, or there is no
    /// memory: a miss then.
    fn vivify(&self, guard: &mut BucketGuard<'_>, out: &mut Vec<u8>) -> Option<()> {
        let (mg, now_ms) = (self.mg, self.cx.now.store_ms);
        mg.vivify?;
        let mut marks = new_marks(&mg.key);
        let fresh = ItemView {
            key: self.key.bytes,
            value: b"",
            flags: 0,
            cas: 0,
            exptime_ms: 0,
            last_access_ms: now_ms,
            marks,
        };
        marks.won = true;
        marks.fetched = !mg.no_bump;
        let exptime_ms = created_exptime_ms(self.cx, mg.flags, mg.vivify, mg.exptime);
        let put = Put { flags: 0, exptime_ms, cas: mg.new_cas, marks };
        match guard.put(self.key, now_ms, &put, 0, |_, _| {}) {
            Ok(cas) => {
                self.put_hit(out, &ItemView { cas, ..fresh }, true);
                Some(())
            }
            Err(_) => {
                self.cx.counters.store_no_memory.count();
                None
            }
        }
    }

    /// Writes the answer; true when its client is the one that is to refresh the item.
    fn put_hit(&self, out: &mut Vec<u8>, item: &ItemView<'_>, created: bool) -> bool {
        // Whoever names the cas has the value.
        let with_value = self.mg.value && self.mg.cas != Some(item.cas);
        let line = if with_value {
            out.reserve(item.value.len() + LINE_RESERVE);
            MetaLine::value(out, item.value.len())
        } else {
            MetaLine::start(out, MetaCode::Hd)
        };
        let won = self.put_flags(line, item, created);
        if with_value {
            out.extend_from_slice(item.value);
            out.extend_from_slice(b"\r\n");
        }
        won
    }

    fn put_flags(&self, mut line: MetaLine<'_>, item: &ItemView<'_>, created: bool) -> bool {
        let (mg, now) = (self.mg, &self.cx.now);
        let mut exptime_ms = item.exptime_ms;
        let mut won = false;
        for flag in mg.flags {
            match flag.letter {
                b'T' => exptime_ms = to_store_ms(mg.exptime.unwrap_or(0), now),
                b'N' if created => {
                    exptime_ms = to_store_ms(mg.vivify.unwrap_or(0), now);
                    won = true;
                }
                b'R' if !created && !item.marks.won => won |= self.is_short(exptime_ms),
                b's' => line.number(b's', item.value.len() as u64),
                b't' => line.ttl(ttl_s(exptime_ms, now.store_ms)),
                b'c' => line.number(b'c', item.cas),
                b'f' => line.number(b'f', u64::from(item.flags)),
                b'h' => line.number(b'h', u64::from(item.marks.fetched)),
                b'l' => line.number(b'l', idle_s(item, now.store_ms)),
                _ => {
                    line.echo(flag, &mg.key);
                }
            }
        }
        if item.marks.won {
            line.flag(b'Z');
        }
        if item.marks.stale {
            line.flag(b'X');
            won |= !item.marks.won;
        }
        if won {
            line.flag(b'W');
        }
        line.end();
        won
    }

    /// As memcached counts: a hit that changes the exptime is a touch, and nothing else is.
    fn count(&self, found: Result<(), Absent>) {
        let counters = self.cx.counters;
        if found.is_ok() && self.mg.exptime.is_some() {
            counters.cmd_touch.count();
            counters.touch_hits.count();
            return;
        }
        counters.cmd_get.count();
        count_get(self.cx, found.err());
    }
}
