//! Owns which node an entity belongs to: the directory. It routes and never
//! owns (a journal does), so that a stale one costs a redirect. Kept whole on
//! every node; called by whoever has something for an entity.
//!
//! An entry gives an entity to a node. A sector's entry gives it all that lies in
//! the sector, as far as no finer entry says otherwise: a sector belongs to its
//! **nearest assigned ancestor's** node. So a hot child is split off by adding
//! an entry, and merged by removing it; entities stay what they are. Numbered
//! entities (ledgers, markets, alliances, boards) without an entry go to one of
//! their kind's nodes by [rendezvous], a battle to its host's.
//! An entry that an operator made is pinned: whoever balances leaves it. It is one
//! like any other as soon as somebody assigns it anew.
//!
//! Invariant: all entries have one version; a [`Change`] names the one it saw and
//! leads to the next, here and in the store. What once had a node keeps having one.

mod change;
mod kind;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

pub use change::{Change, ChangeError, EDITS_MAX, Edit};
pub use kind::Kind;
pub use rows::{PINNED_SINCE, RowError, read_version};

use super::rendezvous;
use crate::base::{EntityKey, NodeId, SectorId};

/// The most entries of a directory: it is small, regions and exceptions.
pub const ENTRIES_MAX: usize = 65_536;
/// The most nodes that share a kind: so many fit into a value of the store.
pub const NODES_MAX: usize = 4096;

/// Which entity belongs to which node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// 0 before the first change.
    version: u64,
    /// By scale, then by Morton code: few scales have entries, and a look-up
    /// visits only those. No scale is empty.
    regions: BTreeMap<u8, BTreeMap<u128, NodeId>>,
    /// Of `regions` those that an operator gave to their node.
    pinned: BTreeSet<SectorId>,
    /// Of numbered entities; no sectors, no battles.
    exceptions: BTreeMap<EntityKey, NodeId>,
    /// Sorted, without doubles, not empty.
    kinds: BTreeMap<Kind, Vec<NodeId>>,
    /// Nodes that are to be left.
    draining: BTreeSet<NodeId>,
}

impl Directory {
    /// Of its last change, 0 before the first.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The node that `entity` belongs to; `None` where nothing says so, which
    /// is before the galaxy's first entry only.
    pub fn node_of(&self, entity: EntityKey) -> Option<NodeId> {
        let by_kind = |kind: Kind, number| {
            let exception = self.exceptions.get(&entity).copied();
            exception.or_else(|| rendezvous::choose(kind as u8, number, self.nodes_of(kind)))
        };
        match entity {
            EntityKey::Sector(sector) => self.region_of(sector).map(|(_, node)| node),
            EntityKey::Battle { host, .. } => self.region_of(host).map(|(_, node)| node),
            EntityKey::Ledger(n) => by_kind(Kind::Ledger, n),
            EntityKey::Market(n) => by_kind(Kind::Market, n),
            EntityKey::Alliance(n) => by_kind(Kind::Alliance, n),
            EntityKey::Board(n) => by_kind(Kind::Board, n),
        }
    }

    /// The one entry that `sector` is under, and its node: of those of itself
    /// and its ancestors the finest. As many look-ups as scales have entries.
    pub fn region_of(&self, sector: SectorId) -> Option<(SectorId, NodeId)> {
        self.regions.range(sector.scale..).find_map(|(scale, entries)| {
            let region = sector.ancestor(*scale)?;
            Some((region, *entries.get(&region.morton())?))
        })
    }

    /// The node in `entity`'s own entry.
    pub fn entry(&self, entity: EntityKey) -> Option<NodeId> {
        match entity {
            EntityKey::Sector(sector) => {
                self.regions.get(&sector.scale)?.get(&sector.morton()).copied()
            }
            _ => self.exceptions.get(&entity).copied(),
        }
    }

    /// Whether an operator gave `region` to the node of its entry.
    pub fn is_pinned(&self, region: SectorId) -> bool {
        self.pinned.contains(&region)
    }

    /// All entries that operators made, and their nodes.
    pub fn pins(&self) -> impl Iterator<Item = (SectorId, NodeId)> {
        let entry = |region: &SectorId| {
            let node = self.entry(EntityKey::Sector(*region))?;
            Some((*region, node))
        };
        self.pinned.iter().filter_map(entry)
    }

    /// All entries of sectors, in the order of their keys: finer ones first.
    pub fn regions(&self) -> impl Iterator<Item = (SectorId, NodeId)> {
        self.regions.iter().flat_map(|(scale, entries)| {
            let sector = |code| SectorId::from_morton(*scale, code);
            entries.iter().map(move |(code, node)| (sector(*code), *node))
        })
    }

    /// All entries, in the order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = (EntityKey, NodeId)> {
        let regions = self.regions().map(|(sector, node)| (EntityKey::Sector(sector), node));
        regions.chain(self.exceptions.iter().map(|(entity, node)| (*entity, *node)))
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.regions.values().map(BTreeMap::len).sum::<usize>() + self.exceptions.len()
    }

    /// The nodes that share the entities of `kind`, ascending.
    pub fn nodes_of(&self, kind: Kind) -> &[NodeId] {
        self.kinds.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// Whether an operator wants this node to be left: whoever plans gives it
    /// nothing, and takes what it has.
    pub fn is_draining(&self, node: NodeId) -> bool {
        self.draining.contains(&node)
    }

    fn drain(&mut self, node: NodeId, on: bool) {
        match on {
            true => self.draining.insert(node),
            false => self.draining.remove(&node),
        };
    }

    fn put(&mut self, entity: EntityKey, node: NodeId) {
        match entity {
            EntityKey::Sector(sector) => {
                self.pinned.remove(&sector);
                self.regions.entry(sector.scale).or_default().insert(sector.morton(), node);
            }
            _ => drop(self.exceptions.insert(entity, node)),
        }
    }

    fn pin(&mut self, region: SectorId, node: NodeId) {
        self.put(EntityKey::Sector(region), node);
        self.pinned.insert(region);
    }

    /// Whether there was one.
    fn remove(&mut self, entity: EntityKey) -> bool {
        let EntityKey::Sector(sector) = entity else {
            return self.exceptions.remove(&entity).is_some();
        };
        self.pinned.remove(&sector);
        let Some(entries) = self.regions.get_mut(&sector.scale) else { return false };
        let was = entries.remove(&sector.morton()).is_some();
        if entries.is_empty() {
            self.regions.remove(&sector.scale);
        }
        was
    }

    fn share(&mut self, kind: Kind, nodes: &[NodeId]) {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        nodes.dedup();
        self.kinds.insert(kind, nodes);
    }
}

#[cfg(test)]
mod tests;
