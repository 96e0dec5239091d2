//! A sector that changes its thread again and again does so unseen: whoever
//! commands it is answered each time, whoever watches misses nothing, and its
//! journal is one.

use std::sync::Arc;
use std::time::Duration;

use starmesh::actors::node::Node;
use starmesh::actors::ports::ToSession;
use starmesh::base::{CompressedPosition, EntityKey, PlayerId, SectorId, Tick, UnitId};
use starmesh::entity::commands::{CommandAnswer, CommandResult, PlayerCommand};
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::input::Input;
use starmesh::entity::record::decode_record;
use starmesh::entity::replay::replay;
use starmesh::protocol::CodecKind;
use starmesh::sim::{Command, Target, UnitIds};
use starmesh::store::memory::Memory;
use starmesh::store::recovery;
use starmesh::view::fanout::{Packet, Shown};
use starmesh::view::{Applied, CellsView};

use super::node_support::{Player, attach, start_with};

const PLAYER: PlayerId = PlayerId(7);
const THREADS: &str = "[engine]\narbiters = 2\nhot_threads = 1\n";

fn answers(message: &ToSession) -> Vec<CommandAnswer> {
    match message {
        ToSession::Player(PlayerEffect::Answered(answer)) => vec![answer.clone()],
        _ => Vec::new(),
    }
}

fn packets(message: &ToSession) -> Vec<Packet> {
    let ToSession::Shown(shown) = message else { return Vec::new() };
    let packet = |shown: &Shown| match shown {
        Shown::Packet(packet) => Some(packet.clone()),
        // A busy machine may slow it down.
        Shown::Pace { .. } => None,
        Shown::Gone(sector) => panic!("{sector} is said to be gone"),
    };
    shown.iter().filter_map(packet).collect()
}

/// Sends `command` until it is answered, as a client and its session do that are
/// told that the sector is busy, or to attach again.
async fn order(node: &Node, player: &Player<'_>, sector: SectorId, command: &PlayerCommand) {
    let entity = EntityKey::Sector(sector);
    let mut sent = 0;
    loop {
        let ticket = attach(node, entity, command.player, command.session).await;
        node.entities.command(player.connection, entity, ticket, command.clone());
        sent += 1;
        let outcome = |message: &ToSession| match message {
            ToSession::Player(PlayerEffect::Answered(answer)) => {
                (answer.sequence == command.sequence).then_some(true)
            }
            _ => None,
        };
        let rejected = |message: &ToSession| match message {
            ToSession::Rejected { sequence, .. } if *sequence == command.sequence => vec![()],
            _ => Vec::new(),
        };
        let settled = async {
            while !player.port.has(|m| outcome(m).map(|_| ()))
                && player.port.all(rejected).len() < sent
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), settled).await.expect("it is answered");
        if player.port.has(|m| outcome(m).map(|_| ())) {
            return;
        }
    }
}

/// Ticks of the hashes in the sector's journal.
fn hashes(store: &Memory, sector: SectorId) -> Vec<Tick> {
    let image = recovery::image(store, EntityKey::Sector(sector)).unwrap();
    let records = image.records.iter().map(|(_, bytes)| decode_record(bytes).unwrap().1);
    let inputs = records.flat_map(|record| record.inputs);
    let hash = |input: Input| match input {
        Input::Hash { tick, .. } => Some(tick),
        _ => None,
    };
    inputs.filter_map(hash).collect()
}

#[actix::test]
async fn a_sector_changes_its_thread_unseen() {
    let store = Arc::new(Memory::default());
    let node = start_with(THREADS, store.clone()).await;
    let player = Player::new(&node, PLAYER);
    let connected = player.connect(None).await;
    let sector = connected.presence[0].sector;
    let units: Vec<UnitId> = player.look(sector).await.units().map(|unit| unit.id).collect();
    assert_eq!(units.len(), 8);

    let mut sequence = 0;
    let (mut first_hash, mut given) = (None, None);
    // Until its hash was journalled after it had moved often.
    loop {
        let moves = node.summary().core.moves;
        let newest = hashes(&store, sector).last().copied();
        if moves < 20 {
            first_hash = newest;
        } else if newest > first_hash {
            break;
        }
        sequence += 1;
        assert!(sequence < 2000, "{moves} moves, hashes at {newest:?}");
        node.move_sector(sector, [2, 0, 2, 1, 0, 1][sequence as usize % 6]);
        // So slowly that the journal needs no snapshot: it is looked at below.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let at = (sequence % 7 + 1) << 28;
        let target = Target { sector, position: CompressedPosition { x: at, y: 1 << 30 } };
        let ids = UnitIds::new(vec![units[sequence as usize % units.len()]]).unwrap();
        let (session, command) = (connected.session, Command::go(ids, target));
        let command = PlayerCommand { player: PLAYER, session, sequence, command };
        order(&node, &player, sector, &command).await;
        given = Some(command);
    }

    // Each command was answered once, by a sector whose ticks go on.
    let answered = player.port.all(answers);
    let sequences: Vec<u32> = answered.iter().map(|answer| answer.sequence).collect();
    assert_eq!(sequences, (1..=sequence).collect::<Vec<_>>());
    assert!(answered.iter().all(|answer| matches!(answer.result, CommandResult::Done(_))));
    assert!(answered.is_sorted_by_key(|answer| (answer.tick, answer.record)));

    // Who watched all the time has every step, or a keyframe behind a move.
    let mut view = CellsView::default();
    let mut last = None;
    for packet in player.port.all(packets) {
        assert_eq!(packet.sector, sector);
        let later = last.is_none_or(|(tick, _)| packet.tick > tick);
        let same = last.is_some_and(|(tick, _)| packet.tick == tick && packet.keyframe);
        assert!(later || same, "{:?} after {last:?}", packet.tick);
        last = Some((packet.tick, packet.keyframe));
        let (header, told) = CodecKind::default().codec().decode_packet(&packet.bytes).unwrap();
        let applied = view.handle(header.tick, &told);
        assert!(matches!(applied, Applied::At(_)), "{applied:?} at {:?}", packet.tick);
    }
    assert_eq!(view.units().count(), units.len());
    node.stop().await;

    // One journal, from which another node goes on.
    let entity = EntityKey::Sector(sector);
    let node = start_with(THREADS, store.clone()).await;
    let replayed = replay(entity, &recovery::image(&*store, entity).unwrap(), &node.entities.world);
    assert_eq!(replayed.unwrap().mismatches, []);
    let again = Player::new(&node, PLAYER);
    assert!(again.connect(Some(connected.session)).await.resumed);
    let repeated = again.order(sector, given.unwrap()).await;
    assert_eq!(Some(&repeated), answered.last(), "it is answered, not carried out again");
    let after = again.look(sector).await;
    let mut ids: Vec<UnitId> = after.units().map(|unit| unit.id).collect();
    ids.sort_unstable();
    let mut units = units;
    units.sort_unstable();
    assert_eq!(ids, units);
    node.stop().await;
}
