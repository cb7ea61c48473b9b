//! How connections talk to the driver: requests that the machine answers, and looks at the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::manager::{Command, Refusal, Token};
use proto::control::{Dirty, Life, Poll, Reply};
use stdx::LeaseTime;
use tokio::sync::{mpsc, oneshot};

use crate::driver::{Driver, Event};

/// Something that the machine answers, once.
#[derive(Debug)]
pub(crate) enum Request {
    Poll(Poll),
    Dead(Life),
    Release(Life),
    Dirty(Dirty),
    Command(Command),
}

/// The machine's answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// To a poll. Boxed, since it is far larger than the other.
    Reply(Result<Box<Reply>, Refusal>),
    /// To anything else.
    Done(Result<(), Refusal>),
}

/// The manager is stopping, or has halted: there will be no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopping;

/// A look at the driver, done between two events.
pub(crate) type Look = Box<dyn FnOnce(&mut Driver, LeaseTime) + Send>;

/// The connections' end of the driver's queue.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    events: mpsc::Sender<Event>,
    tokens: Arc<AtomicU64>,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Waiting {
    token: Token,
    /// Fails when the manager stops.
    pub(crate) answer: oneshot::Receiver<Answer>,
}

impl Handle {
    pub(crate) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { events, tokens: Arc::default() }
    }

    /// Puts a request to the machine.
    pub(crate) async fn request(&self, request: Request) -> Result<Waiting, Stopping> {
        let token = Token(self.tokens.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        self.events.send(Event::Request { token, request, sender }).await.map_err(|_| Stopping)?;
        Ok(Waiting { token, answer })
    }

    /// Tells that nobody waits for that answer any more.
    pub(crate) async fn give_up(&self, waiting: Waiting) {
        // When the driver is gone there is nothing to give up.
        let _ = self.events.send(Event::Closed(waiting.token)).await;
    }

    /// Looks at the machine.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Driver, LeaseTime) -> T + Send + 'static,
    ) -> Result<T, Stopping> {
        let (sender, seen) = oneshot::channel();
        // Who asked may be gone by then; that is no concern of the driver.
        let look: Look = Box::new(move |driver, now| drop(sender.send(look(driver, now))));
        self.events.send(Event::Look(look)).await.map_err(|_| Stopping)?;
        seen.await.map_err(|_| Stopping)
    }
}
