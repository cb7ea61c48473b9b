//! A client's bytes to requests.

use net::limits::OUTPUT_HIGH;
use net::{ConnId, Io, Next, Received};
use proto::KeyHash;
use proto::reply::text;
use proto::reply::{put_stat, put_version};
use proto::request::{Decoded, FlushAll, Keys, Request as Command, Storage, StorageVerb, Then, decode};
use proto::tokens::Tokens;
use route::Step;
use stdx::clock;

use super::{Role, Worker};
use crate::client::Input;
use crate::counters::{Counters, count};
use crate::limits::VALUE_LEN_MAX;
use crate::prepare::{self, Fetch, Prepared};
use crate::requests::Request;

const META_REFUSED: &[u8] = b"SERVER_ERROR meta commands are not proxied\r\n";
const FLUSH_REFUSED: &[u8] = b"SERVER_ERROR flush_all is not possible in a managed cluster\r\n";

/// The `\n` of a line.
const LINE_END_LEN: usize = 1;

impl Worker {
    /// Takes as many commands as there are, within the limits of one client.
    pub(super) fn read_commands(&mut self, io: &mut Io, conn: ConnId, input: &[u8]) -> Received {
        let mut consumed = 0;
        loop {
            let Some(client) = self.client(conn) else {
                return Received { consumed: input.len(), next: Next::Close };
            };
            if client.closing {
                let next = if client.owed() == 0 { Next::Close } else { Next::Resume };
                return Received { consumed: input.len(), next };
            }
            let rest = input.get(consumed..).unwrap_or_default();
            if rest.is_empty() {
                return Received { consumed, next: Next::More };
            }
            if !client.has_room() {
                client.held_back = true;
                return Received { consumed, next: Next::Resume };
            }
            if io.unsent(conn) >= OUTPUT_HIGH {
                return Received { consumed, next: Next::Again };
            }
            match std::mem::replace(&mut client.input, Input::Line) {
                Input::Line => match decode(rest) {
                    Decoded::NeedMore => return Received { consumed, next: Next::More },
                    Decoded::Request { consumed: len, request } => {
                        consumed += len - self.command(io, conn, request);
                    }
                    Decoded::Refuse { consumed: len, reply, then } => {
                        consumed += len;
                        self.refuse(io, conn, reply, then);
                    }
                },
                Input::Keys { keys, at, fetch } => {
                    let mut left = Tokens::new(keys.get(at..).unwrap_or_default());
                    if self.ask(io, conn, &mut left, fetch) {
                        consumed += LINE_END_LEN;
                    } else {
                        let at = keys.len() - left.rest().len();
                        self.set_input(conn, Input::Keys { keys, at, fetch });
                    }
                }
                Input::Swallow { missing } => {
                    let len = missing.min(rest.len());
                    consumed += len;
                    if missing > len {
                        client.input = Input::Swallow { missing: missing - len };
                    }
                }
                Input::Block { prepared, missing, quiet } => {
                    consumed += self.block(io, conn, rest, prepared, missing, quiet);
                }
            }
        }
    }

    fn answer(&mut self, io: &mut Io, conn: ConnId, bytes: &[u8]) {
        let Some(client) = self.client(conn) else { return };
        if let Some(out) = io.output(conn) {
            client.answer_now(bytes, out);
        }
    }

    fn set_input(&mut self, conn: ConnId, input: Input) {
        if let Some(client) = self.client(conn) {
            client.input = input;
        }
    }

    fn refuse(&mut self, io: &mut Io, conn: ConnId, reply: &[u8], then: Then) {
        self.answer(io, conn, reply);
        if let Some(client) = self.client(conn) {
            match then {
                Then::Continue => {}
                Then::Swallow(missing) => client.input = Input::Swallow { missing },
                Then::Close => client.closing = true,
            }
        }
    }

    /// Returns how much of the line stays in the input.
    fn command(&mut self, io: &mut Io, conn: ConnId, command: Command<'_>) -> usize {
        match command {
            Command::Get(get) => {
                return self.fetch(io, conn, get.keys, Fetch { with_cas: get.with_cas, exptime: None });
            }
            Command::Gat(gat) => {
                let fetch = Fetch { with_cas: gat.with_cas, exptime: Some(gat.exptime) };
                return self.fetch(io, conn, gat.keys, fetch);
            }
            Command::Storage(storage) => self.storage(conn, &storage),
            Command::Arith(arith) => {
                count(&self.counters.cmd_arith);
                let prepared = prepare::arith(self.requests.buffer(), &arith);
                self.begin(io, conn, prepared, arith.noreply);
            }
            Command::Delete(delete) => {
                count(&self.counters.cmd_delete);
                let prepared = prepare::delete(self.requests.buffer(), delete.key);
                self.begin(io, conn, prepared, delete.noreply);
            }
            Command::Touch(touch) => {
                count(&self.counters.cmd_touch);
                let prepared = prepare::touch(self.requests.buffer(), touch.key, touch.exptime);
                self.begin(io, conn, prepared, touch.noreply);
            }
            other => self.other_command(io, conn, &other),
        }
        0
    }

