//! What a directory keeps, whatever changes it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::geometry::strategies;
use crate::entity::commit::VALUE_BYTES_MAX;
use crate::entity::keys;

/// Sectors that lie in each other far more often than chance would have it.
fn sector() -> impl Strategy<Value = SectorId> {
    let near = (0_i64..1 << 15, 0_i64..1 << 15, 0_u8..16).prop_map(|(x, y, scale)| {
        let sector = SectorId::tactical(x & 0x4003, y & 0x4003);
        sector.ancestor(scale).expect("above scale 0")
    });
    prop_oneof![4 => near, 1 => strategies::sector()]
}

fn entity() -> impl Strategy<Value = EntityKey> {
    prop_oneof![
        8 => sector().prop_map(EntityKey::Sector),
        1 => (0_u64..4).prop_map(EntityKey::Ledger),
        1 => (0_u64..4).prop_map(EntityKey::Board),
        1 => (sector(), 0_u64..4).prop_map(|(host, n)| EntityKey::Battle { host, n }),
    ]
}

fn node() -> impl Strategy<Value = NodeId> {
    (1_u32..6).prop_map(NodeId)
}

fn edit() -> impl Strategy<Value = Edit> {
    let kind = prop::sample::select(Kind::ALL.to_vec());
    prop_oneof![
        4 => (entity(), node()).prop_map(|(entity, node)| Edit::Assign { entity, node }),
        2 => entity().prop_map(|entity| Edit::Unassign { entity }),
        1 => (kind, prop::collection::vec(node(), 0..4))
            .prop_map(|(kind, nodes)| Edit::Share { kind, nodes }),
        1 => (node(), any::<bool>()).prop_map(|(node, on)| Edit::Drain { node, on }),
        2 => (sector(), node()).prop_map(|(sector, node)| Edit::Pin { sector, node }),
    ]
}

fn edits() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    prop::collection::vec(prop::collection::vec(edit(), 0..4), 0..40)
}

/// The directory after those changes that it takes, and each change with
/// whether it was taken.
fn made(edits: Vec<Vec<Edit>>) -> (Directory, Vec<(Change, bool)>) {
    let mut directory = Directory::default();
    let mut changes = Vec::new();
    for edits in edits {
        let change = Change { seen: directory.version(), edits };
        let before = directory.clone();
        let taken = directory.apply(&change).is_ok();
        assert!(taken || directory == before, "a refused change left something");
        changes.push((change, taken));
    }
    (directory, changes)
}

/// All entries that `sector` lies in.
fn covering(directory: &Directory, sector: SectorId) -> Vec<(SectorId, NodeId)> {
    directory.regions().filter(|(region, _)| region.contains(sector)).collect()
}

