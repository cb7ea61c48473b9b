//! What each event loop of a node runs: a session for each of its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use net::limits::OUTPUT_HIGH;
use net::{Address, App, CloseReason, ConnId, Io, Next, Origin, Received, TlsFault};
use stdx::clock;

use crate::engine::{Context, Engine, WatchNews};
use crate::log;
use crate::options::Protocol;
use crate::session::Session;
use crate::stats::connections::{ConnState, Entry, number_of};
use crate::verbose;
use crate::watch::{Kinds, Log, Watcher, events};

/// The tag of the admin listener.
pub(crate) const ADMIN_LISTENER: u32 = 1;

/// What data listeners speak, by their tags.
const DATA_LISTENERS: [(u32, Protocol); 3] =
    [(0, Protocol::Auto), (2, Protocol::Ascii), (3, Protocol::Binary)];

/// The tag of a data listener that speaks this.
pub(crate) fn data_tag(protocol: Protocol) -> u32 {
    let found = DATA_LISTENERS.iter().find(|(_, spoken)| *spoken == protocol);
    found.expect("all protocols are in the table").0
}

/// The admin listener speaks text, as all of a managed node.
fn spoken(tag: u32) -> Protocol {
    let found = DATA_LISTENERS.iter().find(|(listed, _)| *listed == tag);
    found.map_or(Protocol::Auto, |(_, protocol)| *protocol)
}

#[derive(Debug)]
pub(crate) struct Worker {
    engine: Arc<Engine>,
    number: usize,
    /// By the connection's index in the loop.
    sessions: Vec<Option<Open>>,
    log: Log,
    /// Those of this loop's connections that watch.
    watching: Vec<(ConnId, Arc<Watcher>)>,
}

#[derive(Debug)]
struct Open {
    session: Session,
    entry: Arc<Entry>,
    /// `None` behind a unix socket.
    peer: Option<SocketAddr>,
    /// The peer has ended its side.
    has_ended: bool,
}

impl Worker {
    pub(crate) fn new(engine: Arc<Engine>, number: usize) -> Self {
        let log = engine.new_log();
        Self { engine, number, sessions: Vec::new(), log, watching: Vec::new() }
    }

    /// What follows is logged as the doing of this connection; returns whether anything is.
    #[inline]
    fn begin(&self, conn: ConnId) -> Kinds {
        let wanted = self.engine.watch.wanted();
        self.log.begin(wanted, number_of(&self.engine, self.number, conn.index()));
        wanted
    }

    fn watch(&mut self, io: &mut Io, conn: ConnId, kinds: Kinds) {
        let Some(out) = io.output(conn) else { return };
        match self.engine.add_watcher(kinds, self.number) {
            Some(watcher) => {
                out.extend_from_slice(proto::reply::text::OK);
                io.let_idle(conn);
                self.watching.push((conn, watcher));
            }
            None => {
                out.extend_from_slice(proto::reply::text::WATCHER_TOO_MANY);
                if let Some(Some(open)) = self.sessions.get_mut(conn.index()) {
                    open.session.stop_watching();
                }
            }
        }
    }

    /// Moves lines to the output of the connections that watch, as much as each may hold.
    fn send_lines(&mut self, io: &mut Io) {
        for (conn, watcher) in &self.watching {
            let room = OUTPUT_HIGH.saturating_sub(io.unsent(*conn));
            if !watcher.has_lines() {
                continue;
            }
            if room == 0 {
                io.await_drain(*conn);
                continue;
            }
            let Some(out) = io.output(*conn) else { continue };
            if watcher.take(room, out) {
                io.await_drain(*conn);
            }
        }
    }
}

impl App for Worker {
    type Message = WatchNews;

    fn opened(&mut self, io: &mut Io, conn: ConnId, origin: Origin) {
        let (peer, local) = (io.peer(conn), io.local(conn));
        let entry = Arc::new(Entry::connection(peer.as_ref(), local.as_ref(), self.engine.now()));
        let peer = match peer {
            Some(Address::Tcp(address)) => Some(address),
            _ => None,
        };
        if !self.begin(conn).is_empty() {
            events::connection(&self.engine.watch, &self.log, peer);
            verbose::connection(&self.engine, &self.log);
        }
        self.engine.registry.enter(self.number, conn.index(), Arc::clone(&entry));
        if self.sessions.len() <= conn.index() {
            self.sessions.resize_with(conn.index() + 1, || None);
        }
        let session = Session::new(origin.listener == ADMIN_LISTENER).speaking(spoken(origin.listener));
        self.sessions[conn.index()] = Some(Open { session, entry, peer, has_ended: false });
    }

    fn received(&mut self, io: &mut Io, conn: ConnId, input: &[u8]) -> Received {
        let wanted = self.begin(conn);
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
            log: &self.log,
        };
        open.entry.set_state(ConnState::Command);
        let received = open.session.handle(&cx, input, out);
        open.entry.set_state(open.session.state());
        if let Some(kinds) = open.session.take_watch() {
            self.watch(io, conn, kinds);
        }
        if !wanted.is_empty() && self.log.is_filling() {
            self.engine.flush_log(&self.log);
        }
        received
    }

    fn tls_failed(&mut self, io: &mut Io, conn: ConnId, fault: &TlsFault) {
        if self.engine.verbosity.load(Ordering::Relaxed) > 0 {
            match io.peer(conn) {
                Some(peer) => log::line(&format!("TLS with {peer}: {fault}")),
                None => log::line(&format!("TLS: {fault}")),
            }
        }
    }

    fn ended(&mut self, io: &mut Io, conn: ConnId) {
        if let Some(Some(open)) = self.sessions.get_mut(conn.index()) {
            open.has_ended = true;
        }
        io.close(conn);
    }

    fn closed(&mut self, _io: &mut Io, conn: ConnId, reason: CloseReason) {
        let wanted = self.begin(conn);
        self.engine.registry.remove(self.number, conn.index());
        let Some(open) = self.sessions.get_mut(conn.index()).and_then(Option::take) else { return };
        if let Some(at) = self.watching.iter().position(|(watching, _)| *watching == conn) {
            let (_, watcher) = self.watching.swap_remove(at);
            self.engine.remove_watcher(&watcher);
        }
        if !wanted.is_empty() {
            let reason = match reason {
                CloseReason::Idle => "idle_timeout",
                CloseReason::Peer => "normal",
                CloseReason::Local if open.has_ended || open.session.has_quit() => "normal",
                CloseReason::Local if self.engine.stop.is_asked() => "shutdown",
                _ => "error",
            };
            events::disconnection(&self.engine.watch, &self.log, open.peer, reason);
            verbose::disconnection(&self.log, reason);
            // No turn may follow for long.
            self.engine.flush_log(&self.log);
        }
    }

    fn message(&mut self, _io: &mut Io, _message: WatchNews) {
        // The turn's end does it.
    }

    fn turn_ended(&mut self, io: &mut Io) {
        self.engine.flush_log(&self.log);
        if !self.watching.is_empty() {
            self.send_lines(io);
        }
    }
}
