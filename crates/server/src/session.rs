//! One connection's protocol state: received bytes in, replies out, no I/O and no clock of its own.
//!
//! **Invariants**: the replies depend only on the bytes and the times, not on how the bytes were cut; what a
//! session holds of its own is at most one data block; after [`Next::Close`] it is not called again.

mod admin;
mod ahead;
mod arith;
mod auth;
mod binary;
mod block;
pub(crate) mod datagram;
mod dump;
mod get;
mod ma;
mod managed;
mod md;
pub(crate) mod meta;
mod mg;
mod ms;
mod storage;
mod watch;

use net::limits::OUTPUT_HIGH;
use net::{Next, Received};
use proto::binary::REQUEST_MAGIC;
use proto::reply::text;
use proto::request::{Decoded, Request, Then, decode};

use crate::engine::{Context, mutation};
use crate::managed::{Claim, Refused};
use crate::options::Protocol;
use crate::stats::connections::ConnState;
use crate::stats::sizes::Sizes;
use crate::verbose;
use crate::watch::{Kinds, events};
use ahead::Batch;
use binary::Wire;
use block::Block;

pub use binary::credentials::{Credentials, CredentialsError};

/// The state of one connection.
#[derive(Debug, Default)]
pub struct Session {
    state: State,
    /// What a `bg` line left for the next command.
    claim: NextClaim,
    /// How far the command at hand came before the output was full: keys answered, or buckets dumped.
    progress: usize,
    /// On the admin listener.
    admin: bool,
    /// Of a datagram: each key's answer is a message, and there are no dumps.
    datagram: bool,
    wire: Wire,
    /// Of a `stats sizes` that is being answered.
    sizes: Option<Box<Sizes>>,
    /// The client ended the connection in words.
    has_quit: bool,
    /// What the connection asked to watch, until its loop takes it.
    watch: Option<Kinds>,
    /// What may be spoken, if the listener has a rule of its own.
    protocol: Option<Protocol>,
}

#[derive(Debug, Default)]
enum State {
    /// The next byte starts a command line.
    #[default]
    Line,
    /// A storage command's data block has begun.
    Block(Box<Block>),
    /// That many bytes of a refused data block are still to be thrown away.
    Swallow(usize),
    /// The connection watches: nothing that it sends means anything any more.
    Watching,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum NextClaim {
    #[default]
    None,
    Bad,
    Claim(Claim),
}

/// What one step through the input did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// So many bytes are done with; go on.
    Done(usize),
    /// So many bytes are done with; go on when more have come.
    More(usize),
    /// The output is full in the middle of a command; none of its bytes is done with.
    Full,
    /// So many bytes are done with; go on in the next turn, when the loop has seen what this command changed.
    Pause(usize),
    /// So many bytes are done with, and they were the last.
    Close(usize),
    /// As `Close`, because the client said so.
    Quit(usize),
}

impl Session {
    /// A new connection. `admin`: on the listener where `own` and `disown` are understood.
    pub fn new(admin: bool) -> Self {
        Self { admin, ..Self::default() }
    }

    /// The same, on a listener that speaks something of its own.
    #[must_use]
    pub fn speaking(self, protocol: Protocol) -> Self {
        Self { protocol: Some(protocol), ..self }
    }

