//! How any thread asks the node to stop.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Why a node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// [`StopHandle::stop`] was called.
    Asked,
    /// [`StopHandle::stop_gracefully`] was called, or a client sent `shutdown graceful`: the items go to the memory
    /// file, if the node has one.
    Gracefully,
    /// A client sent `shutdown`.
    Command,
}

/// Asks a node to stop; any number of copies.
#[derive(Clone, Debug, Default)]
pub struct StopHandle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    reason: Mutex<Option<StopReason>>,
    changed: Condvar,
}

impl StopHandle {
    /// Asks; [`crate::Node::wait`] does it. Asking again changes nothing.
    pub fn stop(&self) {
        self.stop_for(StopReason::Asked);
    }

    /// Asks for an end after which the next start has the items, if the node has a memory file.
    pub fn stop_gracefully(&self) {
        self.stop_for(StopReason::Gracefully);
    }

    pub(crate) fn stop_for(&self, reason: StopReason) {
        self.0.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.0.changed.notify_all();
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.reason.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn wait(&self) -> StopReason {
        let mut reason = self.0.reason.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(reason) = *reason {
                return reason;
            }
            reason = self.0.changed.wait(reason).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
