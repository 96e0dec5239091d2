//! Owns what an operator's wish means for the directory: a pure function from
//! the cluster as it is known to the edits of one change, or why not. Never
//! commits and moves nothing. Invariant: no edit gives anything to a node that
//! is dead or draining, and none at all means that all is so already.

use crate::base::{EntityKey, NodeId, SectorId};
use crate::cluster::core::directory::{Directory, Edit, PINNED_SINCE};
use crate::cluster::core::map::Map;
use crate::cluster::core::roles::Role;

/// With these roles a node has something that would have to go elsewhere.
const RUNNING: [Role; 2] = [Role::Sector, Role::Meta];

/// Why a wish is not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no node {node}; expected one of {known}")]
    NoNode { node: NodeId, known: Numbers },
    #[error("node {node} does not live; expected one of {living}")]
    Dead { node: NodeId, living: Numbers },
    #[error("node {node} is to be left (drained); expected one of {open}, or undrain it first")]
    Draining { node: NodeId, open: Numbers },
    #[error("node {node} has not the role {role}; expected one of {open}")]
    NoRole { node: NodeId, role: Role, open: Numbers },
    #[error(
        "node {node} is the last with the role {role} that lives and is not drained; expected \
         another one to be there"
    )]
    Last { node: NodeId, role: Role },
    #[error("sector {0} belongs to nobody yet; expected the cluster's first directory to be there")]
    Nobody(SectorId),
    #[error("sector {0} is of scale 0 and has no parts; expected a scale from 1 on")]
    Smallest(SectorId),
    #[error("{0} is not parked; expected one that `starmesh admin parked` shows")]
    NotParked(EntityKey),
    #[error("sector {0} is split already: each of its parts has an entry")]
    Split(SectorId),
    #[error(
        "sector {0} has no finer entries; expected one that was split, or parts of it migrated"
    )]
    Whole(SectorId),
    #[error(
        "merging {sector} would move {parts} of its parts to node {to}, the first is {first} of \
         node {from}; expected parts of one node, or leave to move them"
    )]
    WouldMove { sector: SectorId, to: NodeId, parts: usize, first: SectorId, from: NodeId },
}

/// Numbers of nodes, for people; the first few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(Vec<NodeId>);

impl Numbers {
    const SHOWN: usize = 16;
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<_> = self.0.iter().take(Self::SHOWN).map(ToString::to_string).collect();
        let more = if self.0.len() > Self::SHOWN { ", …" } else { "" };
        write!(f, "{}{more}", shown.join(", "))
    }
}

/// `sector`, and what is in it under no finer entry, goes to node `to`; where the
/// cluster's `format` has that, to stay there. One that is there with all around it
/// is left so.
///
/// # Errors
/// When the node cannot have it.
pub fn migrate(map: &Map, sector: SectorId, to: NodeId, format: u16) -> Result<Vec<Edit>, Refusal> {
    takes(map, to)?;
    let (region, node) = map.directory.region_of(sector).ok_or(Refusal::Nobody(sector))?;
    let pins = format >= PINNED_SINCE;
    let is_pinned = region == sector && map.directory.is_pinned(sector);
    let is_so = node == to && (region != sector || is_pinned || !pins);
    let edit = if pins { Edit::Pin { sector, node: to } } else { assign(sector, to) };
    Ok((!is_so).then_some(edit).into_iter().collect())
}

/// Node `node` is to be left, or may have something again.
///
/// # Errors
/// When there is no such node, or nobody would be left to take what it has.
pub fn drain(map: &Map, node: NodeId, on: bool) -> Result<Vec<Edit>, Refusal> {
    if !map.nodes.contains_key(&node) {
        return Err(Refusal::NoNode { node, known: numbers(map, |_| true) });
    }
    if map.directory.is_draining(node) == on {
        return Ok(Vec::new());
    }
    let others = map.nodes.keys().filter(|other| **other != node && is_open(map, **other));
    let others: Vec<NodeId> = others.copied().collect();
    let is_last = |role: &Role| !others.iter().any(|other| map.has(*other, *role));
    let mut roles = map.roles(node).iter().filter(|role| RUNNING.contains(role));
    if let Some(role) = roles.find(is_last).filter(|_| on) {
        return Err(Refusal::Last { node, role });
    }
    Ok(vec![Edit::Drain { node, on }])
}

