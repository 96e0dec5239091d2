//! Owns which part of the galaxy a node gets when it comes, and who gets the
//! parts of one that died: a pure function from the directory and the nodes that
//! live and may take something to a change of the directory. Never weighs load.
//! Called by the planner's [core](super::node) at every reading.
//!
//! The galaxy is divided into a hundred regions or so, and each prefers the
//! nodes in an order of its own ([rendezvous]). A newcomer
//! gets those that prefer it to all others that live, about its share; of a node
//! that died each goes to the one that it prefers of the rest. Invariant: nothing
//! else moves, and where everybody who may has a share there is no change.

use super::directory::{Change, Directory, EDITS_MAX, Edit, Kind};
use super::rendezvous;
use crate::base::{EntityKey, NodeId, SectorId};
use crate::sim::Galaxy;

/// Regions along the galaxy's side: from so many to twice as many.
const REGIONS: u32 = 8;
/// What tells the choice of a region's node from that of a ledger's.
const REGION_KIND: u8 = 1;

/// Who may be given something: nodes that live, ascending.
#[derive(Clone, Debug, Default)]
pub struct Takers {
    /// With the role sector.
    pub sectors: Vec<NodeId>,
    /// With the role meta.
    pub meta: Vec<NodeId>,
}

/// What the directory should become with these takers; `None` when it is as it
/// should be. What nobody may take stays whose it is.
pub fn plan(directory: &Directory, takers: &Takers, galaxy: &Galaxy) -> Option<Change> {
    let mut edits = share_regions(directory, &takers.sectors, galaxy);
    edits.extend(share_numbered(directory, &takers.meta));
    edits.truncate(EDITS_MAX);
    (!edits.is_empty()).then(|| Change { seen: directory.version(), edits })
}

fn share_regions(directory: &Directory, takers: &[NodeId], galaxy: &Galaxy) -> Vec<Edit> {
    let Some(first) = takers.first().copied() else { return Vec::new() };
    let takes = |node: NodeId| takers.binary_search(&node).is_ok();
    let root = galaxy.root();
    let mut edits = Vec::new();
    let mut assign = |sector, node| {
        edits.push(Edit::Assign { entity: EntityKey::Sector(sector), node });
    };
    if !directory.region_of(root).is_some_and(|(_, node)| takes(node)) {
        assign(root, first);
    }
    // Who was there at the last plan has a share.
    let settled = directory.nodes_of(Kind::Sector);
    for region in regions(galaxy) {
        let Some(wanted) = choose(region, takers) else { continue };
        let entry = directory.region_of(region);
        // What an operator gave to somebody is not a newcomer's.
        let is_pinned = entry.is_some_and(|(at, _)| directory.is_pinned(at));
        let is_newcomer = !settled.contains(&wanted) && !is_pinned;
        if is_newcomer || !entry.is_some_and(|(_, node)| takes(node)) {
            assign(region, wanted);
        }
    }
    // What a plan split off besides.
    let finer = directory.regions().filter(|(sector, node)| {
        !takes(*node) && *sector != root && sector.scale != region_scale(galaxy)
    });
    finer.for_each(|(sector, _)| assign(sector, choose(sector, takers).unwrap_or(first)));
    edits.extend(share(directory, Kind::Sector, takers));
    edits
}

fn share_numbered(directory: &Directory, takers: &[NodeId]) -> Vec<Edit> {
    if takers.is_empty() {
        return Vec::new();
    }
    let takes = |node: NodeId| takers.binary_search(&node).is_ok();
    // Those that were put apart go back to all.
    let apart = directory.entries().filter(|(entity, node)| !is_sector(*entity) && !takes(*node));
    let apart = apart.map(|(entity, _)| Edit::Unassign { entity });
    let kinds = Kind::NUMBERED.into_iter();
    apart.chain(kinds.filter_map(|kind| share(directory, kind, takers))).collect()
}

/// That these nodes share a kind, where others do.
fn share(directory: &Directory, kind: Kind, nodes: &[NodeId]) -> Option<Edit> {
    let is_so = directory.nodes_of(kind) == nodes;
    (!is_so).then(|| Edit::Share { kind, nodes: nodes.to_vec() })
}

