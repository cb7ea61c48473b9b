//! The one task that owns the machine.
//!
//! It waits for one event (`next_event`), applies it and those that came with it (`apply`, synchronous), then
//! does what the machine put out (`act`). Requests are answered through the sender that came with them.
//!
//! **Invariants**: `lease_now` is read after the event was taken from its queue, so after its message was
//! received; nothing here waits but `next_event`; a halt is the last thing that happens.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use cluster::manager::{Event as MachineEvent, Halt, Output, Refusal, Token};
use proto::control::Reply;
use stdx::{LeaseTime, clock};
use tokio::sync::{mpsc, oneshot, watch};

use crate::counters::Counters;
use crate::handle::{Answer, Look, Request};
use crate::limits::EVENTS_BATCH_MAX;
use crate::log::Verbosity::{Changes, Everything, Quiet};
use crate::log::{Log, quoted};
use crate::manager::ManagerError;
use crate::store_thread::{Done, Job, StoreThread};

/// Everything that can happen to the driver.
pub(crate) enum Event {
    /// A request to be answered.
    Request { token: Token, request: Request, sender: oneshot::Sender<Answer> },
    /// Whoever waited for that answer is gone.
    Closed(Token),
    /// Somebody wants to see the machine.
    Look(Look),
    /// The store has done a job.
    Stored(Done),
    /// The machine's timer.
    Timeout,
    /// The store thread has ended, which it does only by a panic.
    StoreLost,
    /// An end was asked for.
    Stop,
}

/// The machine and everything that it acts on.
pub(crate) struct Driver {
    pub(crate) machine: cluster::Manager,
    pub(crate) counters: Counters,
    pub(crate) started: LeaseTime,
    store: StoreThread,
    events: mpsc::Receiver<Event>,
    stop: watch::Receiver<bool>,
    pending: HashMap<Token, oneshot::Sender<Answer>>,
    log: Log,
    /// Told once, when the term is durable.
    leading: Option<oneshot::Sender<()>>,
}

/// How a driver ends, before its time or in it.
enum End {
    Stopped,
    Failed(ManagerError),
}

impl Driver {
    pub(crate) fn new(
        machine: cluster::Manager,
        store: StoreThread,
        events: mpsc::Receiver<Event>,
        stop: watch::Receiver<bool>,
        log: Log,
        leading: oneshot::Sender<()>,
    ) -> Self {
        Self {
            machine,
            counters: Counters::default(),
            started: clock::lease_now(),
            store,
            events,
            stop,
            pending: HashMap::new(),
            log,
            leading: Some(leading),
        }
    }

    /// Runs until the stop, or until the machine halts.
    pub(crate) async fn run(mut self) -> Result<(), ManagerError> {
        let end = loop {
            if let Err(end) = self.act() {
                break end;
            }
            let event = self.next_event().await;
            if let Err(end) = self.apply_batch(event) {
                break end;
            }
        };
        match end {
            End::Stopped => {
                self.log.line(Changes, "stopped", format_args!("term={}", self.machine.term()));
                Ok(())
            }
            End::Failed(error) => {
                self.log.line(Quiet, "halted", format_args!("reason={}", quoted(&error)));
                Err(error)
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let wait = self.machine.poll_timeout().map(|timeout| timeout.since(clock::now()));
        tokio::select! {
            biased;
            // An error means that the `Manager` is gone, which is a stop as well.
            _ = self.stop.wait_for(|stop| *stop) => Event::Stop,
            done = self.store.results.recv() => done.map_or(Event::StoreLost, Event::Stored),
            // Never closed: the listener holds a sender for as long as this task lives.
            Some(event) = self.events.recv() => event,
            () = sleep(wait) => Event::Timeout,
        }
    }

    /// Applies an event and those that wait behind it.
    fn apply_batch(&mut self, first: Event) -> Result<(), End> {
        self.apply(first, clock::lease_now())?;
        for _ in 1..EVENTS_BATCH_MAX {
            let Ok(event) = self.events.try_recv() else { break };
            self.apply(event, clock::lease_now())?;
        }
        // Its turn comes also when events never run out.
        let now = clock::lease_now();
        if self.machine.poll_timeout().is_some_and(|timeout| timeout <= now.instant()) {
            self.apply(Event::Timeout, now)?;
        }
        Ok(())
    }

    fn apply(&mut self, event: Event, now: LeaseTime) -> Result<(), End> {
        match event {
            Event::Request { token, request, sender } => {
                self.pending.insert(token, sender);
                self.apply_request(token, request, now);
            }
            Event::Closed(token) => {
                if self.pending.remove(&token).is_some() {
                    self.machine.handle_closed(token);
                }
            }
            Event::Look(look) => look(self, now),
            Event::Stored(done) => self.apply_stored(done, now)?,
            Event::Timeout => self.machine.handle_timeout(now),
            Event::StoreLost => return Err(End::Failed(ManagerError::StoreLost)),
            Event::Stop => return Err(End::Stopped),
        }
        Ok(())
    }

    fn apply_request(&mut self, token: Token, request: Request, now: LeaseTime) {
        match request {
            Request::Poll(poll) => {
                self.counters.polls += 1;
                self.machine.handle_poll(token, poll, now);
            }
            Request::Dead(life) => {
                self.counters.deaths += 1;
                self.machine.handle_dead(token, &life, now);
            }
            Request::Release(life) => {
                self.counters.releases += 1;
                self.machine.handle_release(token, &life, now);
            }
            Request::Dirty(dirty) => {
                self.counters.dirty_reports += 1;
                self.machine.handle_dirty(token, &dirty, now);
            }
            Request::Command(command) => {
                self.counters.commands += 1;
                self.log.line(
                    Changes,
                    "command",
                    format_args!("command={}", quoted(&format!("{command:?}"))),
                );
                self.machine.handle_command(token, command, now);
            }
        }
    }

    fn apply_stored(&mut self, done: Done, now: LeaseTime) -> Result<(), End> {
        match done {
            Done::Committed(number, result) => {
                match &result {
                    Ok(_) => self.counters.commits += 1,
                    Err(_) => self.counters.commits_failed += 1,
                }
                self.machine.handle_committed(number, result, now);
            }
            // Reading once more helps a failing disk, but not a damaged file.
            Done::Loaded(Err(error @ mapstore::LoadError::Corrupt { .. })) => {
                return Err(End::Failed(ManagerError::Store(error)));
            }
            Done::Loaded(records) => {
                self.counters.reloads += 1;
                let records = records.map_err(|error| error.to_string());
                self.machine.handle_reloaded(records.as_ref().map_err(Clone::clone), now);
            }
        }
        Ok(())
    }

    /// Does everything that the machine has put out.
    fn act(&mut self) -> Result<(), End> {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Commit(txn) => self.give_store(Job::Commit(txn))?,
                Output::Reload => self.give_store(Job::Load)?,
                Output::Reply { token, reply } => self.answer_poll(token, reply),
                Output::Answer { token, answer } => {
                    self.counters.requests_refused += u64::from(answer.is_err());
                    self.answer(token, Answer::Done(answer));
                }
                Output::Event(event) => self.note(&event),
                Output::Halt(halt) => return Err(End::Failed(halt.into())),
            }
        }
        Ok(())
    }

