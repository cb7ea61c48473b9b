//! The binary protocol on a connection whose first byte is 0x80.
//!
//! A managed node does not speak it: `bg` has no binary form, so no request could say under which generation it
//! may run. Its first request, whatever it is, is answered with status 0x81 and the rule, and the connection is
//! closed. With credentials configured (`ServerOptions::sasl`) nothing but the SASL commands is done before
//! they were shown, and the text protocol, which cannot show them, is not spoken.
//!
//! **Invariants**: what is buffered of a request is at most its head and a value within the item limit; a
//! request that is refused for its lengths is swallowed or ends the connection, never taken for the next one.

mod admin;
mod arith;
pub(super) mod credentials;
mod fetch;
mod sasl;
mod storage;

use proto::binary::{Command, Decoded, Echo, REQUEST_MAGIC, Reply, Request, Status, decode};
use proto::request::Then;

use super::auth::Door;
use super::{Session, Step};
use crate::engine::{Context, mutation};
use crate::limits::BLOCK_RESERVE_MAX;
use crate::managed::Refused;
use crate::options::Protocol;
use crate::stats::connections::ConnState;
use sasl::Login;

/// What a managed node says to every binary request.
const MANAGED: &[u8] = b"no binary protocol on a managed node: it cannot say bg";

/// Which protocol a connection speaks, by its first byte.
#[derive(Debug, Default)]
pub(super) enum Wire {
    #[default]
    Unknown,
    Text,
    Binary(Binary),
    /// The node has an auth file, and the connection has not shown a password yet.
    Door(Door),
}

/// The state of a binary connection.
#[derive(Debug, Default)]
pub(super) struct Binary {
    state: State,
    login: Login,
}

#[derive(Debug, Default)]
enum State {
    /// The next byte starts a request.
    #[default]
    Head,
    /// A value did not come whole with its head.
    Partial(Partial),
    /// That many bytes of a refused request are still to be thrown away.
    Swallow(usize),
}

impl Binary {
    pub(super) fn state(&self) -> ConnState {
        match self.state {
            State::Head => ConnState::Read,
            State::Partial(_) => ConnState::Data,
            State::Swallow(_) => ConnState::Swallow,
        }
    }
}

/// A request whose value is being collected. It was admitted, so the value is within the item limit.
#[derive(Debug)]
struct Partial {
    /// What has come, head and value; decoded again when nothing is missing.
    bytes: Vec<u8>,
    missing: usize,
}

/// Why a request was not done: a status, and another text than the status's own.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    status: Status,
    text: &'static [u8],
}

/// What is to be done with the value of a request.
enum Admission {
    /// Wait for it.
    Take,
    /// Throw it away, the request is answered.
    Swallow,
}

impl Session {
    /// What the first byte or an earlier one decided; `None`: text.
    #[inline]
    pub(super) fn binary(&mut self, cx: &Context<'_>, input: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        match &mut self.wire {
            Wire::Text => None,
            Wire::Binary(binary) => Some(binary.step(cx, input, out)),
            Wire::Door(door) => {
                let users =
                    cx.engine.options.auth_file.as_ref().expect("there is a door only with an auth file");
                let step = door.step(cx, users, input, out);
                if door.is_open() {
                    self.wire = Wire::Text;
                }
                Some(step)
            }
            Wire::Unknown => {
                let options = &cx.engine.options;
                self.wire = match self.protocol.unwrap_or(options.protocol) {
                    // Whatever the listener speaks: nothing is negotiated before a password.
                    _ if options.auth_file.is_some() => Wire::Door(Door::default()),
                    _ if options.sasl.is_some() => Wire::Binary(Binary::default()),
                    Protocol::Ascii => Wire::Text,
                    Protocol::Auto if input.first() != Some(&REQUEST_MAGIC) => Wire::Text,
                    Protocol::Auto | Protocol::Binary => Wire::Binary(Binary::default()),
                };
                self.binary(cx, input, out)
            }
        }
    }
}

impl Binary {
    /// The next byte starts a request.
    pub(super) fn awaits_head(&self) -> bool {
        matches!(self.state, State::Head)
    }

    fn step(&mut self, cx: &Context<'_>, input: &[u8], out: &mut Vec<u8>) -> Step {
        match std::mem::take(&mut self.state) {
            State::Head => self.head(cx, input, out),
            State::Partial(partial) => self.fill(cx, partial, input, out),
            State::Swallow(left) => {
                let taken = left.min(input.len());
                self.swallow(left - taken);
                Step::Done(taken)
            }
        }
    }

    fn head(&mut self, cx: &Context<'_>, input: &[u8], out: &mut Vec<u8>) -> Step {
        match decode(input) {
            Decoded::NeedMore => Step::More(0),
            Decoded::NotBinary => Step::Close(input.len()),
            Decoded::Refuse { consumed, echo, status, then } => {
                if self.bar(cx, echo, false, out) {
                    return Step::Close(consumed);
                }
                Reply::error(status).put(echo, out);
                match then {
                    Then::Continue => {}
                    Then::Swallow(len) => self.swallow(len),
                    Then::Close => return Step::Close(consumed),
                }
                Step::Done(consumed)
            }
            Decoded::Request { consumed, request } => {
                let is_sasl =
                    matches!(request.command, Command::SaslList | Command::SaslAuth | Command::SaslStep);
                if self.bar(cx, request.echo, is_sasl, out) {
                    return Step::Close(consumed);
                }
                let (head, rest) = input.split_at(consumed);
                self.request(cx, &request, head, rest, out)
            }
        }
    }

