//! Keeps the parts of a local cluster running, and ends them.

use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::Signal;
use signal_hook::iterator::Signals;

use super::child::{Child, describe};
use super::plan::{Plan, Role};
use crate::api::{Api, Node};

/// How long the whole cluster may take until its first answer.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How often readiness is looked at.
const READY_POLL: Duration = Duration::from_millis(10);

/// How long a part may take to end after SIGTERM, before SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that can happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A process ended.
    Ended { index: usize, status: Option<ExitStatus> },
    /// SIGINT or SIGTERM.
    Stop,
}

/// A cluster that answers: its nodes as the manager sees them; none in a static pool.
pub(super) type Ready = Vec<Node>;

/// The running parts.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) plan: Plan,
    pub(super) children: Vec<Child>,
    events: Receiver<Event>,
    sender: Sender<Event>,
}

impl Supervisor {
    /// Starts every part.
    pub(super) fn start(plan: Plan) -> Result<Self> {
        let (sender, events) = channel();
        let children = plan.parts.iter().cloned().map(Child::new).collect();
        let mut supervisor = Self { plan, children, events, sender };
        for index in 0..supervisor.children.len() {
            if let Err(error) = supervisor.children[index].start(index, &supervisor.sender) {
                supervisor.stop();
                return Err(error);
            }
        }
        Ok(supervisor)
    }

    /// Turns the end signals into events.
    pub(super) fn watch_signals(&self, mut signals: Signals) {
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            for _ in signals.forever() {
                if sender.send(Event::Stop).is_err() {
                    break;
                }
            }
        });
    }

    /// Waits until a client is answered; `None` when a signal came first.
    pub(super) fn wait_ready(&mut self) -> Result<Option<Ready>> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match self.events.recv_timeout(READY_POLL) {
                Ok(Event::Stop) => return Ok(None),
                Ok(Event::Ended { index, status }) => {
                    let child = &mut self.children[index];
                    child.ended(Instant::now());
                    bail!(
                        "{} ended {} before the cluster was up; its own message stands above",
                        child.part.name,
                        describe(status)
                    );
                }
                Err(_) => {}
            }
            if let Some(ready) = self.ready() {
                return Ok(Some(ready));
            }
            if Instant::now() > deadline {
                bail!(
                    "the cluster is not up after {} s; `doled ctl status` may say more",
                    READY_TIMEOUT.as_secs()
                );
            }
        }
    }

    /// Supervises until a signal to end.
    pub(super) fn run(&mut self) -> Result<()> {
        loop {
            let next = self.children.iter().filter_map(|child| child.restart_at).min();
            let wait =
                next.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(Instant::now()));
            match self.events.recv_timeout(wait) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Event::Ended { index, status }) => self.plan_restart(index, status),
                Err(RecvTimeoutError::Timeout) => self.restart_due()?,
            }
        }
    }

    /// Ends every part: clients first, the manager last, so that nodes can release what they own.
    pub(super) fn stop(&mut self) {
        for role in [Role::Proxy, Role::Node, Role::Manager] {
            for child in self.children.iter().filter(|child| child.part.role == role) {
                child.signal(Signal::TERM);
            }
            let deadline = Instant::now() + STOP_TIMEOUT;
            while self.children.iter().any(|child| child.part.role == role && child.pid.is_some()) {
                let left = deadline.saturating_duration_since(Instant::now());
                match self.events.recv_timeout(left) {
                    Ok(Event::Ended { index, .. }) => self.children[index].pid = None,
                    Ok(Event::Stop) => {}
                    Err(_) => break,
                }
            }
            for child in self.children.iter().filter(|child| child.part.role == role) {
                child.signal(Signal::KILL);
            }
        }
    }

    fn plan_restart(&mut self, index: usize, status: Option<ExitStatus>) {
        let child = &mut self.children[index];
        let delay = child.ended(Instant::now());
        println!(
            "{} ended {}; starting it again in {:.1} s",
            child.part.name,
            describe(status),
            delay.as_secs_f64()
        );
    }

    fn restart_due(&mut self) -> Result<()> {
        let now = Instant::now();
        for index in 0..self.children.len() {
            let child = &mut self.children[index];
            if child.restart_at.is_some_and(|at| at <= now) {
                child.start(index, &self.sender)?;
                println!("{} started again", child.part.name);
            }
        }
        Ok(())
    }

    /// The nodes, when every bucket is owned and the proxy listens.
    fn ready(&self) -> Option<Ready> {
        std::net::TcpStream::connect(self.plan.proxy().address).ok()?;
        let Some(manager) = self.plan.manager() else {
            let listening = |child: &&Child| std::net::TcpStream::connect(child.part.address).is_ok();
            return self.children.iter().all(|child| listening(&child)).then(Vec::new);
        };
        let nodes = Api::new(&manager.address.to_string()).nodes().ok()?;
        let wanted = self.plan.parts.iter().filter(|part| part.role == Role::Node).count();
        let up = nodes.iter().filter(|node| node.state == "up").count();
        let owned: u64 = nodes.iter().map(|node| node.buckets).sum();
        (up >= wanted && owned == proto::BUCKET_COUNT as u64).then_some(nodes)
    }
}
