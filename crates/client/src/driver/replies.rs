//! What servers answer, and whom it is for.

use proto::Generation;
use proto::reply::{Reply, Values};
use route::{BackendId, ClockSample, Failure, Outcome, Replied};
use stdx::Instant;

use super::Driver;
use super::calls::CallId;
use super::link::{Asker, LinkId, State};
use crate::item::{Cas, Item};
use crate::limits::REFUSAL_TEXT_MAX;

/// What a proxy in front of a pool's server says when it does not know.
const OUTCOME_UNKNOWN: &[u8] = b"outcome unknown";

/// A call's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Found(Item, Option<Cas>),
    Missed,
    Stored,
    NotStored,
    Exists,
    NotFound,
    Deleted,
    Touched,
    Number(u64),
    /// No server's word: what is known without one.
    Failed(Failure),
    /// `CLIENT_ERROR`.
    Refused(String),
    /// `SERVER_ERROR`.
    ServerError(String),
}

/// What one reply means for who asked.
enum Verdict {
    Answer(Answer),
    /// The attempt failed, and the connection is in order.
    Failed(Outcome),
    /// The reply is not what was asked for.
    Nonsense,
}

impl Driver {
    /// Bytes have come on a connection.
    pub(super) fn received(&mut self, id: LinkId, bytes: &[u8], now: Instant) {
        let Some(link) = self.current(id) else { return };
        let mut input = std::mem::take(&mut link.input);
        input.extend_from_slice(bytes);
        if input.len() < link.input_wanted {
            link.input = input;
            return;
        }
        let consumed = self.take_replies(id, &input, now);
        if let Some(link) = self.current(id) {
            input.drain(..consumed);
            link.input = input;
        }
    }

    /// Takes all whole replies off the start of `input`; how many bytes they had. The link may be gone then.
    fn take_replies(&mut self, id: LinkId, input: &[u8], now: Instant) -> usize {
        let reply_len_max = self.reply_len_max();
        let mut at = 0;
        while at < input.len() {
            let Some(link) = self.current(id) else { break };
            match link.pipeline.next(&input[at..]) {
                Replied::NeedMore { at_least } if at_least <= reply_len_max => {
                    link.input_wanted = at_least;
                    return at;
                }
                Replied::One { consumed, asker, reply } => {
                    at += consumed;
                    self.router.handle_answer(id.backend, now);
                    self.take_reply(id.backend, asker, &reply, now);
                }
                Replied::NeedMore { .. } | Replied::Bad => self.distrust(id.backend, now),
            }
        }
        if let Some(link) = self.current(id) {
            link.input_wanted = 0;
        }
        at
    }

    /// The longest reply that is taken: one value, or a map.
    fn reply_len_max(&self) -> usize {
        let line = proto::limits::REPLY_LINE_LEN_MAX;
        (self.value_len_max + 2 * line).max(proto::limits::MAP_TEXT_LEN_MAX + 2 * line)
    }

    fn take_reply(&mut self, backend: BackendId, asker: Asker, reply: &Reply<'_>, now: Instant) {
        match (asker, reply) {
            (Asker::Call(id), reply) => self.take_answer(backend, id, reply, now),
            (Asker::Node, Reply::Node(node)) => {
                let view = self.router.backend(backend);
                let is_it = node.cluster == self.router.cluster()
                    && view.and_then(|view| view.node).is_some_and(|name| *name == node.name);
                // The address belongs to somebody else by now (hazard l).
                if !is_it {
                    self.distrust(backend, now);
                }
            }
            (Asker::Clock, Reply::Clock(clock)) => {
                let link = self.link(backend);
                link.sample = Some(ClockSample::new(*clock, now));
                link.clock_asked = None;
                match link.state {
                    State::Opening { .. } => self.ready(backend, now),
                    _ => self.stamped(backend, now),
                }
            }
            (Asker::Version, Reply::Version(_)) => self.ready(backend, now),
            (Asker::Map, Reply::Map(map)) => {
                self.link(backend).map_asked = None;
                self.take_map(map.text, now);
            }
            (Asker::Node | Asker::Clock | Asker::Version | Asker::Map, _) => self.distrust(backend, now),
        }
    }

    fn take_answer(&mut self, backend: BackendId, id: CallId, reply: &Reply<'_>, now: Instant) {
        let value_len_max = self.value_len_max;
        let Some(call) = self.calls.get_mut(id) else { return };
        match verdict(reply, &call.request.key, call.generation, value_len_max) {
            Verdict::Answer(answer) if is_final(&answer, call.request.class) => self.answer(id, answer),
            // A read misses, a delete goes on: it is not acknowledged by an error.
            Verdict::Answer(_) => self.fail_attempt(id, Outcome::Lost, now),
            Verdict::Failed(outcome) => self.fail_attempt(id, outcome, now),
            Verdict::Nonsense => {
                self.fail_attempt(id, Outcome::Lost, now);
                self.distrust(backend, now);
            }
        }
    }
}

/// Whether an answer ends its call: a server's error ends only what creates.
fn is_final(answer: &Answer, class: route::Class) -> bool {
    let is_error = matches!(answer, Answer::Refused(_) | Answer::ServerError(_));
    !is_error || matches!(class, route::Class::Create | route::Class::Bound)
}

fn verdict(reply: &Reply<'_>, key: &[u8], generation: Option<Generation>, value_len_max: usize) -> Verdict {
    Verdict::Answer(match reply {
        Reply::Values(values) => return found(*values, key, generation, value_len_max),
        Reply::Stored => Answer::Stored,
        Reply::NotStored => Answer::NotStored,
        Reply::Exists => Answer::Exists,
        Reply::NotFound => Answer::NotFound,
        Reply::Deleted => Answer::Deleted,
        Reply::Touched => Answer::Touched,
        Reply::Number(number) => Answer::Number(*number),
        Reply::NotOwner => return Verdict::Failed(Outcome::NotOwner),
        Reply::Expired => return Verdict::Failed(Outcome::Expired),
        Reply::ServerError(OUTCOME_UNKNOWN) => Answer::Failed(Failure::Unknown),
        Reply::ServerError(text) => Answer::ServerError(shown(text)),
        Reply::ClientError(text) => Answer::Refused(shown(text)),
        Reply::Error(_) => Answer::Refused("no such command".to_owned()),
        _ => return Verdict::Nonsense,
    })
}

/// The one item asked for, or none.
fn found(
    mut values: Values<'_>,
    key: &[u8],
    generation: Option<Generation>,
    value_len_max: usize,
) -> Verdict {
    let Some(value) = values.next() else { return Verdict::Answer(Answer::Missed) };
    if value.key != key || values.next().is_some() || value.value.len() > value_len_max {
        return Verdict::Nonsense;
    }
    let item = Item { value: value.value.to_vec(), flags: value.flags };
    Verdict::Answer(Answer::Found(item, value.cas.map(|unique| Cas { unique, generation })))
}

/// A server's words, cut.
fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..REFUSAL_TEXT_MAX).unwrap_or(text)).into_owned()
}