    /// Handles what was received, appending replies to `out`. Stops early when `out` is full or others should
    /// have their turn; the caller keeps the rest and calls again.
    pub fn handle(&mut self, cx: &Context<'_>, input: &[u8], out: &mut Vec<u8>) -> Received {
        cx.engine.flush.run_due(&cx.engine.store, cx.now.store_ms);
        let mut consumed = 0;
        let mut requests = 0;
        let is_spoken = cx.log.kinds().has(Kinds::EXCHANGES);
        let mut batch = Batch::default();
        // What was looked ahead at ends here.
        let mut seen = 0;
        while consumed < input.len() {
            if out.len() >= OUTPUT_HIGH || requests >= cx.engine.options.requests_per_turn {
                return Received { consumed, next: Next::Again };
            }
            requests += 1;
            let rest = &input[consumed..];
            if !is_spoken && self.awaits_line() {
                if consumed >= seen {
                    seen = consumed + batch.look(&cx.engine.store, rest);
                }
                if let Some((key, line_len)) = batch.single_get(rest) {
                    self.single_get(cx, key, out);
                    consumed += line_len;
                    continue;
                }
            }
            let step = if is_spoken {
                self.spoken_step(cx, rest, &mut batch, out)
            } else {
                self.step(cx, rest, &mut batch, out)
            };
            match step {
                Step::Done(n) => consumed += n,
                Step::More(n) => return Received { consumed: consumed + n, next: Next::More },
                Step::Pause(n) => {
                    let next = if consumed + n < input.len() { Next::Again } else { Next::More };
                    return Received { consumed: consumed + n, next };
                }
                Step::Full => return Received { consumed, next: Next::Again },
                Step::Close(n) => return Received { consumed: consumed + n, next: Next::Close },
                Step::Quit(n) => {
                    self.has_quit = true;
                    return Received { consumed: consumed + n, next: Next::Close };
                }
            }
        }
        Received { consumed, next: Next::More }
    }

    /// With so much output a command with many keys stops for now.
    const fn output_high(&self) -> usize {
        if self.datagram { 1 } else { OUTPUT_HIGH }
    }

    /// What it waits for, or is at.
    pub(crate) fn state(&self) -> ConnState {
        match (&self.wire, &self.state) {
            (Wire::Binary(binary), _) => binary.state(),
            (_, State::Line) => ConnState::Read,
            (_, State::Block(_)) => ConnState::Data,
            (_, State::Swallow(_)) => ConnState::Swallow,
            (_, State::Watching) => ConnState::Watch,
        }
    }

    /// Whether text commands come next, and not the middle of a data block.
    fn awaits_line(&self) -> bool {
        matches!((&self.state, &self.wire), (State::Line, Wire::Text))
    }