    /// What is answered without a backend.
    fn other_command(&mut self, io: &mut Io, conn: ConnId, command: &Command<'_>) {
        match command {
            Command::Version => {
                let mut reply = Vec::new();
                put_version(&mut reply, proto::VERSION);
                self.answer(io, conn, &reply);
            }
            Command::Verbosity(verbosity) if verbosity.noreply => {}
            Command::Verbosity(_) => self.answer(io, conn, text::OK),
            Command::Quit => {
                if let Some(client) = self.client(conn) {
                    client.closing = true;
                }
            }
            Command::Stats(stats) => {
                let mut args = stats.args;
                match args.next() {
                    None => {
                        let reply = self.stats(io);
                        self.answer(io, conn, &reply);
                    }
                    // Tools ask for these of any server; here there are no items.
                    Some(b"items" | b"slabs" | b"sizes" | b"settings") => self.answer(io, conn, text::END),
                    Some(_) => self.answer(io, conn, text::ERROR),
                }
            }
            Command::FlushAll(flush) if self.router.is_managed() => {
                if !flush.noreply {
                    self.answer(io, conn, FLUSH_REFUSED);
                }
            }
            Command::FlushAll(flush) => self.flush_pool(io, conn, flush),
            Command::Shutdown(_) => self.answer(io, conn, text::SHUTDOWN_NOT_ENABLED),
            Command::Mn => self.answer(io, conn, b"MN\r\n"),
            Command::Ms(ms) => {
                let missing = ms.value_len + b"\r\n".len();
                self.refuse(io, conn, META_REFUSED, Then::Swallow(missing));
            }
            Command::Mg(_) | Command::Md(_) | Command::Ma(_) | Command::Me(_) => {
                self.answer(io, conn, META_REFUSED);
            }
            // The words between nodes and routing clients are not for whoever has a proxy.
            _ => self.answer(io, conn, text::ERROR),
        }
    }

    /// Asks for the keys of a line, for as many as there is room for. The others are kept, and the end of the line
    /// stays in the input, so that it brings them up again.
    fn fetch(&mut self, io: &mut Io, conn: ConnId, mut keys: Keys<'_>, fetch: Fetch) -> usize {
        if let Some(key) = keys.single() {
            let prepared = prepare::fetch(self.requests.buffer(), key, fetch);
            self.begin(io, conn, prepared, false);
            return 0;
        }
        if self.ask(io, conn, &mut keys, fetch) {
            return 0;
        }
        let left = keys.fold(Vec::new(), |mut left, key| {
            left.extend_from_slice(key);
            left.push(b' ');
            left
        });
        self.set_input(conn, Input::Keys { keys: left.into(), at: 0, fetch });
        LINE_END_LEN
    }

