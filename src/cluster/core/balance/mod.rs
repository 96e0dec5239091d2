//! Owns where sectors should be: a pure function from the directory and the load
//! of the cluster to a bounded [`Plan`]. Never moves anything, keeps nothing from
//! one plan to the next, reads no clock. Called by the node that plans, the one
//! of role coordinator with the smallest id; a second one is harmless, because a
//! plan names the version of the directory that it saw.
//!
//! A plan moves parts of the map: it gives an entry to another node, or adds one
//! for a square inside it. In this order, until the plan is full:
//!
//! 1. what dead nodes had goes to living ones, what draining ones have to others;
//! 2. a hot sector that has a thread of its own goes to the quietest node;
//! 3. a node above the mean gives, one below it takes;
//! 4. by [`LoadBalanceStrategy::Geographic`], sectors go nearer to their players;
//! 5. cold entries go back to the node of the entry above, and entries that say
//!    the same as the one above are removed.
//!
//! What keeps a sector from going to and fro: 3 begins at `high` thousandths off
//! the mean and ends at `low`; each of its moves takes less from where more is
//! and leaves both nodes nearer to each other, so under a constant load there is
//! a last one. 4 and 5 keep both nodes within `low`, so they never cause 3. Only
//! death and draining move what came less than `rest_ms` ago.
//!
//! Invariant: a plan's moves lead to living nodes that are not draining, are no
//! more than [`Settings`] allow, and together are one [`Change`].
//!
//! [`Change`]: super::directory::Change

mod cold;
mod domains;
mod evacuate;
mod load;
mod nearer;
mod plan;
mod planner;
mod relieve;
mod rounds;
mod settings;
mod shares;
mod sheet;
mod told;

pub use load::{ClusterLoad, NodeLoad, RestLoad, SectorLoad};
pub use plan::{Move, Plan, Why};
pub use rounds::Rounds;
pub use settings::{LoadBalanceStrategy, Settings};
pub use told::{NodeTold, SECTORS_TOLD_MAX, STALE_MS, Told};

use super::directory::Directory;
use super::map::Map;
use super::roles::Role;
use crate::base::NodeId;
use planner::Planner;

/// The node that plans: of those that live, and have the role coordinator if one
/// has, the one with the smallest id. While
/// nodes differ about who lives two may; their plans name what they saw.
pub fn planner_of(map: &Map) -> Option<NodeId> {
    let living = || map.nodes.keys().copied().filter(|node| map.lives(*node));
    living().find(|node| map.has(*node, Role::Coordinator)).or_else(|| living().next())
}

/// What should change. An empty plan where all is well.
pub fn plan(directory: &Directory, load: &ClusterLoad, settings: &Settings) -> Plan {
    let mut planner = Planner::new(directory, load, settings);
    planner.evacuate();
    planner.share();
    if load.nodes.iter().all(|node| node.told || !node.alive) {
        planner.isolate();
        planner.relieve();
        planner.fill();
        planner.bring_nearer();
        planner.return_cold();
        planner.merge();
    }
    planner.finish()
}

/// What each node that may have sectors carries by a strategy, and what would be
/// its part of all.
pub fn carried(
    directory: &Directory,
    load: &ClusterLoad,
    settings: &Settings,
) -> Vec<(NodeId, Carried)> {
    let planner = Planner::new(directory, load, settings);
    let of = |node| Carried { load: planner.sheet.load(node), part: planner.sheet.at(node, 1000) };
    planner.sheet.accepting().map(|node| (planner.sheet.id(node), of(node))).collect()
}

/// What a node carries, and what would be its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    pub load: u64,
    pub part: u64,
}

#[cfg(test)]
mod tests;
