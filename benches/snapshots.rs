//! What the second form of a snapshot costs and saves: a sector of so many ships, its
//! canonical bytes, those that are stored, and the time of what lies on the way from
//! the state to the store and back. Of each time the shortest of many rounds, in which
//! nothing else came between.
//!
//! `cargo bench --no-default-features --bench snapshots -- [UNITS]`

use std::time::{Duration, Instant};

use starmesh::base::draw::draw;
use starmesh::base::geometry::SECTOR_STEPS;
use starmesh::base::{
    CompressedPosition, EntityKey, Millis, PlayerId, Position, SectorId, StateHash, Tick, UnitId,
};
use starmesh::entity::Entity;
use starmesh::entity::context::Head;
use starmesh::entity::envelope::{Kind, Logic, seal};
use starmesh::entity::packed::{SINCE, pack, unpack};
use starmesh::sim::rules::sample::{self, FIGHTER, FREIGHTER};
use starmesh::sim::{Changes, Command, Galaxy, SectorState, Surroundings, Target, Unit, UnitIds};

const HERE: SectorId = SectorId::tactical(5_000, 5_000);
const ROUNDS: usize = 50;
/// A command names at most so many.
const FLEET: usize = 256;
/// Owners of the ships.
const PLAYERS: u64 = 100;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let units = args.next().map_or(10_000, |units| units.parse().expect("a number of units"));
    println!("{units} ships: bytes, and us");
    for (what, moving) in [("at rest", 0), ("half of them on their way", 500), ("all", 1_000)] {
        measure(what, &sector(units, moving));
    }
}

fn measure(what: &str, entity: &Entity) {
    let logic = Logic::default();
    let canonical = entity.snapshot_of(logic);
    let stored = pack(canonical.clone(), SINCE);
    assert_eq!(unpack(&stored).expect("it was packed"), canonical);
    let (plain, packed) = (canonical.len(), stored.len());
    println!("{what}: {plain} B, stored {packed} B ({:.2})", packed as f64 / plain as f64);
    let show = |what, took: Duration| println!("  {what:<34}{:>8.0}", took.as_secs_f64() * 1e6);
    show("state to canonical bytes", shortest(|| entity.snapshot_of(logic)));
    show("their hash", shortest(|| StateHash::of(&canonical)));
    show("to copy them", shortest(|| canonical.clone()));
    show("to deflate them, copied", shortest(|| pack(canonical.clone(), SINCE)));
    show("to inflate them", shortest(|| unpack(&stored).expect("it was packed").into_owned()));
    let key = entity.key();
    show("canonical bytes to state", shortest(|| Entity::restore(key, &canonical)));
}

fn shortest<T>(mut run: impl FnMut() -> T) -> Duration {
    let once = |_| {
        let began = Instant::now();
        let made = std::hint::black_box(run());
        let took = began.elapsed();
        drop(made);
        took
    };
    (0..ROUNDS).map(once).min().expect("some rounds")
}

fn random(what: &str, of: u64, below: u64) -> u64 {
    draw(3, what, &[of]) % below
}

fn place(what: &str, of: u64) -> Position {
    let side = SECTOR_STEPS.unsigned_abs().into();
    let axis = |axis: u64| random(what, 2 * of + axis, side) as i32;
    Position { x: axis(0), y: axis(1) }
}

/// A sector of so many ships, of which so many of 1,000 fly in fleets.
fn sector(units: u64, moving: u64) -> Entity {
    let galaxy = Galaxy::new(2026, Galaxy::SIDE).expect("the default is in range");
    let rules = sample::rules().expect("the sample is in range");
    let open = |_: SectorId| false;
    let around = |step| Surroundings { rules: &rules, galaxy: &galaxy, open: &open, step };
    let mut state = SectorState::new(HERE);
    for id in 1..=units {
        let kind = if random("type", id, 2) == 0 { FIGHTER } else { FREIGHTER };
        let owner = PlayerId(1 + id * PLAYERS / (units + 1));
        let unit = Unit::new(UnitId(id), kind, owner, place("from", id));
        state.insert(unit, &mut Changes::default());
    }
    for player in (1..=PLAYERS).map(PlayerId) {
        let its = state.units().iter().filter(|unit| unit.owner == player);
        let flies = |id: &UnitId| random("flies", id.0, 1_000) < moving;
        let its: Vec<UnitId> = its.map(|unit| unit.id).filter(flies).collect();
        for fleet in its.chunks(FLEET) {
            let position = CompressedPosition::of(place("to", fleet[0].0), 0);
            let target = Target { sector: HERE, position };
            let command = Command::go(UnitIds::new(fleet.to_vec()).expect("some"), target);
            state
                .apply_command(player, &command, &around(0), &mut Changes::default())
                .expect("a place in the sector");
        }
    }
    for step in 1..=10 {
        state.step(&around(step), &mut Changes::default(), &mut Vec::new());
    }
    let (key, mut head) = (EntityKey::Sector(HERE), Head::default());
    (head.sequence, head.tick, head.time) = (300, Tick(70_000), Millis(1 << 40));
    let nothing: [(); 0] = [];
    let mut payload = postcard::to_allocvec(&(key, &head)).expect("a head");
    // What ledgers were told, whom they are to be told of, foundings that wait.
    let book = (nothing.to_vec(), nothing.to_vec(), nothing.to_vec());
    payload.extend(postcard::to_allocvec(&book).expect("a book"));
    state.write(&mut payload);
    let bytes = seal(Kind::Snapshot, Logic::default(), &payload);
    Entity::restore(key, &bytes).expect("a snapshot")
}
