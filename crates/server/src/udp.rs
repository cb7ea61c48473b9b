//! memcached over UDP (`-U`): one thread beside the workers, for all its sockets.
//!
//! Frames are `proto::datagram`'s, what is answered is `session::datagram`'s. Off by default, and never on every
//! address: an answer goes to whomever a datagram claims to come from, and can be far longer than it. A managed
//! node does not speak it, since a datagram can come late or twice: an old value could come back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use net::{DatagramSocket, Datagrams, Outlet};
use proto::datagram::{DATAGRAM_HEAD_LEN, RequestId, decode_request, encode_message};
use proto::limits::DATAGRAM_LEN_MAX;
use stdx::clock;

use crate::engine::{Context, Engine};
use crate::options::Protocol;
use crate::session::datagram;
use crate::stats::connections::{Entry, number_of};

/// Starts the thread.
pub(crate) fn start(engine: &Arc<Engine>, sockets: Vec<DatagramSocket>) -> io::Result<Datagrams> {
    let number = engine.options.threads;
    let entries: Vec<Arc<Entry>> =
        sockets.iter().map(|socket| Arc::new(Entry::udp(socket.address(), engine.now()))).collect();
    for (index, entry) in entries.iter().enumerate() {
        engine.registry.enter(number, index, Arc::clone(entry));
    }
    let protocols: Vec<Protocol> =
        engine.options.udp.iter().map(|&address| engine.options.protocol_at(address)).collect();
    let engine = Arc::clone(engine);
    let mut buffer = Vec::new();
    let log = engine.new_log();
    Datagrams::start("doled-udp", sockets, move |index, datagram, outlet| {
        let Some((id, requests)) = decode_request(datagram) else { return };
        let now = engine.now();
        if let Some(entry) = entries.get(index) {
            entry.last_command_ms.store(now.store_ms, Ordering::Relaxed);
        }
        let counters = &engine.counters[number];
        log.begin(engine.watch.wanted(), number_of(&engine, number, index));
        let cx = Context { engine: &engine, counters, now, read_clock: &clock::lease_now, log: &log };
        datagram::answer(&cx, protocols[index], requests, &mut buffer, |message| send(id, message, outlet));
        engine.flush_log(&log);
    })
}

/// Sends a message in its datagrams; false when one of them could not be sent.
fn send(id: RequestId, message: &[u8], outlet: &mut Outlet<'_>) -> bool {
    let mut datagram = [0; DATAGRAM_LEN_MAX];
    encode_message(id, message).all(|(head, part)| {
        let len = DATAGRAM_HEAD_LEN + part.len();
        datagram[..DATAGRAM_HEAD_LEN].copy_from_slice(&head);
        datagram[DATAGRAM_HEAD_LEN..len].copy_from_slice(part);
        outlet.send(&datagram[..len])
    })
}
