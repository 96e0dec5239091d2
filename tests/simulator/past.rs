//! Owns what happened before a run: a ledger that is starting more players in
//! one sector than a channel takes. A world of today never comes to that by
//! itself, for no two players start at one place.

use starmesh::base::{EntityKey, Incarnation, Millis, NodeId, PlayerId, StateHash, Tick};
use starmesh::entity::commit::{Commit, Group, Put};
use starmesh::entity::context::Head;
use starmesh::entity::envelope::{Kind, seal};
use starmesh::entity::kinds::ledger::Ledger;
use starmesh::entity::message::{Body, Request};
use starmesh::entity::record::SnapshotHead;
use starmesh::entity::{Entity, World, keys};
use starmesh::sim::rules::sample::FIGHTER;
use starmesh::store::Store;
use starmesh::store::memory::Memory;

/// Of the ledger's last record.
const SEQUENCE: u64 = 7;
/// The first of the players it is starting.
const FIRST: u64 = 5000;

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
    put(memory, world, ledger, &bytes);
    Entity::restore(ledger, &bytes).expect("a snapshot")
}

fn put(memory: &Memory, world: &World, key: EntityKey, bytes: &[u8]) {
    let hash = StateHash::of(bytes);
    let head = SnapshotHead { sequence: SEQUENCE, chunks: 1, bytes: bytes.len() as u64, hash };
    let chunk = Put { key: keys::chunk(key, SEQUENCE, 0), value: Some(bytes.to_vec()) };
    let head = Put { key: keys::head(key), value: Some(head.encode(world.logic())) };
    let group = Group { puts: vec![chunk, head], ..Group::default() };
    let commit = Commit {
        node: NodeId(99),
        incarnation: Incarnation(1),
        number: 0,
        nonce: 1,
        tick: Tick(0),
        audit_root: [0; 32],
        groups: vec![group],
    };
    let answer = memory.commit(&commit).expect("an empty store");
    assert!(answer.refused.is_empty(), "the past was refused");
}
