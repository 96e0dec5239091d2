//! A sector in which nothing happens hibernates, and comes back as it was when
//! somebody looks or commands; one without a record is left alone until
//! something comes for it.

use std::sync::Arc;
use std::time::Duration;

use starmesh::actors::node::Node;
use starmesh::actors::ports::ToSession;
use starmesh::base::{EntityKey, PlayerId, SectorId, SessionId, Tick, UnitId};
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::commands::CommandResult;
use starmesh::entity::keys;
use starmesh::store::Store;
use starmesh::store::memory::Memory;
use starmesh::view::CellsView;
use starmesh::view::fanout::Shown;

use super::node_support::{Player, any_ticket, move_order, start, start_with, watcher};

const PLAYER: PlayerId = PlayerId(7);
const QUIET: &str = "[engine]\nsector_quiet_s = 1\n";

/// Until no sector runs.
async fn all_quiet(node: &Node) {
    let quiet = async {
        while node.entity_counts().0 > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), quiet).await.expect("sectors hibernate");
}

fn is_asleep(store: &Memory, sector: SectorId) -> bool {
    store.get(&keys::summary(EntityKey::Sector(sector))).unwrap().is_some()
}

#[actix::test]
async fn a_quiet_sector_hibernates_and_wakes_as_it_was() {
    let store = Arc::new(Memory::default());
    let node = start_with(QUIET, store.clone()).await;
    let player = Player::new(&node, PLAYER);
    let connected = player.connect(None).await;
    let sector = connected.presence[0].sector;
    let before = player.look(sector).await;
    // Watched, it stays; a second would be enough.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!is_asleep(&store, sector));
    node.entities.unobserve(player.connection, EntityKey::Sector(sector));
    all_quiet(&node).await;
    assert!(is_asleep(&store, sector));

    // Who looks wakes it: the same units, at a later tick.
    let other = Player::new(&node, PLAYER);
    let after = other.look(sector).await;
    let units = |view: &CellsView| view.units().copied().collect::<Vec<_>>();
    assert_eq!(units(&after), units(&before));
    assert!(after.tick() > before.tick());
    assert!(!is_asleep(&store, sector));
    node.entities.unobserve(other.connection, EntityKey::Sector(sector));
    all_quiet(&node).await;

    // Who commands is told to come again, and then it is done once.
    let command =
        move_order(PLAYER, connected.session, 1, before.units().next().unwrap().id, sector);
    let entity = EntityKey::Sector(sector);
    node.entities.command(player.connection, entity, any_ticket(), command.clone());
    let why = player.port.wait_for(|message| match message {
        ToSession::Rejected { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(why.await, Unavailable::Busy);
    let answered = player.order(sector, command).await;
    assert!(matches!(answered.result, CommandResult::Done(_)), "{answered:?}");
    node.stop().await;
}

#[actix::test]
async fn a_hibernating_sector_is_not_loaded_at_the_start() {
    let store = Arc::new(Memory::default());
    let node = start_with(QUIET, store.clone()).await;
    let player = Player::new(&node, PLAYER);
    let sector = player.connect(None).await.presence[0].sector;
    all_quiet(&node).await;
    node.stop().await;
    let node = start(store.clone()).await;
    assert_eq!(node.entity_counts().0, 0);
    let player = Player::new(&node, PLAYER);
    assert_eq!(player.look(sector).await.units().count(), 8);
    node.stop().await;
}

#[actix::test]
async fn a_sector_without_a_record_is_not_claimed_to_be_seen() {
    let store = Arc::new(Memory::default());
    let node = start(store.clone()).await;
    let player = Player::new(&node, PLAYER);
    let settler = PlayerId(8);
    // The first player of that ledger begins there.
    let place = node.entities.world.galaxy.start_place(settler.0);
    let empty = player.look(place).await;
    assert_eq!((empty.units().count(), empty.tick()), (0, Some(0)));
    let outside = EntityKey::Sector(SectorId { x: -1, ..place });
    let nowhere = node.entities.observe(player.connection, outside, watcher(PLAYER));
    assert_eq!(nowhere, Err(Unavailable::NotHere));
    let command = move_order(PLAYER, SessionId(1), 1, UnitId(1), place);
    node.entities.command(player.connection, EntityKey::Sector(place), any_ticket(), command);
    let why = player.port.wait_for(|message| match message {
        ToSession::Rejected { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(why.await, Unavailable::NotHere);
    assert_eq!((node.entity_counts().0, node.entities.parked()), (0, 0), "none is claimed");

    // What comes for it reaches those who look already.
    let settler = Player::new(&node, settler);
    assert_eq!(settler.connect(None).await.presence[0].sector, place);
    let later = player.port.wait_for(|message| match message {
        ToSession::Shown(shown) => shown.iter().find_map(|shown| match shown {
            Shown::Packet(packet) if packet.tick > Tick(0) => Some(packet.keyframe),
            _ => None,
        }),
        _ => None,
    });
    assert!(later.await, "it begins with a keyframe");
    node.stop().await;
}
