//! The thread that keeps a leased node in its cluster: polls the manager, carries out what the replies say.
//!
//! The rules are `cluster::node`'s; here are the socket, the clocks, and the order of effects: each bucket's
//! change under that bucket's lock, then the lease, then the map, then the next poll.

mod connection;

use std::fmt::Display;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cluster::map::ApplyError;
use cluster::node::{Effect, NodeOptions, RefuseReply, Step};
use cluster::{Lease, Node};
use proto::MapVersion;
use proto::control::{Life, Message, Reply};
use stdx::{Prng, clock};

use crate::engine::Engine;
use crate::limits::{
    CONTROL_BACKOFF_MAX, CONTROL_BACKOFF_MIN, CONTROL_CONNECT_TIMEOUT, CONTROL_REPLY_TIMEOUT,
    CONTROL_REPLY_TIMEOUT_MIN, POLL_INTERVAL_MIN, RELEASE_BUDGET,
};
use crate::log;
use crate::managed::Managed;
pub(crate) use connection::{Connection, Hangup, TalkError};

/// The control side of a leased node.
#[derive(Debug)]
pub struct Control(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    managers: Vec<String>,
    /// Locked while a reply is carried out, so that a release can't come in between.
    machine: Mutex<Node>,
    stopping: AtomicBool,
    /// Ends the connection that is open, to wake the thread; with it, the condition that ends its pauses.
    hangup: Mutex<Option<Hangup>>,
    stopped: Condvar,
}

impl Control {
    pub(crate) fn new(engine: Arc<Engine>, node: NodeOptions, managers: Vec<String>) -> Self {
        Self(Arc::new(Shared {
            engine,
            managers,
            machine: Mutex::new(Node::new(node)),
            stopping: AtomicBool::new(false),
            hangup: Mutex::new(None),
            stopped: Condvar::new(),
        }))
    }

    pub(crate) fn start(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        thread::Builder::new().name("doled-control".to_owned()).spawn(move || shared.run())?;
        Ok(())
    }

