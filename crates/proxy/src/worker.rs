//! What each loop of a proxy runs: its clients, its links to the backends, its router.
//!
//! Owned by one thread. `commands` turns a client's lines into requests, `steps` does what the router says with them,
//! `links` speaks with the backends, `refresh` keeps the map new.

mod commands;
mod links;
mod refresh;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use net::{App, CloseReason, ConnId, Io, Next, Origin, Received};
use route::{BackendId, Router};
use stdx::Instant;

use crate::client::Client;
use crate::control::{Ask, News};
use crate::counters::{Counters, count};
use crate::link::Link;
use crate::proxy::Shared;
use crate::requests::{RequestId, Requests};

/// State of one loop.
#[derive(Debug)]
pub(crate) struct Worker {
    /// This loop's number.
    number: usize,
    router: Router,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    /// To the thread that speaks with the managers.
    control: SyncSender<Ask>,
    /// By the connection's index in the loop.
    roles: Vec<Role>,
    /// By the backend's id.
    links: Vec<Link>,
    requests: Requests,
    /// Requests that wait for a newer map or their time.
    parked: Vec<(Instant, RequestId)>,
    /// Deletes that wait for their dirty reports, by the report's number, with the time when they give up.
    reports: BTreeMap<u64, (Instant, RequestId)>,
    report_number: u64,
    /// The backend that is asked for the map next.
    map_turn: usize,
}

#[derive(Debug)]
enum Role {
    Nobody,
    Client(Box<Client>),
    Backend(BackendId),
}

impl Worker {
    pub(crate) fn new(number: usize, router: Router, shared: Arc<Shared>, control: SyncSender<Ask>) -> Self {
        let counters = Arc::clone(&shared.counters[number]);
        Self {
            number,
            router,
            shared,
            counters,
            control,
            roles: Vec::new(),
            links: Vec::new(),
            requests: Requests::default(),
            parked: Vec::new(),
            reports: BTreeMap::new(),
            report_number: 0,
            map_turn: number,
        }
    }

    fn set_role(&mut self, conn: ConnId, role: Role) {
        if self.roles.len() <= conn.index() {
            self.roles.resize_with(conn.index() + 1, || Role::Nobody);
        }
        self.roles[conn.index()] = role;
    }

    fn backend_of(&self, conn: ConnId) -> Option<BackendId> {
        match self.roles.get(conn.index()) {
            Some(Role::Backend(id)) => Some(*id),
            _ => None,
        }
    }

    fn client(&mut self, conn: ConnId) -> Option<&mut Client> {
        match self.roles.get_mut(conn.index()) {
            Some(Role::Client(client)) if client.conn == conn => Some(client),
            _ => None,
        }
    }

    /// Gives a client an answer to a request of that length, and reads it again if it was held back.
    fn deliver(&mut self, io: &mut Io, conn: ConnId, seq: u64, request_len: usize, bytes: &[u8]) {
        let Some(client) = self.client(conn) else { return };
        let Some(out) = io.output(conn) else { return };
        let fits = client.deliver(seq, request_len, bytes, out);
        if client.held_back && client.has_much_room() {
            client.held_back = false;
            io.resume(conn);
        }
        if client.owed() == 0 && client.closing {
            io.close(conn);
        }
        if !fits {
            count(&self.counters.get_misses_by_failure);
        }
    }
}

impl App for Worker {
    type Message = News;

    fn opened(&mut self, _io: &mut Io, conn: ConnId, _origin: Origin) {
        self.set_role(conn, Role::Client(Box::new(Client::new(conn))));
    }

    fn connected(&mut self, io: &mut Io, conn: ConnId) {
        if let Some(id) = self.backend_of(conn) {
            self.shake_hands(io, id);
        }
    }

    fn received(&mut self, io: &mut Io, conn: ConnId, input: &[u8]) -> Received {
        match self.backend_of(conn) {
            Some(id) => self.read_replies(io, id, conn, input),
            None if self.client(conn).is_some() => self.read_commands(io, conn, input),
            None => Received { consumed: input.len(), next: Next::Close },
        }
    }

    fn ended(&mut self, io: &mut Io, conn: ConnId) {
        match self.client(conn) {
            // It may have shut its sending side and still wait for what it is owed.
            Some(client) if client.owed() > 0 => client.closing = true,
            _ => io.close(conn),
        }
    }

    fn closed(&mut self, io: &mut Io, conn: ConnId, reason: CloseReason) {
        let backend = self.backend_of(conn);
        if let Some(role) = self.roles.get_mut(conn.index()) {
            *role = Role::Nobody;
        }
        if let Some(id) = backend {
            self.link_closed(io, id, conn, reason);
        }
    }

    fn message(&mut self, io: &mut Io, news: News) {
        let now = io.now();
        match news {
            News::Map(text) => self.take_map(io, &text, now),
            News::NoMap => self.router.fail_refresh(now),
            News::Fenced { report } => self.report_done(io, report),
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let links = self.links.iter().filter_map(|link| self.link_due(link)).min();
        let parked = self.parked.iter().map(|(until, _)| *until).min();
        let reported = self.reports.values().map(|(until, _)| *until).min();
        [links, parked, reported, self.router.next_probe(), self.refresh_due()].into_iter().flatten().min()
    }

    fn timed_out(&mut self, io: &mut Io, now: Instant) {
        self.expire_links(io, now);
        self.resume_parked(io, now, false);
        self.expire_reports(io, now);
        while let Some(id) = self.router.poll_probe(now) {
            self.open_link(io, id, now);
        }
        self.refresh_map(io, now);
    }
}
