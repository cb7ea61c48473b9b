//! The backends of a router: who they are, and what is known of their health.

use proto::NodeId;
use stdx::Instant;

use super::Router;
use crate::health::{Health, HealthState};

/// One backend, for as long as the router lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u32);

/// A backend as its connections need it.
#[derive(Clone, Copy, Debug)]
pub struct BackendView<'a> {
    /// `host:port`.
    pub address: &'a str,
    /// The node's name, in a managed cluster; the handshake must say the same.
    pub node: Option<&'a NodeId>,
    /// Its health.
    pub health: &'a Health,
    /// False once a newer map no longer names it: its connections can go.
    pub current: bool,
}

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) address: String,
    pub(super) node: Option<NodeId>,
    pub(super) health: Health,
    pub(super) current: bool,
}

impl Router {
    /// All backends, past ones too.
    pub fn backends(&self) -> impl Iterator<Item = (BackendId, BackendView<'_>)> {
        self.backends.iter().enumerate().map(|(index, backend)| (BackendId(index as u32), backend.view()))
    }

    /// One backend.
    pub fn backend(&self, id: BackendId) -> Option<BackendView<'_>> {
        self.backends.get(id.0 as usize).map(Backend::view)
    }

    /// A backend answered.
    pub fn handle_answer(&mut self, id: BackendId, now: Instant) {
        if let Some(backend) = self.backends.get_mut(id.0 as usize) {
            backend.health.handle_answer(now, &self.options);
        }
    }

    /// A backend was silent for a whole time-out.
    pub fn handle_timeout(&mut self, id: BackendId, now: Instant) {
        if let Some(backend) = self.backends.get_mut(id.0 as usize) {
            backend.health.handle_timeout(now, &self.options, &mut self.prng);
        }
        self.refresh.handle_need(now, &mut self.prng);
    }

    /// A backend refused a connection, or broke one.
    pub fn handle_broken(&mut self, id: BackendId, now: Instant) {
        if let Some(backend) = self.backends.get_mut(id.0 as usize) {
            backend.health.handle_broken(now, &self.options, &mut self.prng);
        }
        self.refresh.handle_need(now, &mut self.prng);
    }

    /// When the next down backend may be probed.
    pub fn next_probe(&self) -> Option<Instant> {
        self.backends
            .iter()
            .filter(|backend| backend.current)
            .filter_map(|backend| backend.health.probe_at())
            .min()
    }

    /// A down backend whose probe is due; connect to it.
    pub fn poll_probe(&mut self, now: Instant) -> Option<BackendId> {
        let due =
            |backend: &Backend| backend.current && backend.health.probe_at().is_some_and(|at| at <= now);
        let index = self.backends.iter().position(due)?;
        self.backends[index].health.handle_probe_sent(now, &self.options, &mut self.prng);
        Some(BackendId(index as u32))
    }

    pub(super) fn usable(&self, id: BackendId) -> bool {
        self.backends.get(id.0 as usize).is_some_and(|backend| backend.health.state() != HealthState::Down)
    }
}

impl Backend {
    fn view(&self) -> BackendView<'_> {
        BackendView {
            address: &self.address,
            node: self.node.as_ref(),
            health: &self.health,
            current: self.current,
        }
    }
}
