//! A durable record that does not fit the state here: the journal is right, so
//! the state is thrown away and loaded again, a bounded number of times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use starmesh::base::Tick;
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::loading::LoadError;
use starmesh::cluster::core::message::{Committed, FromTable, Installed, ToTable};
use starmesh::cluster::core::node::Event;
use starmesh::entity::input::Input;
use starmesh::entity::record::RecordHeader;
use starmesh::store::memory::Memory;

use super::Node;

/// Has the table take the next `times` records of the sector for other ones.
fn tamper_with(node: &mut Node, times: u32, tamper: impl Fn(&mut Committed) + 'static) {
    let sector = node.sector(1);
    let left = Arc::new(AtomicU32::new(times));
    node.tamper = Some(Box::new(move |record| {
        if record.entity == sector && left.load(Ordering::Relaxed) > 0 {
            left.fetch_sub(1, Ordering::Relaxed);
            tamper(record);
        }
    }));
}

#[test]
fn an_entity_that_a_record_did_not_fit_is_loaded_again_and_goes_on() {
    for tamper in [
        (|record| record.header.sequence += 1) as fn(&mut Committed),
        |record| record.header.tick = Tick(0),
        |record| record.inputs += 1,
    ] {
        let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
        node.found(1);
        node.run(1000);
        let done = node.command(1);
        tamper_with(&mut node, 1, tamper);
        assert_eq!(node.command(2), done, "the command was in the journal");
        assert_eq!(node.table.counts().misfits, 1);
        assert!(node.unloadable.is_empty());
        assert_eq!(node.command(3), done);
        assert_eq!(node.table.counts().misfits, 1);
    }
}

#[test]
fn an_entity_that_no_record_fits_is_reported_and_left_alone() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    node.run(1000);
    let ticket = node.attach().expect("it runs");
    tamper_with(&mut node, u32::MAX, |record| record.header.sequence += 1);
    let sector = node.sector(1);
    node.table.admit(sector, ticket, Node::stop(1, 1)).unwrap();
    node.pump();
    node.run_until("it is reported", |node| !node.unloadable.is_empty());
    assert_eq!(node.unloadable, [(sector, LoadError::Misfits(3))]);
    node.run(5000);
    assert_eq!(node.table.counts().misfits, 3);
    assert!(node.table.entity(sector).is_none());
    // Nothing else is the worse for it.
    node.found(2);
}

#[test]
fn what_is_said_of_an_old_installation_is_not_taken_for_a_new_one() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    node.run(1000);
    let before = node.commits.len();
    let ledger = node.ledger(1);
    let mut bytes = Vec::new();
    starmesh::entity::record::encode_input(&Input::Close, &mut bytes);
    let late = FromTable::Submit { entity: ledger, generation: 1000, bytes };
    node.event(Event::FromTable(late));
    node.event(Event::FromTable(FromTable::Dropped { entity: ledger, generation: 1000 }));
    node.run(1000);
    let appended = |node: &Node| {
        let groups = node.commits[before..].iter().flat_map(|commit| &commit.groups);
        groups.filter_map(|group| group.append.as_ref()).any(|append| append.entity == ledger)
    };
    assert!(!appended(&node), "an input of another installation was journalled");

    // And the table: a record of a later installation is not for what is here.
    let entity = node.table.entity(ledger).unwrap().clone();
    let sequence = entity.head().sequence;
    let header =
        RecordHeader { sequence: sequence + 1, tick: entity.tick(), time: entity.head().time };
    let installed = Installed { entity, generation: 7, snapshot_bytes: 0, journal_bytes: 0 };
    node.table.handle(ToTable::Install(Box::new(installed)));
    let generation = 6;
    let record = Committed {
        entity: ledger,
        generation,
        header,
        adopts: None,
        claim: None,
        dilation: None,
        woke: false,
        lead: 0,
        inputs: 0,
        bytes: 10,
    };
    node.table.handle(ToTable::Committed(vec![record]));
    assert_eq!(node.table.counts().misfits, 0);
    assert_eq!(node.table.entity(ledger).unwrap().head().sequence, sequence);
}

#[test]
fn an_entity_is_not_loaded_while_a_commit_may_hold_a_record_of_it() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    node.run(1000);
    let (sector, done) = (node.sector(1), node.command(1));
    let ticket = node.attach().expect("it runs");
    // One record does not fit while the next is under way.
    tamper_with(&mut node, 1, |record| record.header.sequence += 1);
    node.table.admit(sector, ticket, Node::stop(1, 2)).unwrap();
    node.table.admit(sector, ticket.next(), Node::stop(1, 3)).unwrap();
    node.hold_commits = true;
    node.pump();
    node.run(1000);
    let generation = 2;
    node.event(Event::FromTable(FromTable::Dropped { entity: sector, generation }));
    node.let_commits_go();
    assert_eq!((node.command(2), node.command(3)), (done.clone(), done));
    assert_eq!(node.core.counts().refused, 0, "two records had one number");
}
