//! An entity that cannot be loaded is kept and does not run: the node takes
//! players all the same, counts it, and says so to whoever asks for it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use starmesh::actors::node::Node;
use starmesh::actors::ports::ToSession;
use starmesh::actors::rows::GroupAnswer;
use starmesh::base::{
    EntityKey, Incarnation, Millis, NodeId, PlayerId, Position, SectorId, StateHash, Tick, UnitId,
};
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::commands::CommandResult;
use starmesh::entity::commit::{Commit, Group, Put};
use starmesh::entity::context::Head;
use starmesh::entity::envelope::{Kind, seal};
use starmesh::entity::input::Connect;
use starmesh::entity::message::Body;
use starmesh::entity::parked::{Parked, resume_group};
use starmesh::entity::record::SnapshotHead;
use starmesh::entity::{World, keys};
use starmesh::sim::{Changes, SectorState, Surroundings, Traveller, Unit};
use starmesh::store::Store;

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

/// Puts a sector into the store that has a unit of which the player's ledger is to be
/// told; where it is `full`, the channel to that is numbered to the end, and its first
/// step overflows.
fn import(store: &Gated, world: &World, sector: SectorId, sequence: u64, tick: Tick, full: bool) {
    let entity = EntityKey::Sector(sector);
    let mut head = Head::default();
    // Not long ago, or the channel would be closed first.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    (head.sequence, head.tick, head.time) = (sequence, tick, Millis(u64::try_from(now).unwrap()));
    if full {
        let channel = (7_u64, u64::MAX, Vec::<(u64, Body)>::new(), head.time, false);
        let channels = vec![(world.ledger_of(PLAYER), channel)];
        let bytes = postcard::to_allocvec(&channels).unwrap();
        head.outbox = postcard::from_bytes(&bytes).unwrap();
    }
    let mut state = SectorState::new(sector);
    let World { rules, galaxy, .. } = world;
    let kind = rules.start()[0].0;
    let unit = Unit::new(UnitId(1 << 50), kind, PLAYER, Position { x: 9000, y: 9000 });
    let around = Surroundings { rules, galaxy, open: &|_| false, step: 5 };
    let travellers = vec![Traveller { unit, queue: Vec::new() }];
    state.admit(travellers, &around, &mut Changes::default());
    let mut payload = postcard::to_allocvec(&(entity, &head)).unwrap();
    let (told, stale, waiting) = ([(); 0].to_vec(), vec![PLAYER], [(); 0].to_vec());
    payload.extend(postcard::to_allocvec(&(told, stale, waiting)).unwrap());
    state.write(&mut payload);
    let bytes = seal(Kind::Snapshot, world.logic(), &payload);
    let (length, hash) = (bytes.len() as u64, StateHash::of(&bytes));
    let row = SnapshotHead { sequence, chunks: 1, bytes: length, hash };
    let chunk = Put { key: keys::chunk(entity, sequence, 0), value: Some(bytes) };
    let row = Put { key: keys::head(entity), value: Some(row.encode(world.logic())) };
    let commit = Commit {
        node: NodeId(1000 + sequence as u32),
        incarnation: Incarnation(1),
        number: 0,
        nonce: 7,
        tick: Tick(0),
        audit_root: [0; 32],
        groups: vec![Group { puts: vec![chunk, row], ..Group::default() }],
        is_last: false,
    };
    assert!(store.memory.commit(&commit).unwrap().refused.is_empty());
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), met).await.expect(what);
}

async fn resume(node: &Node, store: &Gated, entity: EntityKey) {
    let version = store.memory.get(&keys::parked(entity)).unwrap().unwrap().version;
    let group = resume_group(entity, version, NodeId(1));
    let answer = node.rows.commit_group(group).await.unwrap();
    assert!(matches!(answer, GroupAnswer::Accepted { .. }));
    node.entities.resume(entity);
}

#[actix::test]
async fn a_sector_that_panics_is_parked_others_go_on_and_when_it_is_mended_it_is_resumed() {
    let store = Arc::new(Gated::default());
    let mut node = start(store.clone()).await;
    let player = Player::new(&node, PLAYER);
    let first = player.connect(None).await;
    let home = first.presence[0].sector;
    let unit = player.look(home).await.units().next().unwrap().id;
    let sector = home.neighbour(9, 9).unwrap();
    let entity = EntityKey::Sector(sector);
    let world = node.entities.world.clone();
    import(&store, &world, sector, 7, Tick(10), true);

    let see = || node.entities.observe(player.connection, entity, watcher(PLAYER));
    let _ = see();
    until("it is parked", || node.entities.parked() == 1).await;
    assert_eq!(see(), Err(Unavailable::Parked));
    let row = store.memory.get(&keys::parked(entity)).unwrap().unwrap();
    let row = Parked::from_bytes(&row.value).unwrap();
    assert!(row.why.contains("step to tick"), "{}", row.why);
    let done = player.order(home, move_order(PLAYER, first.session, 1, unit, home)).await;
    assert!(matches!(done.result, CommandResult::Done(_)), "{done:?}");

    import(&store, &world, sector, row.sequence, row.tick, false);
    resume(&node, &store, entity).await;
    until("it is parked no more", || node.entities.parked() == 0).await;
    let other = node.entities.attach(entity, PLAYER, first.session);
    assert!(tokio::time::timeout(Duration::from_secs(60), other).await.unwrap().is_ok());
    assert!(node.deposed.take().unwrap().try_recv().is_err(), "the process went on");
    node.stop().await;
}
