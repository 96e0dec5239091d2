//! A table that does not keep up: time waits for it, for the whole node, and
//! goes on where it stopped.

use std::sync::Arc;

use starmesh::base::Tick;
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::node::Event;
use starmesh::store::memory::Memory;

use super::Node;

const BEHIND: u64 = 3;

fn lagging() -> (Node, Tick) {
    let limits = Limits { ticks_behind: BEHIND, ..Limits::default() };
    let mut node = Node::ready(&Arc::new(Memory::new()), limits);
    node.found(1);
    node.lags = true;
    let stepped = node.core.tick();
    node.run(10_000);
    (node, stepped)
}

#[test]
fn time_waits_for_a_table_that_is_three_ticks_behind() {
    let (mut node, stepped) = lagging();
    assert_eq!(node.core.tick(), stepped.after(BEHIND));
    assert_eq!(node.core.counts().held, 1);
    // As far as the table says it has come, and no further.
    node.event(Event::Stepped(stepped.after(1)));
    node.run(1000);
    assert_eq!(node.core.tick(), stepped.after(BEHIND + 1));
    assert_eq!(node.core.counts().held, 2);
}

#[test]
fn time_goes_on_tick_by_tick_and_does_not_make_up_for_what_it_waited() {
    let (mut node, _) = lagging();
    let stood = node.core.tick();
    node.lags = false;
    node.event(Event::Stepped(stood));
    assert_eq!(node.core.tick(), stood.after(1));
    node.run(1000);
    assert_eq!(node.core.tick(), stood.after(11));
}

#[test]
fn while_time_waits_for_a_table_commands_are_answered_and_the_row_moves() {
    let (mut node, _) = lagging();
    let (stood, commits) = (node.core.tick(), node.commits.len());
    node.run(1000);
    let idle = node.commits.len() - commits;
    assert!((4..=10).contains(&idle), "{idle} commits in a second");
    node.command(1);
    assert_eq!(node.core.tick(), stood);
}
