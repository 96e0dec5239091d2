//! Keys that say what is no more are deleted, and never one that is needed;
//! and nothing is claimed while the clocks differ.

use std::sync::Arc;

use starmesh::base::{EntityKey, Incarnation, NodeId, Tick};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::node::Event;
use starmesh::entity::commit::{Append, Commit, Group, Put};
use starmesh::entity::input::{Claim, Input};
use starmesh::entity::keys;
use starmesh::entity::record::{RecordHeader, encode_input, encode_record};
use starmesh::store::memory::Memory;
use starmesh::store::{Store, recovery};

use super::{NODE, Node};

#[test]
fn ended_incarnations_are_forgotten_when_no_claim_names_them() {
    let store = Arc::new(Memory::new());
    Node::ready(&store, Limits::default()).found(1);
    for _ in 0..3 {
        let mut node = Node::ready(&store, Limits::default());
        node.run(1000);
        assert_eq!(recovery::ended_of(&*store, NODE), Ok(vec![]));
    }
}

#[test]
fn a_node_that_dies_after_any_commit_leaves_what_the_next_one_needs() {
    let limits = Limits { records_per_commit: 1, ..Limits::default() };
    let store = Arc::new(Memory::new());
    let mut node = Node::ready(&store, limits);
    (1..=3).for_each(|player| {
        node.found(player);
    });
    for commits in 0..16 {
        let mut node = Node::new(&store, limits);
        node.hold_after = Some(commits);
        node.event(Event::Clock);
        node.run(1000);
        assert_eq!(node.unloadable, [], "after {commits} commits");
    }
    let node = Node::ready(&store, limits);
    assert_eq!(node.unloadable, []);
    // Three sectors and three ledgers; the board comes when ledgers tell it.
    let is_board = |key: &EntityKey| matches!(key, EntityKey::Board(_));
    assert_eq!(node.table.keys().filter(|key| !is_board(key)).count(), 6);
}

/// What another node writes into `store`.
fn write_as_another(store: &Memory, groups: Vec<Group>) {
    write_as(store, NodeId(2), groups);
}

fn write_as(store: &Memory, node: NodeId, groups: Vec<Group>) {
    for (number, groups) in [(0, Vec::new()), (1, groups)] {
        let commit = Commit {
            node,
            incarnation: Incarnation(1),
            number,
            nonce: 1,
            tick: Tick(100),
            audit_root: [0; 32],
            groups,
            is_last: false,
        };
        let answer = store.commit(&commit).unwrap();
        assert_eq!(answer.refused, [0_u32; 0]);
    }
}

/// The next record of `entity`, in which node 2 claims it.
fn claim_of_another(node: &Node, entity: EntityKey) -> Append {
    let (sequence, time) = {
        let head = node.table.entity(entity).unwrap().head();
        (head.sequence + 1, head.time)
    };
    let tick = node.table.entity(entity).unwrap().tick();
    let claim = Claim { node: NodeId(2), incarnation: Incarnation(1), node_tick: Tick(100) };
    let mut inputs = Vec::new();
    encode_input(&Input::Claim(claim), &mut inputs);
    let header = RecordHeader { sequence, tick, time };
    Append { entity, sequence, bytes: encode_record(&header, node.world.logic(), 1, &inputs) }
}

#[test]
fn an_owned_key_without_an_open_claim_is_deleted() {
    let store = Arc::new(Memory::new());
    let mut node = Node::ready(&store, Limits::default());
    node.found(1);
    node.run(1000);
    let (ledger, sector) = (node.ledger(1), node.sector(1));
    // Node 2 has taken the ledger over; a third entity was never written.
    let never = Put { key: keys::owned(NODE, EntityKey::Ledger(2)), value: Some(Vec::new()) };
    let taken = Group { append: Some(claim_of_another(&node, ledger)), ..Group::default() };
    write_as_another(&store, vec![taken, Group { puts: vec![never], ..Group::default() }]);
    drop(node);
    let mut node = Node::ready(&store, Limits::default());
    node.run(1000);
    assert_eq!(recovery::owned(&*store, NODE), Ok(vec![sector]));
    assert_eq!(node.unloadable, []);
    // Who has work here is claimed, and its key comes back.
    node.found(2);
    assert!(recovery::owned(&*store, NODE).unwrap().contains(&EntityKey::Ledger(2)));
}

/// It is given to this node between the load that finds nothing and the commit.
#[test]
fn an_owned_key_that_was_put_anew_since_it_was_read_stays() {
    let store = Arc::new(Memory::new());
    drop(Node::ready(&store, Limits::default()));
    let key = keys::owned(NODE, EntityKey::Ledger(2));
    let put =
        Group { puts: vec![Put { key: key.clone(), value: Some(Vec::new()) }], ..Group::default() };
    write_as(&store, NodeId(2), vec![put.clone()]);
    let mut node = Node::new(&store, Limits::default());
    let (found, again) = (key.clone(), store.clone());
    let mut tries = 0;
    node.spoil = Some(Box::new(move |commit| {
        let puts = commit.groups.iter().flat_map(|group| &group.puts);
        if puts.into_iter().any(|put| put.key == found && put.value.is_none()) {
            tries += 1;
            assert_eq!(tries, 1, "it is not tried again and again");
            write_as(&again, NodeId(3), vec![put.clone()]);
        }
    }));
    node.event(Event::Clock);
    node.run_until("it is ready", |node| node.ready);
    node.run(1000);
    assert!(store.get(&key).unwrap().is_some());
    assert!(store.get(&keys::row(NodeId(3))).unwrap().is_some(), "it was tried");
}

#[test]
fn a_node_whose_clock_is_off_claims_nothing_until_it_agrees() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.store_ahead_ms = 2000;
    node.found(1);
    assert_eq!(node.claiming, [true; 0]);
    node.store_ahead_ms = 2100;
    node.run(1000);
    node.connect(2);
    node.run(10_000);
    assert_eq!(node.claiming, [false], "it is said, once");
    assert_eq!(node.table.keys().collect::<Vec<_>>(), {
        let mut two = vec![node.ledger(1), node.sector(1)];
        two.sort_unstable();
        two
    });
    // What runs goes on.
    node.command(1);
    node.store_ahead_ms = 0;
    node.run_until("it is claimed", |node| node.session(2).is_some());
    assert_eq!(node.claiming, [false, true]);
}