fn is_sector(entity: EntityKey) -> bool {
    matches!(entity, EntityKey::Sector(_))
}

/// The node of `nodes` that the region prefers.
fn choose(region: SectorId, nodes: &[NodeId]) -> Option<NodeId> {
    // Codes of regions of a galaxy fit many times over.
    let number = u64::try_from(region.morton() & u128::from(u64::MAX)).unwrap_or_default();
    rendezvous::choose(REGION_KIND, number, nodes)
}

/// The scale of the regions that are given away as wholes.
pub fn region_scale(galaxy: &Galaxy) -> u8 {
    // Of a side of at least `REGIONS`; a logarithm is below 32.
    u8::try_from((galaxy.side() / REGIONS).max(1).ilog2()).unwrap_or_default()
}

/// The regions that are given away as wholes.
fn regions(galaxy: &Galaxy) -> impl Iterator<Item = SectorId> {
    let scale = region_scale(galaxy);
    let across = i64::from(galaxy.side().div_ceil(1 << scale));
    (0..across).flat_map(move |y| (0..across).map(move |x| SectorId { x, y, scale }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn galaxy() -> Galaxy {
        Galaxy::new(1, Galaxy::SIDE).unwrap()
    }

    fn nodes(ids: &[u32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn takers(sectors: &[u32], meta: &[u32]) -> Takers {
        Takers { sectors: nodes(sectors), meta: nodes(meta) }
    }

    /// The directory when these live, and how many regions changed their node.
    fn next(directory: &Directory, living: &[u32]) -> (Directory, usize) {
        let galaxy = galaxy();
        let mut after = directory.clone();
        if let Some(change) = plan(directory, &takers(living, living), &galaxy) {
            after.apply(&change).unwrap();
        }
        assert_eq!(
            plan(&after, &takers(living, living), &galaxy),
            None,
            "it is as it should be now"
        );
        let node = |of: &Directory, region| of.node_of(EntityKey::Sector(region));
        let moved = regions(&galaxy).filter(|region| {
            node(directory, *region).is_some() && node(directory, *region) != node(&after, *region)
        });
        let moved = moved.count();
        (after, moved)
    }

    fn shares(directory: &Directory) -> BTreeMap<NodeId, usize> {
        let mut shares = BTreeMap::new();
        for region in regions(&galaxy()) {
            let node = directory.node_of(EntityKey::Sector(region)).unwrap();
            *shares.entry(node).or_default() += 1;
        }
        shares
    }

    #[test]
    fn the_first_node_gets_everything() {
        let (directory, _) = next(&Directory::default(), &[4]);
        assert_eq!(shares(&directory), BTreeMap::from([(NodeId(4), 100)]));
        assert_eq!(directory.node_of(EntityKey::Sector(galaxy().root())), Some(NodeId(4)));
        assert_eq!(directory.node_of(EntityKey::Ledger(3)), Some(NodeId(4)));
    }

    #[test]
    fn each_newcomer_gets_about_its_share_and_nothing_else_moves() {
        let (mut directory, _) = next(&Directory::default(), &[1]);
        for count in 2..=8 {
            let living: Vec<u32> = (1..=count).collect();
            let (after, moved) = next(&directory, &living);
            let shares = shares(&after);
            assert_eq!(moved, shares[&NodeId(count)], "only to the newcomer");
            let fair = 100 / count as usize;
            assert!((fair / 3..=fair * 2).contains(&moved), "{moved} regions of {count} nodes");
            directory = after;
        }
    }

    #[test]
    fn what_a_dead_node_had_is_divided_among_the_rest() {
        let (directory, _) = next(&Directory::default(), &[1, 2, 3, 4]);
        let had = shares(&directory)[&NodeId(3)];
        let (after, moved) = next(&directory, &[1, 2, 4]);
        assert_eq!(moved, had);
        assert!(!shares(&after).contains_key(&NodeId(3)));
        let (none, _) = next(&after, &[2, 4]);
        assert!(none.regions().all(|(_, node)| node != NodeId(1)));
        assert_eq!(none.nodes_of(Kind::Ledger), nodes(&[2, 4]));
    }

    #[test]
    fn what_was_split_off_is_not_left_with_a_dead_node() {
        let (mut directory, _) = next(&Directory::default(), &[1, 2]);
        let entity = EntityKey::Sector(SectorId::tactical(5000, 4999));
        let seen = directory.version();
        let change = Change { seen, edits: vec![Edit::Assign { entity, node: NodeId(2) }] };
        directory.apply(&change).unwrap();
        let (after, _) = next(&directory, &[1]);
        assert_eq!(after.node_of(entity), Some(NodeId(1)));
    }

    #[test]
    fn a_ledger_that_was_put_on_a_dead_node_goes_back_to_all() {
        let (mut directory, _) = next(&Directory::default(), &[1, 2]);
        let entity = EntityKey::Ledger(3);
        let seen = directory.version();
        let change = Change { seen, edits: vec![Edit::Assign { entity, node: NodeId(2) }] };
        directory.apply(&change).unwrap();
        let (after, _) = next(&directory, &[1]);
        assert_eq!((after.node_of(entity), after.entry(entity)), (Some(NodeId(1)), None));
    }

    #[test]
    fn a_node_from_which_everything_was_taken_is_left_alone() {
        let (mut directory, _) = next(&Directory::default(), &[1, 2]);
        let seen = directory.version();
        let of_two = directory.regions().filter(|(_, node)| *node == NodeId(2));
        let away =
            |(sector, _)| Edit::Assign { entity: EntityKey::Sector(sector), node: NodeId(1) };
        let edits = of_two.map(away).collect();
        directory.apply(&Change { seen, edits }).unwrap();
        assert_eq!(plan(&directory, &takers(&[1, 2], &[1, 2]), &galaxy()), None);
    }

    #[test]
    fn a_newcomer_is_not_given_what_an_operator_gave_to_another() {
        let (directory, _) = next(&Directory::default(), &[1]);
        let (shared, _) = next(&directory, &[1, 2]);
        let theirs = |it: &(SectorId, NodeId)| it.1 == NodeId(2) && it.0 != galaxy().root();
        let (sector, _) = shared.regions().find(theirs).expect("its share");
        let mut pinned = directory.clone();
        let edits = vec![Edit::Pin { sector, node: NodeId(1) }];
        pinned.apply(&Change { seen: pinned.version(), edits }).unwrap();
        let (after, _) = next(&pinned, &[1, 2]);
        assert_eq!(after.region_of(sector), Some((sector, NodeId(1))));
        let (after, _) = next(&after, &[2]);
        assert_eq!(after.region_of(sector), Some((sector, NodeId(2))), "node 1 is dead");
        assert_eq!(after.pins().count(), 0);
    }

    #[test]
    fn who_may_not_take_something_is_not_given_it_and_what_nobody_may_take_stays() {
        let apply = |directory: &mut Directory, takers: &Takers| {
            if let Some(change) = plan(directory, takers, &galaxy()) {
                directory.apply(&change).unwrap();
            }
        };
        let mut directory = Directory::default();
        apply(&mut directory, &takers(&[2, 3], &[1, 3]));
        assert_eq!(shares(&directory).into_keys().collect::<Vec<_>>(), nodes(&[2, 3]));
        assert_eq!(directory.nodes_of(Kind::Ledger), nodes(&[1, 3]));
        // Node 3 has another role from now on, and then node 2 is not there.
        apply(&mut directory, &takers(&[2], &[1, 3]));
        assert_eq!(shares(&directory).into_keys().collect::<Vec<_>>(), nodes(&[2]));
        let before = directory.clone();
        apply(&mut directory, &takers(&[], &[1, 3]));
        assert_eq!(directory, before, "nobody may take sectors");
        apply(&mut directory, &takers(&[2], &[]));
        assert_eq!(directory, before, "nobody may take ledgers");
    }

    #[test]
    fn where_nobody_lives_nothing_is_planned() {
        assert_eq!(plan(&Directory::default(), &Takers::default(), &galaxy()), None);
    }
}
