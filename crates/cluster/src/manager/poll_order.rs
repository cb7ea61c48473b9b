//! Which polls have been seen: each is taken once, and none after a newer one of the same life.
//!
//! A life numbers its polls in the high half of their nonces. The numbers are remembered beyond the life's end:
//! else a second copy of an old poll could be answered as if it were new, and a late poll of the dead would then
//! pass for the answer to a challenge.

use std::collections::{BTreeMap, VecDeque};

use proto::{Incarnation, NodeId, Nonce};

use crate::limits::{LIVES_REMEMBERED_MAX, NAMES_REMEMBERED_MAX};

/// The newest poll of each life of each name.
#[derive(Debug, Default)]
pub(super) struct PollOrder {
    names: BTreeMap<NodeId, VecDeque<(Incarnation, Nonce)>>,
}

impl PollOrder {
    /// False if this poll, or a newer one of the same life, was taken before.
    pub(super) fn take(&mut self, node: &NodeId, life: Incarnation, nonce: Nonce) -> bool {
        if self.names.len() >= NAMES_REMEMBERED_MAX && !self.names.contains_key(node) {
            self.names.pop_first();
        }
        let lives = self.names.entry(node.clone()).or_default();
        if let Some((_, newest)) = lives.iter_mut().find(|(known, _)| *known == life) {
            let is_newer = nonce > *newest;
            *newest = nonce.max(*newest);
            return is_newer;
        }
        if lives.len() >= LIVES_REMEMBERED_MAX {
            lives.pop_front();
        }
        lives.push_back((life, nonce));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_taken_once_and_in_order() {
        let mut order = PollOrder::default();
        let node: NodeId = "n1".parse().expect("a legal name");
        assert!(order.take(&node, Incarnation(1), Nonce(5)));
        assert!(!order.take(&node, Incarnation(1), Nonce(5)));
        assert!(order.take(&node, Incarnation(2), Nonce(1)));
        assert!(!order.take(&node, Incarnation(1), Nonce(4)), "also when another life has polled");
        assert!(order.take(&node, Incarnation(1), Nonce(6)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut order = PollOrder::default();
        let node: NodeId = "n1".parse().expect("a legal name");
        for life in 0..LIVES_REMEMBERED_MAX as u64 + 5 {
            assert!(order.take(&node, Incarnation(life), Nonce(1)));
        }
        assert_eq!(order.names[&node].len(), LIVES_REMEMBERED_MAX);
        for number in 0..NAMES_REMEMBERED_MAX + 5 {
            let node = format!("m{number}").parse().expect("a legal name");
            order.take(&node, Incarnation(1), Nonce(1));
        }
        assert_eq!(order.names.len(), NAMES_REMEMBERED_MAX);
    }
}
