//! Owns what nodes said of their load, and the [`ClusterLoad`] that it makes. Never
//! measures, sends or plans. Filled by the links, read by the node that plans.
//! Soft state: what is lost is said again a second later. Invariants: of a node
//! that ended nothing counts, however lately it came; of a sector that two nodes
//! tell one word counts; what is kept is bounded for each node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::load::{ClusterLoad, NodeLoad, RestLoad, SectorLoad};
use crate::base::{Incarnation, Millis, NodeId, SectorId};
use crate::cluster::core::map::Map;
use crate::cluster::core::roles::Role;
use crate::cluster::core::update::TimestampedUpdate;

/// What was heard longer ago counts as not told.
pub const STALE_MS: u64 = 5_000;
/// Sectors that a node tells one by one, and those that its players look at.
pub const SECTORS_TOLD_MAX: usize = 2_048;
/// A thousand threads; sums of what nodes tell stay far from the largest number.
const COST_TOLD_MAX_US: u64 = 100_000_000;
/// Nodes to which a node tells its distance.
const ROUND_TRIPS_MAX: usize = 1_024;

/// What a node says of itself, once a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTold {
    /// The version of the directory that it knows.
    pub directory: u64,
    /// Entities that run there and are on their way to other nodes.
    pub leaving: u64,
    /// Its threads for sectors, without those that wait for single ones.
    pub capacity: u32,
    /// Microseconds of each tick for which those threads work for anything else.
    pub other_us: u32,
    /// Its sectors that are awake, the costliest first; whom they are looked at
    /// by is left out.
    pub sectors: Vec<SectorLoad>,
    /// Those for which there was no room.
    pub rest: RestLoad,
    /// Sectors, of whatever node, that players of its gateway look at, and how
    /// many do.
    pub observed: Vec<(SectorId, u32)>,
    /// Microseconds to and from the nodes to which it has a link.
    pub round_trips: Vec<(NodeId, u32)>,
}

/// What was heard last of a node.
#[derive(Clone, Debug)]
struct Word {
    incarnation: Incarnation,
    /// By the clock of this node.
    heard: Millis,
    update: TimestampedUpdate<NodeTold>,
}

/// What all nodes said.
#[derive(Clone, Debug, Default)]
pub struct Told {
    nodes: BTreeMap<NodeId, Word>,
}

impl NodeTold {
    /// Keeps what it may tell: of more sectors the first, the others as sums.
    #[must_use]
    pub fn bounded(mut self) -> NodeTold {
        if self.sectors.len() > SECTORS_TOLD_MAX {
            let more = self.sectors.split_off(SECTORS_TOLD_MAX);
            self.rest = self.rest.plus(RestLoad::of(&more));
        }
        self.rest.cost_us = self.rest.cost_us.min(COST_TOLD_MAX_US);
        self.observed.truncate(SECTORS_TOLD_MAX);
        self.round_trips.truncate(ROUND_TRIPS_MAX);
        self
    }
}

impl Told {
    /// An incarnation of a node says something, which is heard at `now`.
    pub fn note(
        &mut self,
        incarnation: Incarnation,
        update: TimestampedUpdate<NodeTold>,
        now: Millis,
    ) {
        let node = update.server_id;
        let is_old = self.nodes.get(&node).is_some_and(|word| {
            word.incarnation > incarnation
                || word.incarnation == incarnation && !update.counts_before(&word.update)
        });
        if !is_old {
            let update = TimestampedUpdate { data: update.data.bounded(), ..update };
            self.nodes.insert(node, Word { incarnation, heard: now, update });
        }
    }

    /// Forgets who is not among the nodes any more, or said nothing for long.
    pub fn tidy(&mut self, now: Millis) {
        self.nodes.retain(|_, word| now.since(word.heard) < STALE_MS);
    }

    /// Living nodes of which nothing counts.
    pub fn silent(&self, map: &Map, now: Millis) -> Vec<NodeId> {
        let living = map.nodes.keys().copied().filter(|node| map.lives(*node));
        living.filter(|node| self.word(map, *node, now).is_none()).collect()
    }

    /// Whether nothing is on its way from one node to another, as far as those
    /// say that say something: what is told twice, or by nobody, is on its way.
    pub fn is_settled(&self, map: &Map, now: Millis) -> bool {
        let words = map.nodes.keys().filter_map(|node| self.word(map, *node, now));
        words
            .map(|word| &word.update.data)
            .all(|told| told.leaving == 0 && told.directory >= map.directory.version())
    }

    /// The load of all nodes.
    pub fn load(&self, map: &Map, now: Millis) -> ClusterLoad {
        let nodes = map.nodes.keys().map(|node| self.node_load(map, *node, now)).collect();
        let words: Vec<&Word> =
            map.nodes.keys().filter_map(|node| self.word(map, *node, now)).collect();
        let mut sectors: BTreeMap<SectorId, (&Word, SectorLoad)> = BTreeMap::new();
        for word in &words {
            for load in &word.update.data.sectors {
                let before = sectors.get(&load.sector);
                if before.is_none_or(|(before, _)| word.update.counts_before(&before.update)) {
                    let load = SectorLoad { gateways: Vec::new(), ..load.clone() };
                    sectors.insert(load.sector, (word, load));
                }
            }
        }
        for word in words {
            for (sector, players) in &word.update.data.observed {
                if let Some((_, load)) = sectors.get_mut(sector) {
                    load.gateways.push((word.update.server_id, *players));
                }
            }
        }
        let sectors = sectors.into_values().map(|(_, load)| with_observers(load));
        let is_owned = |load: &SectorLoad| map.directory.region_of(load.sector).is_some();
        ClusterLoad { now, nodes, sectors: sectors.filter(is_owned).collect() }
    }

    fn node_load(&self, map: &Map, node: NodeId, now: Millis) -> NodeLoad {
        let told = self.word(map, node, now).map(|word| &word.update.data);
        let capacity = told.map_or(1, |told| told.capacity.max(1));
        NodeLoad {
            other_us: told.map_or(0, |told| told.other_us),
            alive: map.lives(node),
            draining: map.directory.is_draining(node),
            sectors: map.has(node, Role::Sector),
            meta: map.has(node, Role::Meta),
            told: told.is_some(),
            rest: told.map(|told| told.rest).unwrap_or_default(),
            round_trips: told.map(|told| told.round_trips.clone()).unwrap_or_default(),
            ..NodeLoad::new(node, capacity)
        }
    }

    /// What counts of `node`: of the incarnation that runs, and heard lately.
    fn word(&self, map: &Map, node: NodeId, now: Millis) -> Option<&Word> {
        let standing = map.nodes.get(&node).filter(|standing| standing.lives)?;
        let word = self.nodes.get(&node)?;
        let counts = word.incarnation >= standing.incarnation && now.since(word.heard) < STALE_MS;
        counts.then_some(word)
    }
}

/// Players with units in it, or looking at it: most do both, and who they are
/// nobody tells, so the larger number counts.
fn with_observers(load: SectorLoad) -> SectorLoad {
    let observers: u64 = load.gateways.iter().map(|(_, players)| u64::from(*players)).sum();
    let players = load.players.max(u32::try_from(observers).unwrap_or(u32::MAX));
    SectorLoad { players, ..load }
}

#[cfg(test)]
mod tests;