    /// Answers what may not be asked at all, for which the connection is closed.
    fn bar(&self, cx: &Context<'_>, echo: Echo, is_sasl: bool, out: &mut Vec<u8>) -> bool {
        if cx.engine.managed.is_some() {
            Reply { value: MANAGED, ..Reply::error(Status::UnknownCommand) }.put(echo, out);
            return true;
        }
        let is_barred = cx.engine.options.sasl.is_some() && !is_sasl && !self.login.is_done();
        if is_barred {
            Reply::error(Status::AuthFailure).put(echo, out);
        }
        is_barred
    }

    /// `head` are the request's bytes before its value, `rest` what was received behind them.
    fn request(
        &mut self,
        cx: &Context<'_>,
        request: &Request<'_>,
        head: &[u8],
        rest: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        if let Admission::Swallow = admit(cx, request, out) {
            self.swallow(request.value_len);
            return Step::Done(head.len());
        }
        if let Some(value) = rest.get(..request.value_len) {
            return self.execute(cx, request, value, head.len() + value.len(), out);
        }
        let mut bytes = Vec::with_capacity(head.len() + request.value_len.min(BLOCK_RESERVE_MAX));
        bytes.extend_from_slice(head);
        self.state = State::Partial(Partial { bytes, missing: request.value_len });
        Step::Done(head.len())
    }

    fn fill(&mut self, cx: &Context<'_>, mut partial: Partial, input: &[u8], out: &mut Vec<u8>) -> Step {
        let taken = partial.missing.min(input.len());
        partial.bytes.extend_from_slice(input.get(..taken).unwrap_or_default());
        partial.missing -= taken;
        if partial.missing > 0 {
            self.state = State::Partial(partial);
            return Step::Done(taken);
        }
        match decode(&partial.bytes) {
            Decoded::Request { consumed, request } => {
                let value = partial.bytes.get(consumed..).unwrap_or_default();
                self.execute(cx, &request, value, taken, out)
            }
            other => unreachable!("what was a request before its value came is now {other:?}"),
        }
    }

    /// Does a request; `len` bytes of the input are done with then.
    fn execute(
        &mut self,
        cx: &Context<'_>,
        request: &Request<'_>,
        value: &[u8],
        len: usize,
        out: &mut Vec<u8>,
    ) -> Step {
        match request.command {
            Command::Get { with_key } => fetch::get(cx, request, with_key, out),
            Command::Gat { with_key, exptime } => fetch::gat(cx, request, with_key, exptime, out),
            Command::Touch { exptime } => fetch::touch(cx, request, exptime, out),
            Command::Store { verb, flags, exptime } => {
                answer(request, storage::store(cx, request, verb, flags, exptime, value), out);
            }
            Command::Join { at_end } => answer(request, storage::join(cx, request, at_end, value), out),
            Command::Delete => answer(request, storage::delete(cx, request), out),
            Command::Arith(command) => arith::arith(cx, request, &command, out),
            Command::Flush { exptime } => answer(request, admin::flush(cx, exptime), out),
            Command::Stat => admin::stat(cx, request, out),
            Command::Noop => answer(request, Ok(0), out),
            Command::Version => Reply::value(0, crate::VERSION.as_bytes()).put(request.echo, out),
            Command::Quit => {
                answer(request, Ok(0), out);
                return Step::Quit(len);
            }
            Command::SaslList => sasl::list(cx, request, out),
            Command::SaslAuth => self.login.auth(cx, request, value, out),
            Command::SaslStep => sasl::step(cx, request, out),
        }
        Step::Done(len)
    }

    fn swallow(&mut self, len: usize) {
        if len > 0 {
            self.state = State::Swallow(len);
        }
    }
}

/// Answers a request whose value is not worth waiting for.
fn admit(cx: &Context<'_>, request: &Request<'_>, out: &mut Vec<u8>) -> Admission {
    match request.command {
        Command::Store { .. } | Command::Join { .. }
            if cx.engine.store.too_large(request.key.len(), request.value_len) =>
        {
            answer(request, Err(storage::too_large(cx, request)), out);
            Admission::Swallow
        }
        Command::SaslAuth | Command::SaslStep => sasl::admit(cx, request, out),
        _ => Admission::Take,
    }
}

/// The reply to a request that has no value to give: its cas, unless it is quiet, or what went wrong.
fn answer(request: &Request<'_>, result: Result<u64, Refusal>, out: &mut Vec<u8>) {
    match result {
        Ok(_) if request.quiet => {}
        Ok(cas) => Reply::done(cas).put(request.echo, out),
        Err(refusal) => refusal.reply().put(request.echo, out),
    }
}

impl Refusal {
    const fn reply(&self) -> Reply<'static> {
        Reply { value: self.text, ..Reply::error(self.status) }
    }

    const fn out_of_memory(text: &'static [u8]) -> Self {
        Self { status: Status::OutOfMemory, text }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self { status, text: status.text().as_bytes() }
    }
}

/// Only managed nodes refuse so, and those do not come here.
impl From<Refused> for Refusal {
    fn from(_: Refused) -> Self {
        Self { status: Status::UnknownCommand, text: MANAGED }
    }
}

/// Runs a change under the lock of the key's bucket.
fn change<R>(
    cx: &Context<'_>,
    request: &Request<'_>,
    apply: impl FnOnce(&mut store::BucketGuard<'_>, store::Key<'_>) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let key = mutation::hashed(request.key);
    mutation::change(cx, None, key, |guard| apply(guard, key))?
}
