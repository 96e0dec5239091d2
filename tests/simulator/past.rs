//! Owns what happened before a run and is too rare to wait for in one: a ledger
//! that is starting more players in one sector than a channel takes, which a
//! world of today never comes to by itself, for no two players start at one
//! place; and a sector out of which more units go than the channel takes.

use starmesh::base::geometry::SECTOR_STEPS;
use starmesh::base::{
    EntityKey, GalaxyPosition, Incarnation, Millis, NodeId, PlayerId, Position, StateHash, Tick,
    UnitId,
};
use starmesh::entity::channel::WAITING_MAX;
use starmesh::entity::commit::{Commit, Group, Put};
use starmesh::entity::context::Head;
use starmesh::entity::envelope::{Kind, seal};
use starmesh::entity::kinds::ledger::Ledger;
use starmesh::entity::message::{Body, Notice, Request};
use starmesh::entity::record::SnapshotHead;
use starmesh::entity::{Entity, World, keys};
use starmesh::sim::rules::sample::FIGHTER;
use starmesh::sim::{Changes, Order, SectorState, Surroundings, Traveller, Unit};
use starmesh::store::Store;
use starmesh::store::memory::Memory;

/// Of the ledger's last record.
const SEQUENCE: u64 = 7;
/// The first of the players it is starting.
const FIRST: u64 = 5000;
/// Ids that no block of a run has.
const FIRST_UNIT: u64 = 1 << 50;
/// Units right before the border.
const HELD: i32 = 6;

/// Puts into `memory` the ledger of `player`, which is starting `settlers`
/// players where that player will start; the ledger.
pub fn import(
    memory: &Memory,
    world: &World,
    player: PlayerId,
    settlers: u64,
    now: Millis,
) -> Entity {
    let ledger = world.ledger_of(player);
    let EntityKey::Ledger(shard) = ledger else { panic!("{ledger} is no ledger") };
    let place = EntityKey::Sector(world.galaxy.start_place(shard));
    let mut head = Head::default();
    (head.sequence, head.tick, head.time) = (SEQUENCE, Tick(9), now);
    for settler in 0..settlers {
        head.last_request += 1;
        let id = head.last_request;
        head.open_requests.insert(id, place);
        let player = PlayerId(FIRST + settler);
        let body =
            Body::Request { id, request: Request::Found { player, units: vec![(FIGHTER, 1)] } };
        if head.outbox.send(ledger, place, SEQUENCE, now, body.clone()).is_err() {
            head.backlog.entry(place).or_default().push_back(body);
        }
    }
    let mut payload = postcard::to_allocvec(&(ledger, &head)).expect("a head");
    payload.extend(postcard::to_allocvec(&Ledger::default()).expect("a ledger"));
    let bytes = seal(Kind::Snapshot, world.logic(), &payload);
    put(memory, NodeId(99), world, ledger, &bytes);
    Entity::restore(ledger, &bytes).expect("a snapshot")
}

/// Puts into `memory` the sector where `player` will start, from which as many
/// messages with a unit each are on their way over its eastern border as a
/// channel takes. Some have gone too far and are passed on, back to where they
/// came from. More units are right before the border. The sector.
pub fn caravan(memory: &Memory, world: &World, player: PlayerId, now: Millis) -> Entity {
    let EntityKey::Ledger(shard) = world.ledger_of(player) else { panic!("no ledger") };
    let here = world.galaxy.start_place(shard);
    let there = here.neighbour(1, 0).expect("it is far from the edge");
    let (key, to) = (EntityKey::Sector(here), EntityKey::Sector(there));
    let mut head = Head::default();
    (head.sequence, head.tick, head.time) = (SEQUENCE, Tick(10), now);
    let mut ids = (FIRST_UNIT..).map(UnitId);
    let mut unit = |x: i32, row: i32| {
        let position = Position { x, y: row * 16_000 };
        let mut unit = Unit::new(ids.next().expect("an id"), FIGHTER, player, position);
        unit.speed = world.rules.unit_type(FIGHTER).expect("a fighter").speed.expect("it moves");
        unit
    };
    for row in 0..WAITING_MAX as i32 {
        let mut unit = unit(if row % 8 == 0 { -6_000 } else { 6_000 + 8_000 * (row % 3) }, row);
        unit.hops = 1;
        let travellers = vec![Traveller { unit, queue: Vec::new() }];
        let body = Body::Notice(Notice::Units { travellers });
        head.outbox.send(key, to, SEQUENCE, now, body).expect("there is room");
    }
    let travellers = (0..HELD).map(|row| {
        let mut unit = unit(SECTOR_STEPS - 30_000, row);
        let target = Position { x: 300_000, y: row * 16_000 };
        unit.order = Order::Move { to: GalaxyPosition::of(there, target) };
        Traveller { unit, queue: Vec::new() }
    });
    let mut state = SectorState::new(here);
    let World { rules, galaxy, .. } = world;
    let around = Surroundings { rules, galaxy, open: &|_| false, step: 5 };
    state.admit(travellers.collect(), &around, &mut Changes::default());
    // What ledgers were told: nothing; whom they are to be told of; foundings
    // that wait: none.
    let (told, stale, waiting) = ([(); 0].to_vec(), vec![player], [(); 0].to_vec());
    let mut payload = postcard::to_allocvec(&(key, &head)).expect("a head");
    payload.extend(postcard::to_allocvec(&(told, stale, waiting)).expect("a book"));
    state.write(&mut payload);
    let bytes = seal(Kind::Snapshot, world.logic(), &payload);
    put(memory, NodeId(98), world, key, &bytes);
    Entity::restore(key, &bytes).expect("a snapshot")
}

fn put(memory: &Memory, node: NodeId, world: &World, key: EntityKey, bytes: &[u8]) {
    let hash = StateHash::of(bytes);
    let head = SnapshotHead { sequence: SEQUENCE, chunks: 1, bytes: bytes.len() as u64, hash };
    let chunk = Put { key: keys::chunk(key, SEQUENCE, 0), value: Some(bytes.to_vec()) };
    let head = Put { key: keys::head(key), value: Some(head.encode(world.logic())) };
    let group = Group { puts: vec![chunk, head], ..Group::default() };
    let commit = Commit {
        node,
        incarnation: Incarnation(1),
        number: 0,
        nonce: 1,
        tick: Tick(0),
        audit_root: [0; 32],
        groups: vec![group],
        is_last: false,
    };
    let answer = memory.commit(&commit).expect("an empty store");
    assert!(answer.refused.is_empty(), "the past was refused");
}
