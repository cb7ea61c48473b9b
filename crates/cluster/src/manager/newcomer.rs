//! A life that polls and is not the one on record: of a new node, of a restarted one, of a second node with the
//! same name, or of the dead (a late message).
//!
//! Nothing is believed of it before it has answered a challenge: a reply without a lease, whose nonce its next
//! poll names as applied. That proves that it lived after this term began and after the last life of its name was
//! admitted. So a dead process is never admitted, and an exclusive lock named in such a poll proves that whoever
//! held it before is dead ("Manager/Proof of death"). The same poll lists what the life holds: nothing, if it is
//! new, but a process that was away and superseded, or whose node was removed, may hold what it had.

use proto::control::{LockIdentity, Owned, Poll};
use proto::{Incarnation, Nonce};
use stdx::LeaseTime;

use super::contact::Parked;
use super::output::Token;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) incarnation: Incarnation,
    pub(super) lock: LockIdentity,
    pub(super) address: String,
    pub(super) pid: u32,
    /// Of its last poll that was answered; zero: none.
    answered: Nonce,
    /// It has answered a challenge.
    pub(super) proven: bool,
    /// What it holds, by its list in a poll sent after that. Nothing is added to it before it is admitted.
    pub(super) held: Vec<Owned>,
    /// Arrival of its newest poll.
    pub(super) arrived: LeaseTime,
    pub(super) parked: Option<Parked>,
}

impl Newcomer {
    /// A life that polls for the first time.
    pub(super) fn new(poll: &Poll, now: LeaseTime) -> Self {
        Self {
            incarnation: poll.incarnation,
            lock: poll.lock.clone(),
            address: poll.address.clone(),
            pid: poll.pid,
            answered: Nonce(0),
            proven: false,
            held: Vec::new(),
            arrived: now,
            parked: None,
        }
    }

    /// Parks its next poll; the one before it, if still parked, is returned.
    pub(super) fn park(&mut self, token: Token, poll: Poll, now: LeaseTime) -> Option<Parked> {
        let answers = self.answered != Nonce(0) && poll.applied == self.answered;
        if let Some(held) = poll.owned.as_ref().filter(|_| answers || self.proven) {
            self.proven = true;
            self.held.clone_from(held);
        }
        self.arrived = now;
        let parked = Parked::new(token, &poll, now);
        (self.address, self.lock, self.pid) = (poll.address, poll.lock, poll.pid);
        self.parked.replace(parked)
    }

    /// A poll of it is answered without a lease: the challenge.
    pub(super) fn answer(&mut self, nonce: Nonce) {
        self.answered = nonce;
    }

    /// Forgets what it has proven: since then another life of its name was admitted.
    pub(super) fn doubt(&mut self) {
        self.proven = false;
        self.answered = Nonce(0);
    }

    /// The reply that it is known to have applied last.
    pub(super) fn acknowledged(&self) -> Nonce {
        self.answered
    }
}

/// True when the two identities are the same exclusive lock: same machine, same boot, same file. All zero is no
/// lock and proves nothing.
pub(super) fn same_lock(old: &LockIdentity, new: &LockIdentity) -> bool {
    old == new && *old != LockIdentity::default() && old.boot_id != 0 && old.inode != 0
}
