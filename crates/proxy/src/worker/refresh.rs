//! Keeping the map new: asked of any node, of the manager when no node answers.

use net::Io;
use proto::reply::ReplyKind;
use proto::request::encode::put_map_request;
use route::{BackendId, HealthState};
use stdx::Instant;

use super::Worker;
use crate::control::Ask;
use crate::counters::count;
use crate::link::{Asker, LinkState, Who};

impl Worker {
    /// When to ask for the map.
    pub(super) fn refresh_due(&self) -> Option<Instant> {
        if self.router.is_managed() { self.router.refresh.due() } else { None }
    }

    /// Asks for the map if it is time: the next node in turn whose link is ready, else the manager.
    pub(super) fn refresh_map(&mut self, io: &mut Io, now: Instant) {
        if self.refresh_due().is_none_or(|due| due > now) {
            return;
        }
        self.router.refresh.handle_asked(now);
        let usable = |view: &route::BackendView<'_>| view.current && view.health.state() != HealthState::Down;
        let nodes: Vec<BackendId> =
            self.router.backends().filter(|(_, view)| usable(view)).map(|(id, _)| id).collect();
        for _ in 0..nodes.len() {
            self.map_turn = self.map_turn.wrapping_add(1);
            if self.ask_node(io, nodes[self.map_turn % nodes.len()], now) {
                return;
            }
        }
        if self
            .control
            .try_send(Ask::Map { worker: self.number, version: self.router.map_version() })
            .is_err()
        {
            self.router.fail_refresh(now);
        }
    }

    /// False when the link is not ready; it is opened, so that it will be.
    fn ask_node(&mut self, io: &mut Io, id: BackendId, now: Instant) -> bool {
        self.open_link(io, id, now);
        let until = now + self.router.options().timeout;
        let version = self.router.map_version();
        let Some(link) = self.links.get_mut(id.0 as usize).filter(|link| link.state == LinkState::Ready)
        else {
            return false;
        };
        let Some(out) = link.conn.and_then(|conn| io.output(conn)) else { return false };
        if link.pipeline.push(ReplyKind::Map, Asker { who: Who::Map, until }).is_err() {
            return false;
        }
        put_map_request(out, version);
        true
    }

    /// A node or the manager answered about the map.
    pub(super) fn take_map(&mut self, io: &mut Io, text: &[u8], now: Instant) {
        match self.router.apply_map(text, now) {
            Ok(change) if change.newer => {
                self.shared.set_cluster(self.router.cluster());
                count(&self.counters.maps);
                self.resume_parked(io, now, true);
            }
            Ok(_) => {}
            Err(error) => {
                self.shared.log(format_args!("a map was refused: {error}"));
                self.router.fail_refresh(now);
            }
        }
    }
}