/// The parts of `sector` get entries of their own, where they are.
///
/// # Errors
/// When it has none, or all have one.
pub fn split(
    map: &Map,
    sector: SectorId,
    exists: impl Fn(SectorId) -> bool,
) -> Result<Vec<Edit>, Refusal> {
    if sector.scale == 0 {
        return Err(Refusal::Smallest(sector));
    }
    let (_, node) = map.directory.region_of(sector).ok_or(Refusal::Nobody(sector))?;
    let has_none = |part: &SectorId| map.directory.entry(EntityKey::Sector(*part)).is_none();
    let parts = sector.children().filter(|part| exists(*part) && has_none(part));
    let edits: Vec<_> = parts.map(|part| assign(part, node)).collect();
    if edits.is_empty() { Err(Refusal::Split(sector)) } else { Ok(edits) }
}

/// All finer entries in `sector` go; with `may_move`, also those of other nodes.
///
/// # Errors
/// When there are none, or something would move that may not.
pub fn merge(map: &Map, sector: SectorId, may_move: bool) -> Result<Vec<Edit>, Refusal> {
    let (_, to) = map.directory.region_of(sector).ok_or(Refusal::Nobody(sector))?;
    let finer: Vec<_> = finer(&map.directory, sector).collect();
    let moved: Vec<_> = finer.iter().filter(|(_, node)| *node != to).collect();
    match moved.first() {
        _ if finer.is_empty() => return Err(Refusal::Whole(sector)),
        Some((first, from)) if !may_move => {
            let (parts, first, from) = (moved.len(), *first, *from);
            return Err(Refusal::WouldMove { sector, to, parts, first, from });
        }
        Some(_) => takes(map, to)?,
        None => {}
    }
    let unassign = |(part, _)| Edit::Unassign { entity: EntityKey::Sector(part) };
    Ok(finer.into_iter().map(unassign).collect())
}

/// Entries inside of `sector`.
pub fn finer(directory: &Directory, sector: SectorId) -> impl Iterator<Item = (SectorId, NodeId)> {
    directory.regions().filter(move |(part, _)| *part != sector && sector.contains(*part))
}

fn assign(sector: SectorId, node: NodeId) -> Edit {
    Edit::Assign { entity: EntityKey::Sector(sector), node }
}

/// Whether `node` may be given a sector.
fn takes(map: &Map, node: NodeId) -> Result<(), Refusal> {
    if !map.nodes.contains_key(&node) {
        return Err(Refusal::NoNode { node, known: numbers(map, |_| true) });
    }
    if !map.lives(node) {
        return Err(Refusal::Dead { node, living: numbers(map, |node| map.lives(node)) });
    }
    if map.directory.is_draining(node) {
        return Err(Refusal::Draining {
            node,
            open: numbers(map, |node| takes_sectors(map, node)),
        });
    }
    if !map.has(node, Role::Sector) {
        let open = numbers(map, |node| takes_sectors(map, node));
        return Err(Refusal::NoRole { node, role: Role::Sector, open });
    }
    Ok(())
}

fn takes_sectors(map: &Map, node: NodeId) -> bool {
    is_open(map, node) && map.has(node, Role::Sector)
}

fn is_open(map: &Map, node: NodeId) -> bool {
    map.lives(node) && !map.directory.is_draining(node)
}

