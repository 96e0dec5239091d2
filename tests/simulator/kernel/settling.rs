//! A node that is to stop: what was admitted is made durable and answered, and
//! then nothing is left to wait for, however much goes on in its sectors.

use std::sync::Arc;

use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::node::Event;
use starmesh::store::memory::Memory;

use super::Node;

#[test]
fn what_was_admitted_is_answered_and_then_nothing_more_is_committed() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    node.run(1000);
    let ticket = node.attach().expect("it runs");
    node.hold_commits = true;
    node.run_until("a commit is under way", |node| node.held.is_some());
    node.table.admit(node.sector(1), ticket, Node::stop(1, 1)).expect("there is room");
    node.event(Event::Settle);
    assert!(!node.core.is_settled() && node.answer(1).is_none());

    node.let_commits_go();
    assert!(node.core.is_settled() && node.answer(1).is_some());
    let (stood, commits) = (node.core.tick(), node.commits.len());
    node.run(5000);
    assert!(node.core.is_settled());
    assert_eq!((node.core.tick(), node.commits.len()), (stood, commits));
}

#[test]
fn a_node_whose_table_is_behind_settles_all_the_same() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    node.lags = true;
    node.run(10_000);
    node.event(Event::Settle);
    let commits = node.commits.len();
    node.run(5000);
    assert!(node.core.is_settled());
    assert_eq!(node.commits.len(), commits);
}

#[test]
fn a_node_that_settles_loads_and_moves_nothing_any_more() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    node.event(Event::Settle);
    node.event(Event::Move { entity: node.sector(1), to: 1 });
    node.connect(2);
    node.run(5000);
    assert!(node.core.is_settled());
    assert!(node.session(2).is_none());
}