proptest! {
    /// Invariant 24: each sector resolves to one entry, the finest of those it
    /// lies in.
    #[test]
    fn each_sector_resolves_to_one_entry(edits in edits(), sectors in prop::collection::vec(sector(), 20)) {
        let (directory, _) = made(edits);
        let assigned: Vec<_> = directory.regions().map(|(region, _)| region).collect();
        for sector in sectors.into_iter().chain(assigned) {
            let covering = covering(&directory, sector);
            let finest = covering.iter().map(|(region, _)| region.scale).min();
            let nearest: Vec<_> =
                covering.iter().filter(|(region, _)| Some(region.scale) == finest).collect();
            prop_assert!(nearest.len() <= 1);
            prop_assert_eq!(directory.region_of(sector), nearest.first().copied().copied());
            let battle = EntityKey::Battle { host: sector, n: 3 };
            prop_assert_eq!(directory.node_of(battle), directory.node_of(EntityKey::Sector(sector)));
        }
    }

    #[test]
    fn what_once_had_a_node_keeps_having_one(edits in edits(), entities in prop::collection::vec(entity(), 20)) {
        let mut directory = Directory::default();
        for edits in edits {
            let before = directory.clone();
            let _ = directory.apply(&Change { seen: before.version(), edits });
            for entity in &entities {
                let had = before.node_of(*entity).is_some();
                prop_assert!(!had || directory.node_of(*entity).is_some(), "{entity}");
            }
        }
    }

    /// The store and the fold agree.
    #[test]
    fn the_rows_that_changes_put_are_the_directory(edits in edits()) {
        let (directory, changes) = made(edits);
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (change, _) in changes.iter().filter(|(_, taken)| *taken) {
            let group = change.group();
            prop_assert!(group.is_well_formed());
            for put in group.puts {
                match put.value {
                    Some(value) => drop(rows.insert(put.key, value)),
                    None => drop(rows.remove(&put.key)),
                }
            }
        }
        prop_assert!(rows.keys().all(|key| key.starts_with(keys::DIRECTORY)));
        prop_assert!(rows.keys().next_back().is_none_or(|key| key == keys::DIRECTORY_VERSION));
        let read = Directory::from_rows(directory.version(), &rows);
        prop_assert_eq!(read.as_ref(), Ok(&directory));
        let other = directory.version() + 1;
        let changed = RowError::Changed { before: other, after: directory.version() };
        prop_assert_eq!(Directory::from_rows(other, &rows), Err(changed));
    }

    #[test]
    fn rows_cut_or_damaged_are_refused_or_read(
        edits in edits(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let (_, changes) = made(edits);
        for put in changes.iter().flat_map(|(change, _)| change.group().puts) {
            let Some(mut value) = put.value else { continue };
            let at = at.index(value.len());
            let cut = [(put.key.clone(), value[..at].to_vec())];
            prop_assert!(Directory::from_rows(0, cut).is_err());
            value[at] ^= 1 << bit;
            let _ = Directory::from_rows(0, [(put.key, value)]);
        }
    }

    #[test]
    fn a_numbered_entity_goes_to_one_of_its_kinds_nodes_or_where_its_entry_says(
        nodes in prop::collection::vec(node(), 1..5), number: u64, own in node(),
    ) {
        let mut directory = Directory::default();
        let share = Edit::Share { kind: Kind::Ledger, nodes: nodes.clone() };
        directory.apply(&Change { seen: 0, edits: vec![share] }).unwrap();
        let ledger = EntityKey::Ledger(number);
        prop_assert!(directory.node_of(ledger).is_some_and(|node| nodes.contains(&node)));
        prop_assert_eq!(directory.node_of(EntityKey::Board(number)), None);
        let assign = Edit::Assign { entity: ledger, node: own };
        directory.apply(&Change { seen: 1, edits: vec![assign] }).unwrap();
        prop_assert_eq!(directory.node_of(ledger), Some(own));
    }
}

fn region(x: i64, y: i64, scale: u8) -> SectorId {
    SectorId { x, y, scale }
}

fn assign(sector: SectorId, node: u32) -> Edit {
    Edit::Assign { entity: EntityKey::Sector(sector), node: NodeId(node) }
}

#[test]
fn a_hot_child_is_split_off_and_merged_again() {
    let (root, child) = (region(0, 0, 14), region(5, 9, 2));
    let mut directory = Directory::default();
    directory.apply(&Change { seen: 0, edits: vec![assign(root, 1)] }).unwrap();
    assert_eq!(directory.region_of(child), Some((root, NodeId(1))));
    directory.apply(&Change { seen: 1, edits: vec![assign(child, 2)] }).unwrap();
    let inside = child.children().next().unwrap();
    assert_eq!(directory.region_of(inside), Some((child, NodeId(2))));
    assert_eq!(directory.region_of(child.neighbour(1, 0).unwrap()), Some((root, NodeId(1))));
    let edits = vec![Edit::Unassign { entity: EntityKey::Sector(child) }];
    directory.apply(&Change { seen: 2, edits }).unwrap();
    assert_eq!(directory.region_of(inside), Some((root, NodeId(1))));
    assert_eq!((directory.count(), directory.version()), (1, 3));
}

#[test]
fn what_an_operator_pinned_is_an_entry_like_any_other_when_it_is_assigned_anew() {
    let (root, part) = (region(0, 0, 14), region(5, 9, 2));
    let pin = Edit::Pin { sector: part, node: NodeId(2) };
    let unassign = Edit::Unassign { entity: EntityKey::Sector(part) };
    for (anew, pins) in [(assign(part, 2), 0), (unassign, 0), (assign(root, 2), 1)] {
        let mut directory = Directory::default();
        let edits = vec![assign(root, 1), pin.clone()];
        directory.apply(&Change { seen: 0, edits }).unwrap();
        assert_eq!(directory.region_of(part), Some((part, NodeId(2))));
        assert_eq!(directory.pins().collect::<Vec<_>>(), [(part, NodeId(2))]);
        directory.apply(&Change { seen: 1, edits: vec![anew] }).unwrap();
        assert_eq!(directory.pins().count(), pins);
    }
}

#[test]
fn a_change_that_breaks_a_rule_is_refused_by_name() {
    let (root, battle) = (region(0, 0, 14), EntityKey::Battle { host: region(1, 1, 0), n: 1 });
    let mut directory = Directory::default();
    directory.apply(&Change { seen: 0, edits: vec![assign(root, 1)] }).unwrap();
    let unassign = |entity| vec![Edit::Unassign { entity }];
    let share = |nodes| vec![Edit::Share { kind: Kind::Board, nodes }];
    let (root, ledger) = (EntityKey::Sector(root), EntityKey::Ledger(3));
    let far = assign(region(0, 0, 15), 1);
    let too_many = vec![far; EDITS_MAX + 1];
    for (edits, error) in [
        (unassign(root), ChangeError::Nobody(root)),
        (unassign(ledger), ChangeError::NoEntry(ledger)),
        (share(Vec::new()), ChangeError::NoNodes(Kind::Board)),
        (vec![Edit::Assign { entity: battle, node: NodeId(1) }], ChangeError::Battle(battle)),
        (too_many, ChangeError::TooMany { what: "edits in a change", got: 4097, most: 4096 }),
    ] {
        assert_eq!(directory.apply(&Change { seen: 1, edits }), Err(error));
    }
    for seen in [0, 2] {
        let stale = Change { seen, edits: Vec::new() };
        assert_eq!(directory.apply(&stale), Err(ChangeError::Version { seen, version: 1 }));
    }
}

#[test]
fn entries_beyond_the_bound_are_refused() {
    let mut directory = Directory::default();
    let most = i64::try_from(ENTRIES_MAX).unwrap();
    let chunk = i64::try_from(EDITS_MAX).unwrap();
    for first in (0..most).step_by(EDITS_MAX) {
        let edits = (first..first + chunk).map(|x| assign(region(x, 0, 0), 1)).collect();
        directory.apply(&Change { seen: directory.version(), edits }).unwrap();
    }
    let change = Change { seen: directory.version(), edits: vec![assign(region(-1, 0, 0), 1)] };
    assert!(matches!(directory.apply(&change), Err(ChangeError::TooMany { .. })));
    assert_eq!(directory.count(), ENTRIES_MAX);
}

#[test]
fn the_largest_change_and_the_longest_value_fit_into_the_store() {
    let far = region(i64::MIN, i64::MAX, 255);
    let change = Change { seen: u64::MAX - 1, edits: vec![assign(far, u32::MAX); EDITS_MAX] };
    assert!(change.group().is_well_formed());
    let nodes = vec![NodeId(u32::MAX); NODES_MAX];
    let edits = vec![Edit::Share { kind: Kind::Ledger, nodes }];
    let value = Change { seen: 0, edits }.group().puts.pop().and_then(|put| put.value);
    assert!(value.is_some_and(|value| value.len() <= VALUE_BYTES_MAX));
}