fn numbers(map: &Map, which: impl Fn(NodeId) -> bool) -> Numbers {
    Numbers(map.nodes.keys().copied().filter(|node| which(*node)).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::base::Incarnation;
    use crate::cluster::core::directory::Change;
    use crate::cluster::core::map::Standing;

    const ROOT: SectorId = SectorId { x: 0, y: 0, scale: 4 };
    const PART: SectorId = SectorId { x: 1, y: 0, scale: 3 };

    /// Node 1 has all, 2 lives, 3 drains, 4 is dead.
    fn map() -> Map {
        let standing = |lives| Standing { incarnation: Incarnation(1), lives };
        let nodes = (1..=4).map(|n| (NodeId(n), standing(n != 4))).collect();
        let roles = BTreeMap::new();
        let mut map = Map { directory: Arc::default(), nodes, roles };
        commit(&mut map, vec![assign(ROOT, NodeId(1)), Edit::Drain { node: NodeId(3), on: true }]);
        map
    }

    fn commit(map: &mut Map, edits: Vec<Edit>) {
        let change = Change { seen: map.directory.version(), edits };
        map.directory = Arc::new(map.directory.applied(&change).expect("a legal change"));
    }

    fn at(map: &Map, sector: SectorId) -> Option<NodeId> {
        map.directory.node_of(EntityKey::Sector(sector))
    }

    #[test]
    fn only_a_living_node_that_is_not_drained_is_given_anything() {
        let mut map = map();
        for node in [9, 4, 3] {
            let refused = migrate(&map, PART, NodeId(node), PINNED_SINCE);
            let refused = refused.expect_err("refused").to_string();
            assert!(refused.contains(&format!("node {node}")), "{refused}");
            assert!(refused.contains("expected one of 1, 2"), "{refused}");
        }
        assert_eq!(migrate(&map, PART, NodeId(1), PINNED_SINCE), Ok(vec![]), "it is there");
        let edits = migrate(&map, PART, NodeId(2), PINNED_SINCE).expect("node 2 takes it");
        commit(&mut map, edits);
        assert_eq!((at(&map, PART), at(&map, ROOT)), (Some(NodeId(2)), Some(NodeId(1))));
    }

    #[test]
    fn what_an_operator_gives_is_pinned_where_all_nodes_can_read_that() {
        let mut map = map();
        let edits = migrate(&map, PART, NodeId(2), PINNED_SINCE - 1).expect("node 2 takes it");
        assert_eq!(edits, [assign(PART, NodeId(2))]);
        commit(&mut map, edits);
        assert!(!map.directory.is_pinned(PART));
        // It is there, and from now on it stays.
        let edits = migrate(&map, PART, NodeId(2), PINNED_SINCE).expect("it may stay");
        commit(&mut map, edits);
        assert!(map.directory.is_pinned(PART));
        assert_eq!(migrate(&map, PART, NodeId(2), PINNED_SINCE), Ok(vec![]), "it is so");
        commit(&mut map, vec![assign(PART, NodeId(1))]);
        assert!(!map.directory.is_pinned(PART), "somebody assigned it anew");
    }

    #[test]
    fn a_sector_that_was_split_is_where_it_was_and_merged_is_one_entry_again() {
        let mut map = map();
        let exists = |part: SectorId| part.x == 0;
        let edits = split(&map, ROOT, exists).expect("it has parts");
        assert_eq!(edits.len(), 2, "those that exist");
        commit(&mut map, edits);
        assert_eq!(at(&map, SectorId { x: 0, y: 1, scale: 3 }), Some(NodeId(1)));
        assert_eq!(split(&map, ROOT, exists), Err(Refusal::Split(ROOT)));
        let edits = merge(&map, ROOT, false).expect("nothing moves");
        commit(&mut map, edits);
        assert_eq!(map.directory.count(), 1);
        assert_eq!(merge(&map, ROOT, false), Err(Refusal::Whole(ROOT)));
        let least = SectorId::tactical(0, 0);
        assert_eq!(split(&map, least, exists), Err(Refusal::Smallest(least)));
    }

    #[test]
    fn a_merge_that_moves_something_says_what_and_wants_leave() {
        let mut map = map();
        let edits = migrate(&map, PART, NodeId(2), PINNED_SINCE).expect("node 2 takes it");
        commit(&mut map, edits);
        let (to, from) = (NodeId(1), NodeId(2));
        let refused = Refusal::WouldMove { sector: ROOT, to, parts: 1, first: PART, from };
        assert_eq!(merge(&map, ROOT, false), Err(refused));
        let edits = merge(&map, ROOT, true).expect("with leave");
        commit(&mut map, edits);
        assert_eq!(at(&map, PART), Some(to));
    }

    #[test]
    fn the_last_node_cannot_be_drained() {
        let mut map = map();
        assert!(matches!(drain(&map, NodeId(9), true), Err(Refusal::NoNode { .. })));
        assert_eq!(drain(&map, NodeId(3), true), Ok(vec![]), "it is");
        let edits = drain(&map, NodeId(2), true).expect("node 1 is left");
        commit(&mut map, edits);
        assert_eq!(
            drain(&map, NodeId(1), true),
            Err(Refusal::Last { node: NodeId(1), role: Role::Sector })
        );
        assert_eq!(drain(&map, NodeId(2), false).map(|edits| edits.len()), Ok(1));
    }
}
