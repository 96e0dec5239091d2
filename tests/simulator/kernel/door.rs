//! What a node takes in is bounded, and what it shows is its own to show.

use std::sync::Arc;

use starmesh::base::{EntityKey, PlayerId, SessionId, UnitId};
use starmesh::cluster::core::attaching::{Attachment, Ticket};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::message::{FromTable, ToTable};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::table::{Release, Unavailable};
use starmesh::entity::channel::{Acknowledgement, ChannelId, ChannelMessage};
use starmesh::entity::commit::{Group, Put, VALUE_BYTES_MAX};
use starmesh::entity::input::{Connect, Input};
use starmesh::entity::message::{Answer, Body};
use starmesh::entity::read::{Query, Reading};
use starmesh::sim::{Command, Instruction, UnitIds};
use starmesh::store::memory::Memory;

use super::Node;

/// How many inputs the table has submitted for `entity` since it was asked.
fn submitted(node: &mut Node, entity: EntityKey) -> usize {
    let of = |message: &FromTable| match message {
        FromTable::Submit { entity, .. } => Some(*entity),
        _ => None,
    };
    node.table.drain_core().iter().filter_map(of).filter(|key| *key == entity).count()
}

fn attached(node: &Node) -> Vec<Option<u32>> {
    let last = |release: &Release| match release {
        Release::Read { reading: Reading::Applied(last), .. } => Some(*last),
        _ => None,
    };
    node.released.iter().filter_map(last).collect()
}

#[test]
fn an_input_that_is_too_long_is_refused_and_nothing_else_is_the_worse_for_it() {
    let limits = Limits { input_bytes: 128, ..Limits::default() };
    let mut node = Node::ready(&Arc::new(Memory::new()), limits);
    node.found(1);
    node.run(1000);
    let units = UnitIds::new((0..40).map(|n| UnitId((1 << 50) + n)).collect()).unwrap();
    let mut long = Node::stop(1, 1);
    long.command = Command::new(units, Instruction::Stop);
    let ticket = node.attach().expect("it runs");
    let refused = node.table.admit(node.sector(1), ticket, long);
    assert_eq!(refused, Err(Unavailable::TooLong));
    node.command(1);
}

#[test]
fn a_group_of_rows_that_no_store_takes_is_refused_and_ends_nothing() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    let rows = |key: &[u8], bytes: usize| {
        let put = Put { key: key.to_vec(), value: Some(vec![0; bytes]) };
        Group { puts: vec![put], ..Group::default() }
    };
    let groups = [
        rows(b"account/1", VALUE_BYTES_MAX + 1),
        rows(b"", 1),
        rows(&[b'a'; 600], 1),
        rows(b"head/1", 1),
        rows(b"account/1", VALUE_BYTES_MAX),
    ];
    for (id, group) in (1..).zip(groups) {
        node.event(Event::Rows { id, group });
    }
    node.run(1000);
    let done = [(1, false), (2, false), (3, false), (4, false), (5, true)];
    assert_eq!(node.rows_done, done);
}

#[test]
fn messages_and_proposals_that_find_no_room_are_dropped() {
    let limits = Limits { inputs_per_entity: 4, ..Limits::default() };
    let mut node = Node::ready(&Arc::new(Memory::new()), limits);
    node.found(1);
    node.run(1000);
    let (sector, ledger) = (node.sector(1), node.ledger(1));
    let channel = ChannelId { sender: EntityKey::Ledger(0), receiver: sector, opened: 1 };
    for number in 1..=10 {
        let body = Body::Answer { id: number, answer: Answer::Done };
        node.table.handle(ToTable::Deliver(ChannelMessage { channel, number, body }));
    }
    assert_eq!(submitted(&mut node, sector), 4);
    for connection in 1..=10 {
        let input = Input::Connect(Connect { player: PlayerId(1), connection, resume: None });
        node.table.handle(ToTable::Propose { entity: ledger, input });
    }
    assert_eq!(submitted(&mut node, ledger), 4);
    // One message: those behind it came too early.
    assert_eq!(node.table.counts().dropped, 1 + 6);
    // What must not be lost is taken all the same.
    let (entity, input) = (ledger, Input::Ids { start: 1 << 40 });
    node.table.handle(ToTable::Propose { entity, input });
    assert_eq!(submitted(&mut node, ledger), 1);
}

#[test]
fn an_acknowledgement_that_is_pending_is_not_journalled_again() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.lose_acks = true;
    node.found(1);
    let ledger = node.ledger(1);
    let entity = node.table.entity(ledger).unwrap();
    let message = entity.head().outbox.waiting(ledger).next().expect("it has no acknowledgement");
    let ack = Acknowledgement { channel: message.channel, upto: message.number };
    (0..3).for_each(|_| node.table.handle(ToTable::Acknowledge(ack)));
    assert_eq!(submitted(&mut node, ledger), 1);
}

#[test]
fn nothing_of_an_entity_is_shown_before_the_claim_is_durable() {
    let store = Arc::new(Memory::new());
    let mut node = Node::ready(&store, Limits::default());
    node.found(1);
    node.run(1000);
    let result = node.command(1);
    let answer = node.answer(1).unwrap().clone();
    // The next incarnation, whose claims are on their way.
    let mut node = Node::new(&store, Limits::default());
    node.hold_after = Some(1);
    node.event(Event::Clock);
    let sector = node.sector(1);
    assert!(node.held.is_some() && node.table.entity(sector).is_some());
    let query = Query::Applied { player: PlayerId(1), session: SessionId(1) };
    assert_eq!(node.table.read(7, sector, &query), Err(Unavailable::Busy));
    // Nobody is attached, under whatever name.
    let ticket = Ticket::first(Attachment(node.now));
    let admitted = node.table.admit(sector, ticket, Node::stop(1, 1));
    assert_eq!(admitted, Err(Unavailable::AttachAgain));
    node.pump();
    node.run(1000);
    assert_eq!(node.answer(1), None);
    node.let_commits_go();
    node.table.read(7, sector, &query).unwrap();
    node.pump();
    node.run(1000);
    assert_eq!(attached(&node), [Some(1)]);
    assert_eq!(node.command(1), result);
    assert_eq!(node.answer(1), Some(&answer), "it was applied once");
}

#[test]
fn an_attachment_is_answered_behind_the_publish_barrier() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    node.run(1000);
    node.command(1);
    node.released.clear();
    node.hold_commits = true;
    node.run(1000);
    assert!(node.held.is_some(), "the row of the next tick is on its way");
    let query = Query::Applied { player: PlayerId(1), session: SessionId(1) };
    node.table.read(7, node.sector(1), &query).unwrap();
    node.pump();
    node.run(1000);
    assert_eq!(attached(&node), []);
    node.let_commits_go();
    assert_eq!(attached(&node), [Some(1)]);
}
