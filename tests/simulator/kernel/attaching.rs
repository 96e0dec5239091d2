//! Of what a session sends, an entity takes nothing behind a command that it, or
//! whoever had it before, did not take: however the later one got there.

use std::sync::Arc;

use starmesh::base::Millis;
use starmesh::cluster::core::attaching::{Attachment, Ticket};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::message::{FromTable, ToTable};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::table::{Table, Unavailable};
use starmesh::entity::commands::CommandResult;
use starmesh::store::memory::Memory;

use super::Node;

fn node(limits: Limits) -> Node {
    let mut node = Node::ready(&Arc::new(Memory::new()), limits);
    node.found(1);
    node.run(1000);
    node
}

/// Sends both in order, as one that was told to attach again.
#[track_caller]
fn both_are_carried_out(node: &mut Node, commands: [u32; 2]) {
    let sector = node.sector(1);
    let ticket = node.attach().expect("it runs");
    node.table.admit(sector, ticket, Node::stop(1, commands[0])).unwrap();
    node.table.admit(sector, ticket.next(), Node::stop(1, commands[1])).unwrap();
    node.pump();
    node.run(1000);
    for sequence in commands {
        let answer = node.answer(sequence).expect("it is answered");
        assert!(!matches!(answer.result, CommandResult::NotHere), "{answer:?} was overtaken");
    }
}

#[test]
fn a_command_does_not_overtake_one_in_the_mailbox_of_the_table_before() {
    let mut node = node(Limits::default());
    let sector = node.sector(1);
    let ticket = node.attach().expect("it runs");
    let world = node.world.clone();
    let mut other = Table::new(world, Limits::default(), Attachment(1 << 40));
    other.handle(ToTable::Tick { tick: node.core.tick(), now: Millis(node.now) });
    // The table gives it up while the first command is in its mailbox.
    node.table.handle(ToTable::Yield(sector));
    let yielded = node.table.drain_core().into_iter().find_map(|message| match message {
        FromTable::Yielded { moved, .. } => moved,
        _ => None,
    });
    let moved = yielded.expect("it does not hibernate");
    other.handle(ToTable::Adopt { moved, then: Vec::new() });
    // The second goes to the other table, and may get there first.
    let second = other.admit(sector, ticket.next(), Node::stop(1, 2));
    assert_eq!(second, Err(Unavailable::AttachAgain));
    let first = node.table.admit(sector, ticket, Node::stop(1, 1));
    assert_eq!(first, Err(Unavailable::NotHere));
    let second = other.admit(sector, ticket.next(), Node::stop(1, 2));
    assert_eq!(second, Err(Unavailable::AttachAgain));
    // Nor would the first one be taken under its old name.
    let first = other.admit(sector, ticket, Node::stop(1, 1));
    assert_eq!(first, Err(Unavailable::AttachAgain));
}

#[test]
fn a_sector_that_moved_takes_commands_of_who_attached_since() {
    let mut node = node(Limits::default());
    let sector = node.sector(1);
    let ticket = node.attach().expect("it runs");
    node.event(Event::Move { entity: sector, to: 1 });
    assert_eq!(node.core.counts().moves, 1);
    let second = node.table.admit(sector, ticket.next(), Node::stop(1, 2));
    assert_eq!(second, Err(Unavailable::AttachAgain));
    both_are_carried_out(&mut node, [1, 2]);
}

#[test]
fn a_command_does_not_overtake_one_for_which_there_was_no_room() {
    let limits = Limits { inputs_per_entity: 2, ..Limits::default() };
    let mut node = node(limits);
    let sector = node.sector(1);
    let ticket = node.attach().expect("it runs");
    node.hold_commits = true;
    let mut send = |nth: u32, sequence| {
        let ticket = Ticket { nth, ..ticket };
        node.table.admit(sector, ticket, Node::stop(1, sequence))
    };
    assert_eq!([send(0, 1), send(1, 2)], [Ok(()), Ok(())]);
    assert_eq!(send(2, 3), Err(Unavailable::Busy));
    assert_eq!(send(3, 4), Err(Unavailable::AttachAgain));
    node.pump();
    node.let_commits_go();
    node.run(1000);
    // There is room now.
    let ticket = Ticket { nth: 3, ..ticket };
    let late = node.table.admit(sector, ticket, Node::stop(1, 4));
    assert_eq!(late, Err(Unavailable::AttachAgain));
    both_are_carried_out(&mut node, [3, 4]);
}

#[test]
fn a_loaded_sector_takes_no_command_from_its_life_before() {
    let limits = Limits { quiet_ms: 500, ..Limits::default() };
    let mut node = node(limits);
    let sector = node.sector(1);
    node.event(Event::Wake(sector));
    node.run(100);
    let ticket = node.attach().expect("it runs");
    node.run_until("it hibernates", |node| node.table.entity(sector).is_none());
    node.event(Event::Wake(sector));
    node.run(100);
    let late = node.table.admit(sector, ticket, Node::stop(1, 1));
    assert_eq!(late, Err(Unavailable::AttachAgain));
    both_are_carried_out(&mut node, [1, 2]);
}

#[test]
fn one_that_attached_too_long_ago_attaches_again() {
    let limits = Limits { attached_per_entity: 1, ..Limits::default() };
    let mut node = node(limits);
    let sector = node.sector(1);
    let first = node.attach().expect("it runs");
    let ticket = node.attach().expect("it runs");
    assert_ne!(first.attachment, ticket.attachment);
    let late = node.table.admit(sector, first, Node::stop(1, 1));
    assert_eq!(late, Err(Unavailable::AttachAgain));
    assert_eq!(node.table.admit(sector, ticket, Node::stop(1, 1)), Ok(()));
}
