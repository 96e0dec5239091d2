//! A durable record that does not fit the state here: the journal is right, so
//! the state is thrown away and loaded again, a bounded number of times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use starmesh::base::{PlayerId, Tick};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::loading::LoadError;
use starmesh::cluster::core::message::{Committed, FromTable, Installed, ToTable};
use starmesh::cluster::core::node::Event;
use starmesh::entity::commands::{CommandResult, PlayerCommand};
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::input::Input;
use starmesh::entity::record::RecordHeader;
use starmesh::sim::{Command, UnitIds};
use starmesh::store::memory::Memory;

use super::{LEDGER, Node};
use starmesh::base::UnitId;
use starmesh::cluster::core::table::Release;

/// Has the table take the next `times` records of the sector for other ones.
fn tamper_with(node: &mut Node, times: u32, tamper: impl Fn(&mut Committed) + 'static) {
    let sector = node.sector();
    let left = Arc::new(AtomicU32::new(times));
    node.tamper = Some(Box::new(move |record| {
        if record.entity == sector && left.load(Ordering::Relaxed) > 0 {
            left.fetch_sub(1, Ordering::Relaxed);
            tamper(record);
        }
    }));
}

fn stop(node: &Node, player: u64, sequence: u32) -> PlayerCommand {
    let units = UnitIds::new(vec![UnitId(1)]).unwrap();
    let session = node.session(player).unwrap();
    PlayerCommand { player: PlayerId(player), session, sequence, command: Command::Stop { units } }
}

/// Sends a command until it is answered; what became of it.
fn command(node: &mut Node, sequence: u32) -> CommandResult {
    let sector = node.sector();
    let command = stop(node, 1, sequence);
    for _ in 0..100 {
        let _ = node.table.admit(sector, command.clone());
        node.pump();
        node.run(200);
        let answer = node.released.iter().rev().find_map(|release| match release {
            Release::Player(PlayerEffect::Answered(answer)) if answer.sequence == sequence => {
                Some(answer.result.clone())
            }
            _ => None,
        });
        if let Some(result) = answer {
            return result;
        }
    }
    panic!("command {sequence} was never answered");
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
        let done = command(&mut node, 1);
        tamper_with(&mut node, 1, tamper);
        assert_eq!(command(&mut node, 2), done, "the command was in the journal");
        assert_eq!(node.table.counts().misfits, 1);
        assert!(node.unloadable.is_empty());
        assert_eq!(command(&mut node, 3), done);
        assert_eq!(node.table.counts().misfits, 1);
    }
}

#[test]
fn an_entity_that_no_record_fits_is_reported_and_left_alone() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    tamper_with(&mut node, u32::MAX, |record| record.header.sequence += 1);
    let (sector, stop) = (node.sector(), stop(&node, 1, 1));
    node.table.admit(sector, stop).unwrap();
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
    let mut bytes = Vec::new();
    starmesh::entity::record::encode_input(&Input::Close, &mut bytes);
    let late = FromTable::Submit { entity: LEDGER, generation: 1000, bytes };
    node.event(Event::FromTable(late));
    node.event(Event::FromTable(FromTable::Dropped { entity: LEDGER, generation: 1000 }));
    node.run(1000);
    let appended = |node: &Node| {
        let groups = node.commits[before..].iter().flat_map(|commit| &commit.groups);
        groups.filter_map(|group| group.append.as_ref()).any(|append| append.entity == LEDGER)
    };
    assert!(!appended(&node), "an input of another installation was journalled");

    // And the table: a record of a later installation is not for what is here.
    let entity = node.table.entity(LEDGER).unwrap().clone();
    let sequence = entity.head().sequence;
    let header =
        RecordHeader { sequence: sequence + 1, tick: entity.tick(), time: entity.head().time };
    let installed = Installed { entity, generation: 7, snapshot_bytes: 0, journal_bytes: 0 };
    node.table.handle(ToTable::Install(Box::new(installed)));
    let generation = 6;
    let (claim, inputs, bytes) = (None, 0, 10);
    let record = Committed { entity: LEDGER, generation, header, claim, inputs, bytes };
    node.table.handle(ToTable::Committed(vec![record]));
    assert_eq!(node.table.counts().misfits, 0);
    assert_eq!(node.table.entity(LEDGER).unwrap().head().sequence, sequence);
}
