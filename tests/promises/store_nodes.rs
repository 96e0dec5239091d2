//! Several nodes commit to one embedded store at the same time: whole commits,
//! one after the other, in the journal as in the keys.

use std::sync::Arc;

use starmesh::base::EntityKey;
use starmesh::entity::commit::Expect;
use starmesh::entity::keys;
use starmesh::store::Store;
use starmesh::store::conformance::{Process, append, load, put, row, value, when};

use super::store_support::{self, tiny};

const NODES: u32 = 6;
const COMMITS: u64 = 60;

#[test]
fn commits_of_several_nodes_at_once_are_whole_and_there_after_a_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Arc::new(store_support::open(dir.path(), tiny()));
    std::thread::scope(|scope| {
        for n in 1..=NODES {
            let store = store.clone();
            scope.spawn(move || commit_and_read(&*store, n));
        }
    });
    check(&*store);
    drop(store);
    check(&store_support::open(dir.path(), tiny()));
}

/// Each commit adds a record of the node's own, and takes the next number that
/// all nodes share by a check: one that lost the race is refused, and tried
/// again.
fn commit_and_read(store: &dyn Store, node: u32) {
    let mut process = Process::begun(store, node);
    let mut taken = 0;
    for k in 1..=COMMITS {
        let shared = store.get(b"shared").expect("it answers");
        let next = shared.as_ref().map_or(0, |row| number(&row.value)) + 1;
        let expect = shared.map_or(Expect::Absent, |row| Expect::Version(row.version));
        let take = when(b"shared", expect, put(b"shared", &next.to_be_bytes()));
        let own = append(EntityKey::Ledger(node.into()), k, &k.to_be_bytes());
        let answer = process.must(store, vec![own, take]);
        taken += u64::from(answer.refused.is_empty());
        // A commit that was answered is seen at once, in all of its parts.
        assert_eq!(row(store, node).number, process.number - 1);
        assert_eq!(load(store, EntityKey::Ledger(node.into())).records.len() as u64, k);
        let version =
            store.get(&keys::row(process.node)).expect("it answers").map(|row| row.version);
        assert_eq!(version, Some(answer.version));
    }
    process.must(store, vec![put(format!("taken/{node}").as_bytes(), &taken.to_be_bytes())]);
}

fn check(store: &dyn Store) {
    let mut taken = 0;
    for n in 1..=NODES {
        let records = load(store, EntityKey::Ledger(n.into())).records;
        let expected: Vec<_> = (1..=COMMITS).map(|k| (k, k.to_be_bytes().to_vec())).collect();
        assert_eq!(records, expected, "node {n}");
        assert_eq!(row(store, n).number, COMMITS + 1);
        taken += number(&value(store, format!("taken/{n}").as_bytes()).expect("it was put"));
    }
    // No two took the same number, and none was lost.
    assert_eq!(value(store, b"shared").map(|value| number(&value)), Some(taken));
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("a number"))
}
