//! The requests of a worker that are on their way. Each is in exactly one place: a backend's pipeline, a backend's
//! list of held ones, the parked ones, or the reported ones.

use net::ConnId;
use route::{BackendId, Op};

use crate::limits::{SPARE_BUFFER_LEN, SPARE_BUFFERS};
use crate::prepare::Prepared;

/// Finds a request while it is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(u32);

/// One key of one command of a client.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) prepared: Prepared,
    pub(crate) op: Op,
    /// Who is told; nobody about a copy.
    pub(crate) client: Option<ConnId>,
    /// The command's place among the client's.
    pub(crate) seq: u64,
    /// For this backend and no other, whatever the router thinks of keys: a copy, a flush.
    pub(crate) pinned: Option<BackendId>,
}

/// All of a worker's requests, and buffers for more.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    slots: Vec<Option<Request>>,
    free: Vec<RequestId>,
    spare: Vec<Vec<u8>>,
}

impl Requests {
    /// An empty buffer for the bytes of a request.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    pub(crate) fn insert(&mut self, request: Request) -> RequestId {
        if let Some(id) = self.free.pop() {
            self.slots[id.0 as usize] = Some(request);
            return id;
        }
        self.slots.push(Some(request));
        RequestId((self.slots.len() - 1) as u32)
    }

    pub(crate) fn get(&self, id: RequestId) -> &Request {
        self.slots[id.0 as usize].as_ref().expect("an id is held in one place, until its request ends")
    }

    pub(crate) fn get_mut(&mut self, id: RequestId) -> &mut Request {
        self.slots[id.0 as usize].as_mut().expect("an id is held in one place, until its request ends")
    }

    /// Ends a request.
    pub(crate) fn remove(&mut self, id: RequestId) -> Request {
        self.free.push(id);
        self.slots[id.0 as usize].take().expect("an id is held in one place, until its request ends")
    }

    /// Takes the buffer of an ended request back.
    pub(crate) fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS && bytes.capacity() <= SPARE_BUFFER_LEN {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Requests on their way.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
