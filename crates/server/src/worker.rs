//! What each event loop of a node runs: a session for each of its connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use net::{Address, App, CloseReason, ConnId, Io, Next, Origin, Received, TlsFault};
use stdx::clock;

use crate::engine::{Context, Engine};
use crate::log;
use crate::session::Session;
use crate::stats::connections::Entry;

/// The tag of data listeners.
pub(crate) const DATA_LISTENER: u32 = 0;
/// The tag of the admin listener.
pub(crate) const ADMIN_LISTENER: u32 = 1;

#[derive(Debug)]
pub(crate) struct Worker {
    engine: Arc<Engine>,
    number: usize,
    /// By the connection's index in the loop.
    sessions: Vec<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    session: Session,
    entry: Arc<Entry>,
}

impl Worker {
    pub(crate) fn new(engine: Arc<Engine>, number: usize) -> Self {
        Self { engine, number, sessions: Vec::new() }
    }
}

impl App for Worker {
    /// Workers share what they need to know; nobody posts to them.
    type Message = std::convert::Infallible;

    fn opened(&mut self, io: &mut Io, conn: ConnId, origin: Origin) {
        let name = |address: Option<Address>| match address {
            Some(Address::Tcp(address)) => format!("tcp:{address}"),
            Some(unix) => unix.to_string(),
            None => "unix:".to_owned(),
        };
        let entry = Arc::new(Entry {
            peer: name(io.peer(conn)),
            local: Some(name(io.local(conn))),
            last_command_ms: self.engine.now().store_ms.into(),
        });
        self.engine.registry.enter(self.number, conn.index(), Arc::clone(&entry));
        if self.sessions.len() <= conn.index() {
            self.sessions.resize_with(conn.index() + 1, || None);
        }
        let session = Session::new(origin.listener == ADMIN_LISTENER);
        self.sessions[conn.index()] = Some(Open { session, entry });
    }

    fn received(&mut self, io: &mut Io, conn: ConnId, input: &[u8]) -> Received {
        let open = self.sessions.get_mut(conn.index()).and_then(Option::as_mut);
        let (Some(open), Some(out)) = (open, io.output(conn)) else {
            return Received { consumed: input.len(), next: Next::Close };
        };
        // After the receive, once for all requests of it (hazard a).
        let now = self.engine.now();
        open.entry.last_command_ms.store(now.store_ms, Ordering::Relaxed);
        let cx = Context {
            engine: &self.engine,
            counters: &self.engine.counters[self.number],
            now,
            read_clock: &clock::lease_now,
        };
        open.session.handle(&cx, input, out)
    }

    fn tls_failed(&mut self, io: &mut Io, conn: ConnId, fault: &TlsFault) {
        if self.engine.verbosity.load(Ordering::Relaxed) > 0 {
            match io.peer(conn) {
                Some(peer) => log::line(&format!("TLS with {peer}: {fault}")),
                None => log::line(&format!("TLS: {fault}")),
            }
        }
    }

    fn closed(&mut self, _io: &mut Io, conn: ConnId, _reason: CloseReason) {
        self.engine.registry.remove(self.number, conn.index());
        if let Some(slot) = self.sessions.get_mut(conn.index()) {
            *slot = None;
        }
    }

    fn message(&mut self, _io: &mut Io, message: Self::Message) {
        match message {}
    }
}
