//! An entity whose code does not come back: a sector with so many units on one spot that
//! a step of it takes longer than anybody waits. It ends three processes, each with the
//! code that says so; the fourth parks it and goes on. When there is less in it an
//! operator has it resumed.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use starmesh::actors::ending::STUCK_EXIT;
use starmesh::base::{
    EntityKey, Incarnation, Millis, PlayerId, Position, SectorId, StateHash, Tick, UnitId,
};
use starmesh::cluster::core::suspects::ATTEMPTS_MAX;
use starmesh::entity::commit::{Commit, Group, NodeRow, Put, VALUE_BYTES_MAX};
use starmesh::entity::context::Head;
use starmesh::entity::envelope::{Kind, seal};
use starmesh::entity::parked::Parked;
use starmesh::entity::record::SnapshotHead;
use starmesh::entity::{World, keys};
use starmesh::sim::{Changes, SectorState, Surroundings, Traveller, Unit};
use starmesh::store::Store;
use starmesh::store::recovery::{attempts, cluster, parked};
use starmesh::store::sled::{Options, Sled};

use crate::operator::{OPERATOR, Operator};
use crate::support::{Home, metric, pause, wait_for};

/// A step looks at each pair of those that are near.
const CROWD: u64 = 80_000;
const PLAYER: PlayerId = PlayerId(1 << 40);
const PARKED: &str = "starmesh_entity_parked_count";

fn open(data: &Path) -> Sled {
    Sled::open(&data.join("store"), Options::default()).expect("the store opens")
}

/// The bytes of a snapshot of the sector with so many units on one spot.
fn snapshot(world: &World, (sequence, tick): (u64, Tick), units: u64) -> Vec<u8> {
    let sector = crowded(world);
    let World { rules, galaxy, .. } = world;
    let mut head = Head::default();
    (head.sequence, head.tick, head.time) = (sequence, tick, Millis(1));
    let kind = rules.start()[0].0;
    let unit = |n| Traveller {
        unit: Unit::new(UnitId((1 << 50) + n), kind, PLAYER, Position { x: 9000, y: 9000 }),
        queue: Vec::new(),
    };
    let around = Surroundings { rules, galaxy, open: &|_| false, step: 5 };
    let mut state = SectorState::new(sector);
    state.admit((0..units).map(unit).collect(), &around, &mut Changes::default());
    let entity = EntityKey::Sector(sector);
    let mut payload = postcard::to_allocvec(&(entity, &head)).expect("a head");
    let (told, stale, waiting) = ([(); 0].to_vec(), [(); 0].to_vec(), [(); 0].to_vec());
    payload.extend(postcard::to_allocvec(&(told, stale, waiting)).expect("a book"));
    state.write(&mut payload);
    seal(Kind::Snapshot, world.logic(), &payload)
}

/// Where no player has begun yet.
fn crowded(world: &World) -> SectorId {
    world.galaxy.start_place(5_000)
}

/// Puts the sector into what a stopped node kept, as that node's next incarnation.
fn import(data: &Path, (sequence, tick): (u64, Tick), units: u64) -> SectorId {
    let store = open(data);
    let world = store.get(keys::WORLD).expect("the store answers").expect("a galaxy");
    let world = World::from_bytes(&world.value).expect("a world");
    let (sector, bytes) = (crowded(&world), snapshot(&world, (sequence, tick), units));
    let entity = EntityKey::Sector(sector);
    let (length, hash) = (bytes.len() as u64, StateHash::of(&bytes));
    let chunks: Vec<Vec<u8>> = bytes.chunks(VALUE_BYTES_MAX).map(<[u8]>::to_vec).collect();
    let count = u32::try_from(chunks.len()).expect("some");
    let head = SnapshotHead { sequence, chunks: count, bytes: length, hash };
    let put = |key, value| Put { key, value: Some(value) };
    let chunk = |(n, value)| put(keys::chunk(entity, sequence, n), value);
    let read = cluster(&store, 0).expect("the store answers").rows.remove(0);
    let last = [
        put(keys::head(entity), head.encode(world.logic())),
        put(keys::owned(read.node, entity), Vec::new()),
    ];
    let groups = (0..).zip(chunks).map(chunk).map(|put| vec![put]).chain([last.to_vec()]);
    let NodeRow { incarnation, nonce, tick, audit_root, .. } = read.row;
    let commit = Commit {
        node: read.node,
        incarnation: Incarnation(incarnation.0 + 1),
        number: 0,
        nonce: nonce + 1,
        tick,
        is_last: false,
        audit_root,
        groups: groups.map(|puts| Group { puts, ..Group::default() }).collect(),
    };
    let committed = store.commit(&commit).expect("the store takes it");
    assert!(committed.refused.is_empty(), "{committed:?}");
    sector
}

/// Why it is parked in what a stopped node kept.
fn parked_row(data: &Path) -> Option<Parked> {
    let rows = parked(&open(data), None).expect("the store answers");
    rows.into_iter().map(|(_, _, row)| row).next()
}

#[test]
fn what_does_not_come_back_ends_three_processes_is_parked_and_resumed_when_it_is_mended() {
    let mut home = Home::new().with("PLAYERS__ADMINS", &format!("['{OPERATOR}']"));
    home.set("ENGINE__SECTOR_QUIET_S", "3600");
    let node = home.start();
    let operator = Operator::register(&home);
    assert!(node.terminate().0.success(), "{}", home.log());
    let sector = import(home.data(), (7, Tick(10)), CROWD);

    for times in 1..=ATTEMPTS_MAX {
        let code = home.spawn().wait().code();
        assert_eq!(code, Some(i32::from(STUCK_EXIT)), "end {times}: {}", home.log());
        let said = home.log();
        assert_eq!(said.matches("the process ends, and who starts next").count(), times, "{said}");
        assert!(said.contains(&format!("it works on sector {sector}")), "{said}");
    }

    let mut node = home.start();
    let target = home.target();
    wait_for("it is parked", || metric(&target, PARKED).filter(|count| *count > 0.5));
    let told = operator.ask(&home, &["parked"]);
    assert_eq!(told["entities"][0]["entity"], format!("sector:{sector}"), "{told}");
    let why = told["entities"][0]["why"].as_str().expect("a reason");
    assert!(why.contains("ended 3 processes"), "{told}");
    // What stood still is not stuck.
    node.signal(Signal::STOP);
    pause(Duration::from_secs(4));
    node.signal(Signal::CONT);
    let tick = || metric(&target, "starmesh_node_tick_count");
    let before = wait_for("it answers", tick);
    wait_for("time goes on", || tick().filter(|now| *now > before));
    assert!(node.ended().is_none(), "{}", home.log());
    assert!(node.terminate().0.success(), "{}", home.log());

    let row = parked_row(home.data()).expect("it is parked");
    assert_eq!(attempts(&open(home.data())).expect("it answers"), []);
    import(home.data(), (row.sequence, row.tick), 3);
    let node = home.start();
    let target = home.target();
    operator.call(&home, &["resume", &format!("sector:{sector}")]);
    wait_for("it runs", || {
        let told = operator.ask(&home, &["entity", &format!("sector:{sector}")]);
        told["runsAt"].as_array().filter(|at| !at.is_empty()).map(|_| ())
    });
    assert_eq!(metric(&target, PARKED), Some(0.0));
    assert_eq!(operator.ask(&home, &["parked"])["entities"], serde_json::json!([]));
    assert!(node.terminate().0.success(), "{}", home.log());
    assert_eq!(parked_row(home.data()), None);
}