    fn step<'a>(
        &mut self,
        cx: &Context<'_>,
        input: &'a [u8],
        batch: &mut Batch<'a>,
        out: &mut Vec<u8>,
    ) -> Step {
        if let Some(step) = self.binary(cx, input, out) {
            return step;
        }
        match std::mem::take(&mut self.state) {
            State::Line => self.line(cx, input, batch, out),
            State::Block(block) => self.fill_block(cx, block, input, out),
            State::Swallow(left) => self.swallow(left, input),
            State::Watching => {
                self.state = State::Watching;
                Step::Done(input.len())
            }
        }
    }

    /// A step of which standard error is told.
    #[cold]
    fn spoken_step<'a>(
        &mut self,
        cx: &Context<'_>,
        input: &'a [u8],
        batch: &mut Batch<'a>,
        out: &mut Vec<u8>,
    ) -> Step {
        let is_binary = match &self.wire {
            Wire::Unknown => input.first() == Some(&REQUEST_MAGIC),
            wire => matches!(wire, Wire::Binary(_)),
        };
        let is_start = match &self.wire {
            Wire::Binary(binary) => binary.awaits_head(),
            _ => matches!(self.state, State::Line) && self.progress == 0,
        };
        if is_start {
            verbose::request(cx.log, input);
        }
        let start = out.len();
        let step = self.step(cx, input, batch, out);
        verbose::replies(cx.log, out.get(start..).unwrap_or_default(), is_binary);
        step
    }

    fn line<'a>(
        &mut self,
        cx: &Context<'_>,
        input: &'a [u8],
        batch: &mut Batch<'a>,
        out: &mut Vec<u8>,
    ) -> Step {
        match decode(input) {
            Decoded::NeedMore => Step::More(0),
            Decoded::Request { consumed, request } => {
                let (line, rest) = input.split_at(consumed);
                self.execute(cx, request, line, rest, batch, out)
            }
            Decoded::Refuse { consumed, reply, then } => {
                self.claim = NextClaim::None;
                out.extend_from_slice(reply);
                match then {
                    Then::Continue => Step::Done(consumed),
                    Then::Close => Step::Close(consumed),
                    Then::Swallow(len) => {
                        self.state = State::Swallow(len);
                        Step::Done(consumed)
                    }
                }
            }
        }
    }

    /// `line` is the command line with its end, `rest` what was received behind it.
    fn execute<'a>(
        &mut self,
        cx: &Context<'_>,
        request: Request<'a>,
        line: &'a [u8],
        rest: &[u8],
        batch: &mut Batch<'a>,
        out: &mut Vec<u8>,
    ) -> Step {
        match request {
            Request::Get(get) => return self.get(cx, get, line.len(), batch, out),
            Request::Gat(gat) => return self.gat(cx, gat, line.len(), batch, out),
            Request::Storage(storage) => {
                let key = batch.sought(storage.key).key;
                return self.storage(cx, &storage, key, line, rest, out);
            }
            Request::Mg(mg) => self.mg(cx, &mg, out),
            Request::Ms(ms) => return self.ms(cx, &ms, line, rest, out),
            Request::Md(md) => self.md(cx, &md, out),
            Request::Ma(ma) => self.ma(cx, &ma, out),
            Request::Me(me) => self.me(cx, &me, out),
            Request::Arith(arith) => self.arith(cx, &arith, out),
            Request::Delete(delete) => self.delete(cx, &delete, out),
            Request::Touch(touch) => self.touch(cx, &touch, out),
            Request::Bg(bg) => self.bg(cx, Some(bg), out),
            Request::BadBg => self.bg(cx, None, out),
            other => {
                self.claim = NextClaim::None;
                return self.other(cx, &other, line.len(), out);
            }
        }
        Step::Done(line.len())
    }

    /// The claim of the command at hand, which covers all its keys; `None` on a node that is not managed.
    fn take_claim<'k>(
        &mut self,
        cx: &Context<'_>,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> Result<Option<Claim>, Refused> {
        if cx.engine.managed.is_none() {
            return Ok(None);
        }
        match std::mem::take(&mut self.claim) {
            NextClaim::None => Err(Refused::NoClaim),
            NextClaim::Bad => Err(Refused::BadClaim),
            NextClaim::Claim(claim) => {
                for key in keys {
                    claim.covers(proto::KeyHash::of(key))?;
                }
                Ok(Some(claim))
            }
        }
    }

    fn swallow(&mut self, left: usize, input: &[u8]) -> Step {
        let n = left.min(input.len());
        if n < left {
            self.state = State::Swallow(left - n);
        }
        Step::Done(n)
    }

    fn delete(&mut self, cx: &Context<'_>, delete: &proto::request::Delete<'_>, out: &mut Vec<u8>) {
        let result = self.take_claim(cx, [delete.key]).and_then(|claim| {
            let key = mutation::hashed(delete.key);
            mutation::change(cx, claim.as_ref(), key, |guard| {
                events::look_up(cx, guard, key);
                events::delete(cx, guard, key, "delete");
                guard.remove(key, cx.now.store_ms)
            })
        });
        let reply = match result {
            Err(refused) => return refuse(cx, refused, out),
            Ok(true) => {
                cx.counters.delete_hits.count();
                text::DELETED
            }
            Ok(false) => {
                cx.counters.delete_misses.count();
                text::NOT_FOUND
            }
        };
        cx.engine.prefixes.count_delete(delete.key);
        answer(out, delete.noreply, reply);
    }
}

/// A reply, unless none is wanted.
fn answer(out: &mut Vec<u8>, noreply: bool, reply: &[u8]) {
    if !noreply {
        out.extend_from_slice(reply);
    }
}

/// A refusal of managed mode: told even where no reply is wanted.
#[cold]
fn refuse(cx: &Context<'_>, refused: Refused, out: &mut Vec<u8>) {
    count_refusal(cx, refused);
    out.extend_from_slice(refused.reply());
}

fn count_refusal(cx: &Context<'_>, refused: Refused) {
    match refused {
        Refused::NotOwner => cx.counters.not_owner.count(),
        Refused::Expired => cx.counters.expired_deadline.count(),
        _ => {}
    }
}