    /// Asks for keys until there is no room for more; true when all are asked for, and the `END` behind them is owed.
    fn ask<'k>(
        &mut self,
        io: &mut Io,
        conn: ConnId,
        keys: &mut impl Iterator<Item = &'k [u8]>,
        fetch: Fetch,
    ) -> bool {
        while io.unsent(conn) < OUTPUT_HIGH && self.client(conn).is_some_and(|client| client.has_room()) {
            let Some(key) = keys.next() else {
                self.answer(io, conn, text::END);
                return true;
            };
            let prepared = prepare::fetch(self.requests.buffer(), key, fetch);
            let Some(client) = self.client(conn) else { break };
            let seq = client.owe_key(prepared.bytes.len());
            self.begin_owed(io, conn, prepared, seq);
        }
        false
    }

    fn storage(&mut self, conn: ConnId, storage: &Storage<'_>) {
        count(&self.counters.cmd_set);
        let missing = storage.value_len + b"\r\n".len();
        let prepared = if storage.value_len > VALUE_LEN_MAX {
            let mut prepared = prepare::delete_for_too_large(self.requests.buffer(), storage.key);
            if storage.verb != StorageVerb::Set {
                // Nothing changes, so nothing is sent: the answer is all that is left of it.
                prepared.bytes.clear();
            }
            prepared
        } else {
            prepare::storage(self.requests.buffer(), storage)
        };
        if let Some(client) = self.client(conn) {
            client.input = Input::Block { prepared, missing, quiet: storage.noreply };
        }
    }

    /// Takes what has come of a data block; returns how much that was.
    fn block(
        &mut self,
        io: &mut Io,
        conn: ConnId,
        rest: &[u8],
        mut prepared: Prepared,
        missing: usize,
        quiet: bool,
    ) -> usize {
        let too_large = prepared.answer.is_some();
        let len = missing.min(rest.len());
        let part = rest.get(..len).unwrap_or_default();
        if !too_large {
            prepared.bytes.extend_from_slice(part);
        }
        if missing > len {
            if let Some(client) = self.client(conn) {
                client.input = Input::Block { prepared, missing: missing - len, quiet };
            }
        } else if too_large && prepared.bytes.is_empty() {
            if !quiet {
                self.answer(io, conn, text::TOO_LARGE);
            }
        } else if !too_large && !prepared.bytes.ends_with(b"\r\n") {
            if !quiet {
                self.answer(io, conn, text::BAD_DATA_CHUNK);
            }
            self.requests.recycle(prepared.bytes);
        } else {
            self.begin(io, conn, prepared, quiet);
        }
        len
    }

    /// Begins a request whose answer is owed alone.
    fn begin(&mut self, io: &mut Io, conn: ConnId, prepared: Prepared, quiet: bool) {
        let Some(client) = self.client(conn) else { return };
        let seq = client.owe_one(prepared.bytes.len(), quiet);
        self.begin_owed(io, conn, prepared, seq);
    }

    fn begin_owed(&mut self, io: &mut Io, conn: ConnId, prepared: Prepared, seq: u64) {
        if prepared.kind == proto::reply::ReplyKind::Values {
            count(&self.counters.cmd_get);
        }
        // Read now and not once a turn: a deadline counts from here.
        let now = clock::now();
        let hash = KeyHash::of(prepared.key());
        let (op, step) = self.router.start(prepared.class, prepared.key(), hash, now);
        let id = self.requests.insert(Request { prepared, op, client: Some(conn), seq, pinned: None });
        self.take_step(io, id, step);
    }

    /// Tells every server of a pool to flush; those that do not hear it are flushed before they are used again.
    fn flush_pool(&mut self, io: &mut Io, conn: ConnId, flush: &FlushAll) {
        let now = clock::now();
        let backends: Vec<_> = self.router.backends().map(|(id, _)| id).collect();
        let one = prepare::flush(self.requests.buffer(), flush.exptime);
        let len = one.bytes.len();
        self.requests.recycle(one.bytes);
        let Some(client) = self.client(conn) else { return };
        let seq = client.owe_flush(backends.len(), backends.len() * len, flush.noreply);
        for backend in backends {
            let prepared = prepare::flush(self.requests.buffer(), flush.exptime);
            let op = self.router.pin(now);
            let pinned = Some(backend);
            let id = self.requests.insert(Request { prepared, op, client: Some(conn), seq, pinned });
            self.take_step(io, id, Step::Send { backend, generation: None });
        }
    }

    fn stats(&self, io: &Io) -> Vec<u8> {
        let mut out = Vec::new();
        let shared = &self.shared;
        put_stat(&mut out, "pid", std::process::id());
        put_stat(&mut out, "uptime", clock::now().since(shared.started).as_secs());
        put_stat(&mut out, "time", clock::unix_millis() / 1000);
        put_stat(&mut out, "version", proto::VERSION);
        let clients = self.roles.iter().filter(|role| matches!(role, Role::Client(_))).count();
        put_stat(&mut out, "curr_connections", shared.connections().unwrap_or(clients as u64));
        put_stat(&mut out, "threads", shared.counters.len());
        for (name, sum) in Counters::sums(&shared.counters) {
            put_stat(&mut out, name, sum);
        }
        put_stat(&mut out, "worker_requests", self.requests.len());
        put_stat(
            &mut out,
            "worker_unsent_bytes",
            io.connections().map(|conn| io.unsent(conn)).sum::<usize>(),
        );
        put_stat(&mut out, "map_version", self.router.map_version());
        for (_, backend) in self.router.backends().filter(|(_, backend)| backend.current) {
            let state = format!("{:?}", backend.health.state()).to_ascii_lowercase();
            put_stat(&mut out, format_args!("backend_{}", backend.address), state);
        }
        out.extend_from_slice(text::END);
        out
    }
}
