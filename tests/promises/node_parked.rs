//! An entity that cannot be loaded is kept and does not run: the node takes
//! players all the same, counts it, and says so to whoever asks for it.

use std::sync::Arc;

use starmesh::actors::ports::ToSession;
use starmesh::base::{EntityKey, PlayerId};
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::input::Connect;

use super::node_store::Gated;
use super::node_support::{Player, any_ticket, move_order, start, watcher};

const PLAYER: PlayerId = PlayerId(7);

#[actix::test]
async fn a_parked_sector_is_told_from_one_that_does_not_exist() {
    let store = Arc::new(Gated::default());
    let node = start(store.clone()).await;
    let player = Player::new(&node, PLAYER);
    let first = player.connect(None).await;
    let sector = first.presence[0].sector;
    let unit = player.look(sector).await.units().next().unwrap().id;
    node.stop().await;

    let entity = EntityKey::Sector(sector);
    *store.damaged.lock().unwrap() = Some(entity);
    let node = start(store.clone()).await;
    assert_eq!(node.entities.parked(), 1, "ready, and it is said that one is missing");
    let player = Player::new(&node, PLAYER);
    let session = player.connect(Some(first.session)).await.session;
    let connection = player.connection;
    let seen = node.entities.observe(connection, entity, watcher(PLAYER));
    assert_eq!(seen, Err(Unavailable::Parked));
    let attached = node.entities.attach(entity, PLAYER, session).await;
    assert_eq!(attached, Err(Unavailable::Parked));
    let nowhere = EntityKey::Sector(starmesh::base::SectorId::tactical(-1, 0));
    let seen = node.entities.observe(connection, nowhere, watcher(PLAYER));
    assert_eq!(seen, Err(Unavailable::NotHere));

    let command = move_order(PLAYER, session, 1, unit, sector);
    node.entities.command(connection, entity, any_ticket(), command);
    let why = player.port.wait_for(|message| match message {
        ToSession::Rejected { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(why.await, Unavailable::Parked);
    node.stop().await;
}

#[actix::test]
async fn what_panics_when_it_is_loaded_is_parked_and_ends_no_node() {
    let store = Arc::new(Gated::default());
    let node = start(store.clone()).await;
    let first = Player::new(&node, PLAYER).connect(None).await;
    node.stop().await;
    *store.poisoned.lock().unwrap() = Some(EntityKey::Sector(first.presence[0].sector));
    let mut node = start(store.clone()).await;
    assert_eq!(node.entities.parked(), 1);
    let player = Player::new(&node, PLAYER);
    assert_eq!(player.connect(Some(first.session)).await.session, first.session);
    assert!(node.deposed.take().unwrap().try_recv().is_err(), "it goes on");
    node.stop().await;
}

#[actix::test]
async fn a_connect_to_a_parked_ledger_is_told_at_once() {
    let store = Arc::new(Gated::default());
    let node = start(store.clone()).await;
    let ledger = node.entities.world.ledger_of(PLAYER);
    *store.damaged.lock().unwrap() = Some(ledger);
    let player = Player::new(&node, PLAYER);
    // This one finds out; whoever asks later is not even let in.
    player.ask(None);
    let parked = player.port.wait_for(|message| match message {
        ToSession::Parked { entity } => Some(*entity),
        _ => None,
    });
    assert_eq!(parked.await, ledger);
    let connect = Connect { player: PLAYER, connection: player.connection, resume: None };
    assert_eq!(node.entities.connect(connect), Err(Unavailable::Parked));
    node.stop().await;
}
