//! How other threads reach a loop: a bounded queue and an eventfd that wakes it.
//!
//! The eventfd is written only when the loop has not been woken since it last looked, so a burst of posts
//! costs one system call. Stopping is a flag beside the queue: it can't be refused.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::app::Origin;
use crate::limits::MAILBOX_LEN;
use crate::tls::TlsAcceptor;

/// The sending side of a loop's mailbox.
#[derive(Debug)]
pub struct Mailbox<M>(Arc<Shared<M>>);

/// The loop has more posts waiting than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the loop's mailbox is full ({MAILBOX_LEN} posts)")]
pub struct MailboxFull;

#[derive(Debug)]
pub(crate) enum Post<M> {
    /// With what it speaks TLS from, if it does.
    Accepted(OwnedFd, Origin, Option<TlsAcceptor>),
    Message(M),
}

#[derive(Debug)]
struct Shared<M> {
    queue: Mutex<Vec<Post<M>>>,
    waker: OwnedFd,
    /// The eventfd was written and the loop has not looked since.
    woken: AtomicBool,
    stopping: AtomicBool,
}

impl<M> Mailbox<M> {
    pub(crate) fn new() -> rustix::io::Result<Self> {
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Shared {
            queue: Mutex::new(Vec::new()),
            waker,
            woken: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        })))
    }

    /// Hands a message to the loop's app.
    pub fn post(&self, message: M) -> Result<(), MailboxFull> {
        self.push(Post::Message(message)).map_err(|_| MailboxFull)
    }

    pub(crate) fn push(&self, post: Post<M>) -> Result<(), Post<M>> {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= MAILBOX_LEN || self.stopping() {
            return Err(post);
        }
        queue.push(post);
        drop(queue);
        self.wake();
        Ok(())
    }

    pub(crate) fn stop(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn stopping(&self) -> bool {
        self.0.stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn waker(&self) -> BorrowedFd<'_> {
        self.0.waker.as_fd()
    }

    /// Moves all posts to `into`, which is empty. Called by the loop when it was woken.
    pub(crate) fn drain(&self, into: &mut Vec<Post<M>>) {
        let mut buffer = [0; 8];
        // Only the wake-up matters, and a spurious one is harmless: the queue decides.
        let _ = rustix::io::read(&self.0.waker, &mut buffer);
        self.0.woken.store(false, Ordering::SeqCst);
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *queue, into);
    }

    fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::SeqCst) {
            // The counter is at most one here, so the write can't block.
            let _ = rustix::io::write(&self.0.waker, &1u64.to_ne_bytes());
        }
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
