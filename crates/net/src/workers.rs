//! All loops of a process, and the acceptor that feeds them.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use stdx::clock;

use crate::acceptor::{Acceptor, AcceptorOptions};
use crate::app::App;
use crate::event_loop::EventLoop;
use crate::io::Io;
use crate::listener::Listener;
use crate::mailbox::{Mailbox, MailboxFull};
use crate::poller::Poller;
use crate::stats::{ConnectionStats, LoopStats};

/// How loops are set up.
#[derive(Clone, Copy, Debug)]
pub struct WorkersOptions {
    /// Name of the threads, at most 10 bytes; their number follows.
    pub name: &'static str,
    /// How many loops.
    pub threads: usize,
    /// Limits of accepting.
    pub acceptor: AcceptorOptions,
    /// Accepted connections that send nothing for so long are closed; `None`: never.
    pub idle_timeout: Option<Duration>,
}

/// Running loops. Dropping it without [`Workers::join`] leaves them running.
#[derive(Debug)]
pub struct Workers<M> {
    loops: Vec<Mailbox<M>>,
    acceptor: Mailbox<()>,
    threads: Vec<JoinHandle<()>>,
    connection_stats: Arc<ConnectionStats>,
    loop_stats: Vec<Arc<LoopStats>>,
}

impl<M: Send + 'static> Workers<M> {
    /// Starts the loops, each with an app made by `make` (which gets the loop's number), and the acceptor.
    pub fn start<A: App<Message = M>>(
        options: WorkersOptions,
        listeners: Vec<Listener>,
        mut make: impl FnMut(usize) -> A,
    ) -> io::Result<Self> {
        assert!(options.threads > 0, "no thread would serve");
        let mut workers = Self {
            loops: (0..options.threads).map(|_| Mailbox::new()).collect::<Result<_, _>>()?,
            acceptor: Mailbox::new()?,
            threads: Vec::new(),
            connection_stats: Arc::new(ConnectionStats::default()),
            loop_stats: Vec::new(),
        };
        match workers.start_threads(&options, listeners, &mut make) {
            Ok(()) => Ok(workers),
            Err(error) => {
                workers.stop();
                Err(error)
            }
        }
    }

    fn start_threads<A: App<Message = M>>(
        &mut self,
        options: &WorkersOptions,
        listeners: Vec<Listener>,
        make: &mut impl FnMut(usize) -> A,
    ) -> io::Result<()> {
        let acceptor = Acceptor {
            options: options.acceptor,
            listeners,
            loops: self.loops.clone(),
            control: self.acceptor.clone(),
            poller: Poller::new()?,
            stats: Arc::clone(&self.connection_stats),
            turn: 0,
            paused: false,
        };
        acceptor.arm()?;
        for (number, mailbox) in acceptor.loops.iter().enumerate() {
            self.start_loop(options, number, mailbox.clone(), make(number))?;
        }
        self.spawn(format!("{}-accept", options.name), move || acceptor.run())
    }

    fn start_loop<A: App<Message = M>>(
        &mut self,
        options: &WorkersOptions,
        number: usize,
        mailbox: Mailbox<M>,
        app: A,
    ) -> io::Result<()> {
        let stats = Arc::new(LoopStats::default());
        self.loop_stats.push(Arc::clone(&stats));
        let io = Io::new(Poller::new()?, clock::now(), stats, Arc::clone(&self.connection_stats));
        let event_loop = EventLoop::new(app, io, mailbox, options.idle_timeout)?;
        self.spawn(format!("{}-{number}", options.name), move || event_loop.run())
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name).spawn(move || {
            let _guard = AbortOnPanic;
            run();
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// How many loops there are.
    pub fn count(&self) -> usize {
        self.loops.len()
    }

    /// The mailbox of a loop, for a thread that posts often; `None` when there is no such loop.
    pub fn mailbox(&self, number: usize) -> Option<&Mailbox<M>> {
        self.loops.get(number)
    }

    /// Posts a message to a loop.
    ///
    /// # Panics
    /// If there is no such loop.
    pub fn post(&self, number: usize, message: M) -> Result<(), MailboxFull> {
        self.loops[number].post(message)
    }

    /// Counters of all connections.
    pub fn connection_stats(&self) -> &Arc<ConnectionStats> {
        &self.connection_stats
    }

    /// Counters of each loop.
    pub fn loop_stats(&self) -> &[Arc<LoopStats>] {
        &self.loop_stats
    }

    /// Asks everything to stop: no new connections, and the loops end when what they owe is sent, at most
    /// [`crate::limits::DRAIN_MAX`] later.
    pub fn stop(&self) {
        self.acceptor.stop();
        for mailbox in &self.loops {
            mailbox.stop();
        }
    }

    /// Waits until everything has stopped.
    pub fn join(self) {
        for thread in self.threads {
            // A thread that panics ends the process, so there is no other outcome.
            let _ = thread.join();
        }
    }
}

/// A loop that has panicked leaves state of unknown shape behind, and connections that nobody serves: the
/// process must not go on.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}
