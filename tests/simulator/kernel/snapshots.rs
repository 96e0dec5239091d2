//! Snapshots: each that is asked for ends, and few of them at a time.

use std::cell::Cell;
use std::sync::Arc;

use starmesh::base::EntityKey;
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::node::Event;
use starmesh::entity::commit::{Check, Expect, Group};
use starmesh::entity::keys;
use starmesh::store::memory::Memory;

use super::Node;

#[test]
fn an_idle_entity_that_pins_the_journal_gets_a_new_snapshot_each_time() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    for _ in 0..3 {
        node.run(5000);
        let (ledger, before) = (node.ledger(1), node.snapshot_of(node.ledger(1)));
        node.event(Event::Pinned(vec![ledger]));
        node.run_until("there is a new one", |node| node.snapshot_of(ledger) > before);
    }
}

#[test]
fn a_refused_snapshot_is_followed_by_another() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    node.run(1000);
    let is_head = |group: &Group| group.puts.iter().any(|put| put.key.starts_with(keys::HEAD));
    let spoiled = Cell::new(false);
    node.spoil = Some(Box::new(move |commit| {
        for group in commit.groups.iter_mut().filter(|group| is_head(group)) {
            if !spoiled.replace(true) {
                let check = Check { key: b"nothing".to_vec(), expect: Expect::Version(1) };
                group.checks.push(check);
            }
        }
    }));
    let ledger = node.ledger(1);
    node.event(Event::Pinned(vec![ledger]));
    node.run_until("it is refused", |node| node.core.counts().refused == 1);
    assert_eq!(node.snapshot_of(ledger), 0);
    node.event(Event::Pinned(vec![ledger]));
    node.run_until("there is one", |node| node.snapshot_of(ledger) > 0);
    assert_eq!(node.core.counts().refused, 1);
}

#[test]
fn no_more_snapshots_are_made_at_a_time_than_allowed() {
    for snapshots in [1, 2] {
        let limits =
            Limits { snapshots, chunks_per_commit: 1, chunk_bytes: 40, ..Limits::default() };
        let mut node = Node::ready(&Arc::new(Memory::new()), limits);
        (1..=3).for_each(|player| {
            node.found(player);
        });
        node.run(1000);
        let all: Vec<EntityKey> = node.table.keys().collect();
        assert_eq!(all.len(), 6);
        node.event(Event::Pinned(all.clone()));
        let has_all = |node: &Node| all.iter().all(|key| node.snapshot_of(*key) > 0);
        node.run_until("all have one", has_all);
        assert_eq!(node.snapshots_most, snapshots);
    }
}