    /// Disowns everything at once, for ever, and then tells a manager so. Returns when one has confirmed it or
    /// the budget is spent.
    pub(crate) fn release(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        let life = self.0.disown_all();
        if let Some(hangup) = self.0.lock_hangup().take() {
            hangup.hang_up();
        }
        self.0.stopped.notify_all();
        if !report(&self.0.managers, &Message::Release(life), RELEASE_BUDGET) {
            log::line("no manager took the buckets back; they move when this node's lease has run out");
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut backoff = Backoff::new();
        let mut complaint = Complaint::default();
        for manager in self.managers.iter().cycle() {
            if self.stopping() {
                return;
            }
            let failure = match Connection::open(manager, CONTROL_CONNECT_TIMEOUT, CONTROL_REPLY_TIMEOUT) {
                Ok(mut connection) => self.talk(&mut connection, &mut backoff, &mut complaint),
                Err(error) => error,
            };
            if self.stopping() {
                return;
            }
            complaint.make(manager, &failure);
            self.pause(backoff.next());
        }
    }

    /// Polls on one connection until it fails.
    fn talk(
        &self,
        connection: &mut Connection,
        backoff: &mut Backoff,
        complaint: &mut Complaint,
    ) -> TalkError {
        *self.lock_hangup() = connection.hangup().ok();
        self.machine().connected();
        let mut ask_whole_map = false;
        loop {
            let sent = Instant::now();
            match self.poll_once(connection, ask_whole_map) {
                Ok(reply) => {
                    backoff.reset();
                    connection.set_reply_timeout(reply_timeout(&reply));
                    let applied = self.apply_map(&reply.map);
                    ask_whole_map = applied.is_err();
                    match applied {
                        Ok(()) => complaint.settle(),
                        Err(error) => complaint.make(connection.manager(), &error),
                    }
                    if ask_whole_map {
                        // One that cannot be taken either would come again at once, for ever.
                        self.pause(CONTROL_BACKOFF_MIN);
                    } else if reply.changes.is_empty()
                        && reply.map.is_empty()
                        && sent.elapsed() < POLL_INTERVAL_MIN
                    {
                        self.pause(POLL_INTERVAL_MIN);
                    }
                }
                Err(error) => return error,
            }
        }
    }

    /// One poll, and its reply carried out but for the map.
    fn poll_once(&self, connection: &mut Connection, ask_whole_map: bool) -> Result<Reply, TalkError> {
        let held = if ask_whole_map { MapVersion::NONE } else { self.managed().map.version() };
        // The clock is read before the poll is sent: the lease counts from here (hazard g).
        let poll = self.machine().poll(clock::lease_now(), clock::random_u64(), held);
        let poll = poll.ok_or(TalkError::Released)?;
        let reply = match connection.ask(&Message::Poll(poll))? {
            Message::Reply(reply) => reply,
            Message::Refused(text) => return Err(TalkError::Refused(text)),
            other => return Err(TalkError::Unexpected(format!("{other:?}"))),
        };
        self.carry_out(&reply)?;
        Ok(reply)
    }

    /// One atomic step against the data path: effects under their buckets' locks, then the lease.
    fn carry_out(&self, reply: &Reply) -> Result<(), RefuseReply> {
        let mut machine = self.machine();
        let Step { effects, lease } = machine.handle_reply(reply)?;
        self.perform(&effects);
        self.managed().set_cluster(machine.cluster());
        if let Some(lease) = lease {
            self.managed().lease.set(lease);
        }
        Ok(())
    }

    fn perform(&self, effects: &[Effect]) {
        for effect in effects {
            let mut guard = self.engine.store.lock(effect.bucket.index());
            if effect.wipe {
                guard.wipe();
            }
            guard.set_tag(effect.generation.0);
        }
    }

    /// On an error, the text did not fit the map held, and the whole one is needed.
    fn apply_map(&self, text: &[u8]) -> Result<(), ApplyError> {
        if text.is_empty() { Ok(()) } else { self.managed().map.apply(text) }
    }

    fn disown_all(&self) -> Life {
        let mut machine = self.machine();
        let (life, effects) = machine.release();
        self.managed().lease.set(Lease::NONE);
        self.perform(&effects);
        life
    }

    fn managed(&self) -> &Managed {
        self.engine.managed.as_ref().expect("a leased node is managed")
    }

    fn machine(&self) -> MutexGuard<'_, Node> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_hangup(&self) -> MutexGuard<'_, Option<Hangup>> {
        self.hangup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Sleeps, but not longer than until the node stops.
    fn pause(&self, duration: Duration) {
        let guard = self.lock_hangup();
        let waited = self.stopped.wait_timeout_while(guard, duration, |_| !self.stopping());
        drop(waited);
    }
}

/// How long the next answer may take: a manager holds a poll for a fifth of the lease, a second at most, and
/// another manager must still have the time to renew the lease when this one does not answer.
fn reply_timeout(reply: &Reply) -> Duration {
    if reply.lease_ms == 0 {
        return CONTROL_REPLY_TIMEOUT;
    }
    let share = Duration::from_millis(u64::from(reply.lease_ms)) * 2 / 5;
    share.clamp(CONTROL_REPLY_TIMEOUT_MIN, CONTROL_REPLY_TIMEOUT)
}

/// Tells a message to one manager after the other until one answers that it is done. False: none did in time.
pub(crate) fn report(managers: &[String], message: &Message, budget: Duration) -> bool {
    let until = Instant::now() + budget;
    let mut backoff = Backoff::new();
    while Instant::now() < until && !managers.is_empty() {
        for manager in managers {
            let left = until.saturating_duration_since(Instant::now()).max(CONTROL_BACKOFF_MIN);
            let answer = Connection::open(manager, left.min(CONTROL_CONNECT_TIMEOUT), left)
                .and_then(|mut connection| connection.ask(message));
            if matches!(answer, Ok(Message::Done)) {
                return true;
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        thread::sleep(backoff.next().min(left));
    }
    false
}

/// Pauses that get longer, with jitter so that nodes do not come all at once.
#[derive(Debug)]
struct Backoff {
    pause: Duration,
    prng: Prng,
}

impl Backoff {
    fn new() -> Self {
        Self { pause: CONTROL_BACKOFF_MIN, prng: Prng::new(clock::random_u64()) }
    }

    fn reset(&mut self) {
        self.pause = CONTROL_BACKOFF_MIN;
    }

    fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(CONTROL_BACKOFF_MAX);
        pause.mul_f64(0.5 + self.prng.unit() / 2.0)
    }
}

/// Says a failure once, not at each attempt, and its end.
#[derive(Debug, Default)]
struct Complaint {
    last: Option<String>,
}

impl Complaint {
    fn make(&mut self, manager: &str, failure: &dyn Display) {
        let text = format!("manager {manager}: {failure}; trying again");
        if self.last.as_ref() != Some(&text) {
            log::line(&text);
            self.last = Some(text);
        }
    }

    fn settle(&mut self) {
        if self.last.take().is_some() {
            log::line("a manager answers again");
        }
    }
}
