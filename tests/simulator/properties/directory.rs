//! Several nodes change the directory through one store, each from what it has
//! seen, which may be old. What the store takes is exactly what a directory of
//! that version takes, and what is read back is what the changes led to.

use proptest::prelude::*;
use starmesh::base::{EntityKey, Incarnation, NodeId, SectorId, Tick};
use starmesh::cluster::core::directory::{Change, Directory, Edit, Kind, read_version};
use starmesh::entity::commit::{Commit, Group};
use starmesh::entity::keys;
use starmesh::store::Store;
use starmesh::store::memory::Memory;

/// One node's turn: it commits these edits as a change of what it last saw,
/// then, perhaps, reads the directory anew.
type Turn = (u32, Vec<Edit>, bool);

fn turn() -> impl Strategy<Value = Turn> {
    let node = || (1_u32..4).prop_map(NodeId);
    let sector = (0_i64..4, 0_i64..4, 0_u8..4);
    let sector = sector.prop_map(|(x, y, scale)| EntityKey::Sector(SectorId { x, y, scale }));
    let edit = prop_oneof![
        6 => (sector, node()).prop_map(|(entity, node)| Edit::Assign { entity, node }),
        1 => (0_u64..3, node())
            .prop_map(|(n, node)| Edit::Assign { entity: EntityKey::Ledger(n), node }),
        1 => prop::collection::vec(node(), 1..4)
            .prop_map(|nodes| Edit::Share { kind: Kind::Board, nodes }),
    ];
    (1_u32..4, prop::collection::vec(edit, 0..4), any::<bool>())
}

fn commit(store: &Memory, node: u32, number: u64, groups: Vec<Group>) -> bool {
    let commit = Commit {
        node: NodeId(node),
        incarnation: Incarnation(1),
        number,
        nonce: u64::from(node),
        tick: Tick(number),
        audit_root: [0; 32],
        groups,
        is_last: false,
    };
    store.commit(&commit).expect("the store answers").refused.is_empty()
}

/// The directory as it is in the store, in pages of two.
fn read(store: &Memory) -> Directory {
    let version = store.get(keys::DIRECTORY_VERSION).expect("the store answers");
    let version = version.map(|versioned| versioned.value);
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let after = rows.last().map(|(key, _)| key.as_slice());
        let page = store.scan(keys::DIRECTORY, after, 2).expect("the store answers");
        if page.is_empty() {
            break;
        }
        rows.extend(page.into_iter().map(|(key, versioned)| (key, versioned.value)));
    }
    let version = read_version(version.as_deref()).expect("a version");
    Directory::from_rows(version, rows).expect("a directory")
}

proptest! {
    #[test]
    fn of_changes_from_one_version_the_store_takes_one(
        turns in prop::collection::vec(turn(), 0..40),
    ) {
        let store = Memory::new();
        for node in 1..4 {
            prop_assert!(commit(&store, node, 0, Vec::new()));
        }
        let mut truth = Directory::default();
        let mut seen = vec![Directory::default(); 4];
        let mut numbers = [1; 4];
        for (node, edits, reads) in turns {
            let index = node as usize;
            let change = Change { seen: seen[index].version(), edits };
            let taken = commit(&store, node, numbers[index], vec![change.group()]);
            numbers[index] += 1;
            prop_assert_eq!(taken, truth.apply(&change).is_ok());
            if taken {
                prop_assert_eq!(seen[index].apply(&change), Ok(()));
            }
            if reads {
                seen[index] = read(&store);
                prop_assert_eq!(&seen[index], &truth);
            }
        }
        prop_assert_eq!(read(&store), truth);
    }
}
