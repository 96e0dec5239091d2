//! Owns which nodes share ledgers, markets, alliances and boards: all that have
//! the role meta, live and are not draining. Invariant: while nobody has that
//! role, who shares stays as it is.

use super::planner::Planner;
use crate::base::NodeId;
use crate::cluster::core::directory::{EDITS_MAX, Kind, NODES_MAX};

impl Planner<'_> {
    pub(super) fn share(&mut self) {
        let nodes = self.load.nodes.iter();
        let nodes = nodes.filter(|node| node.meta && node.alive && !node.draining);
        let mut nodes: Vec<NodeId> = nodes.map(|node| node.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.truncate(NODES_MAX);
        if nodes.is_empty() {
            return;
        }
        for kind in Kind::NUMBERED {
            if self.directory.nodes_of(kind) != nodes {
                self.plan.shares.push((kind, nodes.clone()));
            }
        }
        let edits = self.plan.change().edits.len();
        let gone = |node: NodeId| nodes.binary_search(&node).is_err();
        let entries = self.directory.entries().filter(|(_, node)| gone(*node));
        let numbered = entries.filter(|(entity, _)| Kind::of(*entity).is_some());
        let released = numbered.map(|(entity, _)| entity);
        self.plan.released = released.take(EDITS_MAX.saturating_sub(edits)).collect();
    }
}
