//! Entities that ended processes before: with two such ends each is claimed alone, and
//! what others left is stored once.

use std::sync::Arc;

use starmesh::base::{EntityKey, Incarnation, NodeId, Tick};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::suspects::GOOD_TICKS;
use starmesh::entity::attempt::{Attempt, How};
use starmesh::store::memory::Memory;
use starmesh::store::recovery;

use super::Node;

/// Nodes that ended before, by what they ran.
fn attempts(entity: EntityKey, count: u64) -> Vec<Attempt> {
    let attempt = |n| {
        let (node, incarnation) = (NodeId(900), Incarnation(n));
        Attempt { entity, node, incarnation, tick: Tick(0), how: How::Aborted }
    };
    (1..=count).map(attempt).collect()
}

/// The node's tick when it was claimed, if it is.
fn claimed(node: &Node, entity: EntityKey) -> Option<u64> {
    let claim = node.table.entity(entity)?.head().claim?.claim;
    (claim.incarnation == node.core.incarnation()).then_some(claim.node_tick.0)
}

/// A process on that store that finds such words on its disk.
fn start(store: &Arc<Memory>, words: Vec<Attempt>) -> Node {
    let mut node = Node::new(store, Limits::default());
    node.core =
        std::mem::replace(&mut node.core, Node::new(store, Limits::default()).core).after(words);
    node.event(Event::Clock);
    node
}

#[test]
fn suspects_with_two_attempts_are_claimed_one_by_one_and_others_at_once() {
    let store = Arc::new(Memory::new());
    let mut node = Node::ready(&store, Limits::default());
    (1..=3).for_each(|player| _ = node.found(player));
    let [one, two, once] = [1, 2, 3].map(|player| node.ledger(player));
    let sound = node.sector(1);
    drop(node);
    let mut words = [attempts(one, 2), attempts(two, 2), attempts(once, 1)].concat();
    words.sort_by_key(Attempt::key);
    let mut node = start(&store, words.clone());
    node.run_until("what is not suspected so much runs", |node| {
        claimed(node, sound).is_some() && claimed(node, once).is_some()
    });
    node.run_until("both run", |node| [one, two].iter().all(|it| claimed(node, *it).is_some()));
    let ticks = [one, two].map(|it| claimed(&node, it).expect("it is claimed"));
    assert!(ticks[0].abs_diff(ticks[1]) >= GOOD_TICKS, "{ticks:?}");
    assert!(claimed(&node, sound).is_some_and(|tick| tick <= ticks[0].min(ticks[1])));
    node.run_until("it is ready", |node| node.ready);
    node.blamed.sort_by_key(Attempt::key);
    assert_eq!(node.blamed, words, "each was stored, once");
    node.run_until("all have passed", |_| recovery::attempts(&*store).unwrap().is_empty());
}

#[test]
fn what_the_third_process_left_has_it_parked_before_it_is_run() {
    let store = Arc::new(Memory::new());
    let mut node = Node::ready(&store, Limits::default());
    node.found(1);
    let sector = node.sector(1);
    drop(node);
    let mut node = start(&store, attempts(sector, 3));
    node.run_until("it is ready", |node| node.ready);
    assert!(!node.generations.contains_key(&sector), "no table had it");
    assert_eq!(recovery::parked_keys(&*store).unwrap(), [sector]);
    let (_, _, parked) = recovery::parked(&*store, None).unwrap().remove(0);
    assert!(parked.why.contains("ended 3 processes"), "{}", parked.why);
    assert_eq!(recovery::attempts(&*store).unwrap(), [], "whoever resumes it begins anew");
}
