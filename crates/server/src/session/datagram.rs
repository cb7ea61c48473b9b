//! The requests of one datagram: a session that lasts as long as it.
//!
//! Replies are messages, as in memcached since 1.6: each value of a `get` is one, `END` is one or with the last
//! key's value, and the whole reply of any other request is one. That bounds what has to be collected, since a
//! message tells how many datagrams it has before the first is sent.
//!
//! Whoever sends datagrams can forge where they come from, and duplicate them. So what begins like a reply is not
//! answered, or two servers could be made to talk for ever; what one datagram can cause is bounded
//! ([`DATAGRAM_REQUESTS_MAX`], [`DATAGRAM_READ_LEN`], [`DATAGRAM_REPLY_LEN`]); and what has no end in sight
//! (dumps) is refused. A request that is not whole is dropped, and leaves nothing behind for the next datagram.

use net::limits::OUTPUT_HIGH;
use proto::binary::REQUEST_MAGIC;

use super::ahead::Batch;
use super::{Session, Step};
use crate::engine::Context;
use crate::limits::{DATAGRAM_READ_LEN, DATAGRAM_REPLY_LEN, DATAGRAM_REQUESTS_MAX};
use crate::options::Protocol;

/// Carries out the requests and hands each message of the replies to `send`, which tells whether to go on.
/// `message` is where they are collected, empty before and afterwards.
pub(crate) fn answer(
    cx: &Context<'_>,
    protocol: Protocol,
    mut requests: &[u8],
    message: &mut Vec<u8>,
    mut send: impl FnMut(&[u8]) -> bool,
) {
    if requests.first().is_none_or(|first| !first.is_ascii_lowercase() && *first != REQUEST_MAGIC) {
        return;
    }
    cx.engine.flush.run_due(&cx.engine.store, cx.now.store_ms);
    let mut session = Session { datagram: true, ..Session::default() }.speaking(protocol);
    let mut left =
        Left { requests: DATAGRAM_REQUESTS_MAX, read: DATAGRAM_READ_LEN, bytes: DATAGRAM_REPLY_LEN };
    while left.something() && !requests.is_empty() {
        left.read = left.read.saturating_sub(requests.len());
        let step = session.step(cx, requests, &mut Batch::default(), message);
        let may_go_on = message.is_empty() || {
            left.bytes = left.bytes.saturating_sub(message.len());
            send(message)
        };
        message.clear();
        message.shrink_to(OUTPUT_HIGH);
        match step {
            Step::Full if may_go_on => {}
            Step::Done(n) | Step::Pause(n) if may_go_on => {
                left.requests -= 1;
                requests = requests.get(n..).unwrap_or_default();
            }
            _ => return,
        }
    }
}

/// What a datagram may still cause.
struct Left {
    requests: usize,
    /// Bytes of requests; a request with many keys is read again after each message.
    read: usize,
    /// Bytes of replies.
    bytes: usize,
}

impl Left {
    const fn something(&self) -> bool {
        self.requests > 0 && self.read > 0 && self.bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use stdx::LeaseTime;

    use super::*;
    use crate::clock::Start;
    use crate::engine::Engine;
    use crate::options::ServerOptions;
    use crate::watch::Log;

    /// How many messages and bytes a datagram is answered with.
    fn size(engine: &Engine, requests: &[u8]) -> (usize, usize) {
        let start = LeaseTime { boot: 1, raw: 1 };
        let now = Start::at(start, 0).when(start);
        let log = Log::new(0);
        let cx = Context { engine, counters: &engine.counters[0], now, read_clock: &|| start, log: &log };
        let (mut messages, mut bytes) = (0, 0);
        let mut message = Vec::new();
        answer(&cx, Protocol::Auto, requests, &mut message, |message| {
            messages += 1;
            bytes += message.len();
            true
        });
        assert!(message.is_empty() && message.capacity() <= OUTPUT_HIGH);
        (messages, bytes)
    }

    #[test]
    fn what_one_datagram_causes_is_bounded() {
        let start = Start::at(LeaseTime { boot: 1, raw: 1 }, 0);
        let engine = Engine::new(ServerOptions::default(), None, start, 1);
        let value = "v".repeat(600_000);
        assert_eq!(size(&engine, b"set a 0 0 1\r\na\r\n").0, 1);
        assert_eq!(size(&engine, format!("set big 0 0 600000\r\n{value}\r\n").as_bytes()).0, 1);
        assert_eq!(size(&engine, &b"version\r\n".repeat(5000)).0, DATAGRAM_REQUESTS_MAX);
        assert_eq!(size(&engine, &b"get none\r\n".repeat(5000)).0, DATAGRAM_REQUESTS_MAX);
        let (messages, bytes) = size(&engine, b"get big big big big big big big big big\r\n");
        assert_eq!(messages, 2, "more than a MiB");
        assert!(bytes < 2 * 600_000 + 100, "{bytes}");
        let (messages, _) = size(&engine, &[b"get".as_slice(), &b" a".repeat(30_000), b"\r\n"].concat());
        assert_eq!(messages, DATAGRAM_READ_LEN.div_ceil(60_005));
        // All that one packet of an ordinary network can ask for is answered.
        assert_eq!(size(&engine, &[b"get".as_slice(), &b" a".repeat(690), b"\r\n"].concat()).0, 690);
        assert_eq!(size(&engine, b"lru_crawler metadump all\r\n"), (0, 0));
        let refused = (1, b"ERROR\r\n".len());
        assert_eq!(size(&engine, b"watch\r\n"), refused);
        assert_eq!(size(&engine, b"stats cachedump 1 0\r\n"), refused);
        size(&engine, b"stats sizes_enable\r\n");
        assert_eq!(size(&engine, b"stats sizes\r\n"), refused);
    }
}
