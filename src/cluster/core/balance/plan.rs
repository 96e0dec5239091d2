//! Owns what balancing decides: moves, entries that go, and who shares the kinds.
//! Never carries it out. Invariant: a plan's change was made from the version
//! that the plan saw.

use crate::base::{EntityKey, NodeId, SectorId};
use crate::cluster::core::directory::{Change, Edit, Kind};

/// What should change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The version of the directory that it was made from.
    pub seen: u64,
    pub moves: Vec<Move>,
    /// Entries that go although no sector that is awake changes its node.
    pub merged: Vec<SectorId>,
    /// Numbered entities whose own entry goes.
    pub released: Vec<EntityKey>,
    /// Who shares these kinds from now on.
    pub shares: Vec<(Kind, Vec<NodeId>)>,
    /// Entries that stay as they are and are an operator's no more.
    pub unpinned: Vec<(SectorId, NodeId)>,
}

/// A part of the map that changes its node: all that lies in `region` and is
/// under no finer entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub region: SectorId,
    pub from: NodeId,
    pub to: NodeId,
    /// Of its sectors that are awake: how many, and their weight.
    pub sectors: usize,
    pub weight: u64,
    pub why: Why,
}

/// Why something moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its node is dead. Nobody hands over.
    Dead,
    Draining,
    /// It is hot, and its node has more than the mean.
    Hot,
    /// Its node has more than the mean, or another has less.
    Load,
    /// Its players are nearer there.
    Nearer,
    /// Nothing happens there: back to the node of the entry above.
    Cold,
}

impl Why {
    pub fn name(self) -> &'static str {
        match self {
            Why::Dead => "dead",
            Why::Draining => "draining",
            Why::Hot => "hot",
            Why::Load => "load",
            Why::Nearer => "nearer",
            Why::Cold => "cold",
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        let Plan { seen: _, moves, merged, released, shares, unpinned } = self;
        moves.is_empty()
            && merged.is_empty()
            && released.is_empty()
            && shares.is_empty()
            && unpinned.is_empty()
    }

    /// The directory after all of it, as one change. Whoever moves sectors one
    /// by one makes smaller ones.
    pub fn change(&self) -> Change {
        let assign = |m: &Move| Edit::Assign { entity: EntityKey::Sector(m.region), node: m.to };
        let merge = |region: &SectorId| Edit::Unassign { entity: EntityKey::Sector(*region) };
        let release = |entity: &EntityKey| Edit::Unassign { entity: *entity };
        let share =
            |(kind, nodes): &(Kind, Vec<NodeId>)| Edit::Share { kind: *kind, nodes: nodes.clone() };
        let shares = self.shares.iter().map(share);
        let edits = self.moves.iter().map(assign).chain(self.merged.iter().map(merge));
        let unpin = |(region, node): &(SectorId, NodeId)| Edit::Assign {
            entity: EntityKey::Sector(*region),
            node: *node,
        };
        let edits = shares.chain(edits).chain(self.released.iter().map(release));
        let edits = edits.chain(self.unpinned.iter().map(unpin)).collect();
        Change { seen: self.seen, edits }
    }
}