    fn give_store(&mut self, job: Job) -> Result<(), End> {
        // Full is as impossible as a lost thread: the machine has one transaction and one reload out at most.
        self.store.jobs.try_send(job).map_err(|_| End::Failed(ManagerError::StoreLost))
    }

    fn answer_poll(&mut self, token: Token, reply: Result<Reply, Refusal>) {
        self.counters.polls_refused += u64::from(reply.is_err());
        self.answer(token, Answer::Reply(reply.map(Box::new)));
    }

    fn answer(&mut self, token: Token, answer: Answer) {
        if let Some(sender) = self.pending.remove(&token) {
            // Who asked may have gone in this moment.
            let _ = sender.send(answer);
        }
    }

    /// Counts and logs a transition.
    fn note(&mut self, event: &MachineEvent) {
        let log = self.log.clone();
        match event {
            MachineEvent::Leading(term) => {
                let (cluster, version) = (self.machine.cluster(), self.machine.map().version());
                log.line(
                    Changes,
                    "leading",
                    format_args!("term={term} cluster={cluster} map_version={version}"),
                );
                if let Some(leading) = self.leading.take() {
                    let _ = leading.send(());
                }
            }
            MachineEvent::Admitted(node, incarnation) => {
                self.counters.nodes_admitted += 1;
                log.line(Changes, "node-admitted", format_args!("node={node} incarnation={incarnation}"));
            }
            MachineEvent::Dead(node, incarnation, proof) => {
                self.counters.nodes_dead += 1;
                log.line(
                    Changes,
                    "node-dead",
                    format_args!("node={node} incarnation={incarnation} proof={proof:?}"),
                );
            }
            MachineEvent::Silent(node, incarnation) => {
                self.counters.nodes_silent += 1;
                log.line(Changes, "node-silent", format_args!("node={node} incarnation={incarnation}"));
            }
            MachineEvent::Moved(count, generation) => {
                self.counters.buckets_moved += *count as u64;
                log.line(Changes, "buckets-moved", format_args!("count={count} generation={generation}"));
            }
            MachineEvent::Wiped(count, generation) => {
                self.counters.buckets_wiped += *count as u64;
                log.line(Changes, "buckets-wiped", format_args!("count={count} generation={generation}"));
            }
            MachineEvent::Removed(node) => log.line(Changes, "node-removed", format_args!("node={node}")),
            MachineEvent::Refused(text) => {
                log.line(Everything, "refused", format_args!("reason={}", quoted(text)));
            }
            MachineEvent::CommitFailed(text) => {
                log.line(Quiet, "commit-failed", format_args!("reason={}", quoted(text)));
            }
        }
    }
}

impl From<Halt> for ManagerError {
    fn from(halt: Halt) -> Self {
        Self::Halted(halt)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Event")
    }
}

/// Sleeps; for ever if there is nothing to wait for.
async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
