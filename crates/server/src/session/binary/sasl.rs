//! SASL with the one mechanism PLAIN (RFC 4616): `[authorisation identity] NUL user NUL password`. Without
//! credentials configured its commands are unknown, as with a memcached without `-S`.

use proto::binary::{Reply, Request, Status};

use super::{Admission, answer};
use crate::engine::Context;
use crate::limits::SASL_MESSAGE_LEN_MAX;

/// The one mechanism.
const PLAIN: &[u8] = b"PLAIN";

/// memcached's answer to the right password.
const AUTHENTICATED: &[u8] = b"Authenticated";

/// Whether a connection has shown credentials.
#[derive(Debug, Default)]
pub(super) struct Login {
    is_done: bool,
}

impl Login {
    pub(super) const fn is_done(&self) -> bool {
        self.is_done
    }

    /// `message` is the client's first and only one. Whatever comes of it replaces what was before: who fails
    /// is nobody, also where it was somebody.
    pub(super) fn auth(
        &mut self,
        cx: &Context<'_>,
        request: &Request<'_>,
        message: &[u8],
        out: &mut Vec<u8>,
    ) {
        cx.counters.auth_cmds.count();
        let known = cx.engine.options.sasl.as_ref();
        self.is_done = request.key == PLAIN
            && known.zip(plain(message)).is_some_and(|(known, (user, password))| known.has(user, password));
        if self.is_done {
            Reply::value(0, AUTHENTICATED).put(request.echo, out);
        } else {
            cx.counters.auth_errors.count();
            Reply::error(Status::AuthFailure).put(request.echo, out);
        }
    }
}

pub(super) fn list(cx: &Context<'_>, request: &Request<'_>, out: &mut Vec<u8>) {
    let reply = match cx.engine.options.sasl {
        Some(_) => Reply::value(0, PLAIN),
        None => Reply::error(Status::UnknownCommand),
    };
    reply.put(request.echo, out);
}

/// PLAIN has one step, which auth has done: there is never one to follow.
pub(super) fn step(cx: &Context<'_>, request: &Request<'_>, out: &mut Vec<u8>) {
    cx.counters.auth_cmds.count();
    cx.counters.auth_errors.count();
    Reply::error(Status::AuthFailure).put(request.echo, out);
}

/// Refuses messages that nobody is waiting for and those that are longer than any right one.
pub(super) fn admit(cx: &Context<'_>, request: &Request<'_>, out: &mut Vec<u8>) -> Admission {
    if cx.engine.options.sasl.is_none() {
        answer(request, Err(Status::UnknownCommand.into()), out);
        return Admission::Swallow;
    }
    if request.value_len > SASL_MESSAGE_LEN_MAX {
        answer(request, Err(Status::InvalidArguments.into()), out);
        return Admission::Swallow;
    }
    Admission::Take
}

/// User and password of a message. Acting as somebody else is not offered.
fn plain(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = message.split(|&byte| byte == 0);
    let (identity, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && (identity.is_empty() || identity == user);
    is_whole.then_some((user, password))
}
