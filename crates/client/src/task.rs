//! The task that owns the driver: waits for calls, events and time, and does what the driver says.

use std::collections::HashMap;
use std::time::Duration;

use stdx::clock;
use tokio::sync::mpsc;

use crate::connection::Connection;
use crate::driver::{Action, Driver, Event, LinkId, NewCall};
use crate::limits::{EVENTS_PER_TURN, EVENTS_QUEUED_MAX};
use crate::managers::{self, Managers};

/// Without any timer the task looks at the clock this often; nothing depends on it.
const IDLE_TURN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Task {
    driver: Driver,
    managers: Managers,
    calls: mpsc::Receiver<Vec<NewCall>>,
    /// The last handle of the client is dropped.
    ended: bool,
    events: mpsc::Receiver<Event>,
    /// Given to the tasks of sockets and managers.
    sender: mpsc::Sender<Event>,
    connections: HashMap<u32, (LinkId, Connection)>,
}

/// What the task woke up for.
enum Woken {
    Calls(Option<Vec<NewCall>>),
    Event(Option<Event>),
    Time,
}

impl Task {
    pub(crate) fn new(driver: Driver, managers: Managers, calls: mpsc::Receiver<Vec<NewCall>>) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_QUEUED_MAX);
        Self { driver, managers, calls, ended: false, events, sender, connections: HashMap::new() }
    }

    /// Runs until the last handle of the client is dropped and what is owed then is done: deletes on their way, and
    /// dirty reports, until they are acknowledged.
    pub(crate) async fn run(mut self) {
        while !(self.ended && self.driver.is_idle()) {
            match self.wait().await {
                Woken::Calls(None) => self.ended = true,
                Woken::Calls(Some(calls)) => self.begin(calls),
                Woken::Event(Some(event)) => self.driver.apply(event, clock::now()),
                Woken::Event(None) | Woken::Time => {}
            }
            self.drain();
            self.driver.fire_timers(clock::now());
            for action in self.driver.take_actions() {
                self.act(action);
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let pause = self.driver.next_timeout().map_or(IDLE_TURN, |at| at.since(clock::now()));
        tokio::select! {
            biased;
            event = self.events.recv() => Woken::Event(event),
            calls = self.calls.recv(), if !self.ended && self.driver.has_room() => Woken::Calls(calls),
            () = tokio::time::sleep(pause) => Woken::Time,
        }
    }

    /// What else is there already, so that its effects leave together.
    fn drain(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            let event = self.events.try_recv();
            let calls = if self.driver.has_room() { self.calls.try_recv().ok() } else { None };
            if event.is_err() && calls.is_none() {
                return;
            }
            if let Ok(event) = event {
                // Read anew: the event may have come after the last reading, and clock samples count from it.
                self.driver.apply(event, clock::now());
            }
            if let Some(calls) = calls {
                self.begin(calls);
            }
        }
    }

    fn begin(&mut self, calls: Vec<NewCall>) {
        let now = clock::now();
        for call in calls {
            self.driver.handle_call(call, now);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect(id, address) => {
                let connection = Connection::open(id, address, self.sender.clone());
                self.connections.insert(id.backend.0, (id, connection));
            }
            Action::Write(id, bytes) => {
                if let Some((_, connection)) = self.connections.get(&id.backend.0).filter(|(at, _)| *at == id)
                {
                    connection.write(bytes);
                }
            }
            Action::Close(id) => {
                if self.connections.get(&id.backend.0).is_some_and(|(at, _)| *at == id) {
                    self.connections.remove(&id.backend.0);
                }
            }
            Action::AskMap(version) => {
                let (managers, sender) = (self.managers.clone(), self.sender.clone());
                tokio::spawn(async move {
                    let map = managers::ask_map(&managers, version).await.ok();
                    let _ = sender.send(Event::Map(map)).await;
                });
            }
            Action::Report(report, cluster, bucket) => {
                let (managers, sender) = (self.managers.clone(), self.sender.clone());
                tokio::spawn(managers::report(managers, report, (cluster, bucket), sender));
            }
        }
    }
}
