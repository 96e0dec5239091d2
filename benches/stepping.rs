//! What it costs to step sectors: unit-steps per second on one core, from
//! 1,000 units to 1,000,000, and border crossings per second through entities
//! and their channels; and what it costs to tell neighbours who is near.
//!
//! `cargo bench --no-default-features --bench stepping -- [UNITS_MAX]`
//!
//! Each sector has 1,000 units in 1 km²: half fly straight on, 30 % get a new
//! course once a second, 10 % at every step, 10 % stand. One in five is in a
//! crowd of 50 m, one course in fifteen leads into the next. Times are CPU
//! times of the one thread that does all.

#[path = "stepping/crossings.rs"]
mod crossings;
#[path = "stepping/shadows.rs"]
mod shadows;

use std::collections::BTreeMap;
use std::time::Duration;

use starmesh::base::draw::draw;
use starmesh::base::geometry::SECTOR_STEPS;
use starmesh::base::{CompressedPosition, PlayerId, Position, SectorId, UnitId};
use starmesh::sim::rules::sample::{self, FIGHTER, FREIGHTER};
use starmesh::sim::{
    Changes, Command, Galaxy, Leaving, Rules, SectorState, Surroundings, Target, Traveller, Unit,
    UnitIds,
};

const OWNER: PlayerId = PlayerId(1);
/// Units of a sector at the start.
const EACH: u64 = 1_000;
/// The corner of the square of sectors, in the core: with stars and asteroids.
const CORNER: (i64, i64) = (5_000, 5_000);
/// Steps before those that count.
const WARM_UP: u64 = 10;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let units_max = args.next().map_or(10_000, |units| units.parse().expect("a number of units"));
    for crowded in [0, 200] {
        println!("{crowded} of 1,000 units in a crowd");
        println!("  units  sectors  unit-steps/s  ns a step  ns of orders  both, per s");
        let sizes = [1_000, 10_000, 100_000, 1_000_000];
        sizes.into_iter().filter(|n| *n <= units_max).for_each(|n| stepping(n, crowded));
    }
    crossings::run();
    shadows::run();
}

/// What this thread has computed so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.expect("Linux counts a thread's nanoseconds"))
}

/// Sectors in a square, with their units.
struct Square {
    rules: Rules,
    galaxy: Galaxy,
    sectors: BTreeMap<SectorId, SectorState>,
    step: u64,
    /// Of 1,000 units so many are in a crowd.
    crowded: u64,
    ordering: Duration,
    stepping: Duration,
}

fn stepping(units: u64, crowded: u64) {
    let mut square = Square::new(units, crowded);
    (0..WARM_UP).for_each(|_| square.advance());
    (square.ordering, square.stepping) = (Duration::ZERO, Duration::ZERO);
    let steps = (2_000_000 / units).clamp(10, 200);
    (0..steps).for_each(|_| square.advance());
    let found: usize = square.sectors.values().map(|sector| sector.units().len()).sum();
    assert_eq!(found as u64, units, "nobody is lost");
    let per = |time: Duration| time.as_nanos() as f64 / (units * steps) as f64;
    let (step, order) = (per(square.stepping), per(square.ordering));
    println!(
        "{units:>7} {:>8} {:>13.0} {step:>10.1} {order:>13.1} {:>12.0}",
        square.sectors.len(),
        1e9 / step,
        1e9 / (step + order)
    );
}

impl Square {
    fn new(units: u64, crowded: u64) -> Square {
        let galaxy = Galaxy::new(2026, Galaxy::SIDE).expect("the default is in range");
        let rules = sample::rules().expect("the sample is in range");
        let count = i64::try_from(units / EACH).expect("few");
        let side = (1..).find(|side| side * side >= count).expect("one");
        let mut square = Square {
            rules,
            galaxy,
            sectors: BTreeMap::new(),
            step: 0,
            crowded,
            ordering: Duration::ZERO,
            stepping: Duration::ZERO,
        };
        for n in 0..count {
            let id = SectorId::tactical(CORNER.0 + n % side, CORNER.1 + n / side);
            let mut sector = SectorState::new(id);
            for at in 0..EACH {
                let unit = unit(u64::try_from(n).expect("from 0") * EACH + at + 1, crowded);
                sector.insert(unit, &mut Changes::default());
            }
            square.sectors.insert(id, sector);
        }
        square
    }

    /// New courses, then a step of all, then those that crossed arrive.
    fn advance(&mut self) {
        let Square { rules, galaxy, sectors, step, crowded, .. } = self;
        let ids: Vec<SectorId> = sectors.keys().copied().collect();
        let open = |sector: SectorId| ids.binary_search(&sector).is_ok();
        let around = Surroundings { rules, galaxy, open: &open, step: *step };
        let mut orders = Vec::new();
        for (id, sector) in sectors.iter() {
            let turns = sector.units().iter().filter(|unit| turns(unit, *step));
            orders.extend(turns.map(|unit| (*id, order(unit, *id, &open, (*step, *crowded)))));
        }
        let made = cpu();
        for (id, command) in orders {
            let sector = sectors.get_mut(&id).expect("it has the unit");
            sector
                .apply_command(OWNER, &command, &around, &mut Changes::default())
                .expect("a course to a place near by");
        }
        let ordered = cpu();
        let mut leaving = Vec::new();
        for sector in sectors.values_mut() {
            sector.step(&around, &mut Changes::default(), &mut leaving);
        }
        let mut arriving: BTreeMap<SectorId, Vec<Traveller>> = BTreeMap::new();
        for Leaving { to, traveller } in leaving {
            arriving.entry(to).or_default().push(traveller);
        }
        for (to, travellers) in arriving {
            let sector = sectors.get_mut(&to).expect("only open ones");
            sector.admit(travellers, &around, &mut Changes::default());
        }
        self.step += 1;
        self.ordering += ordered - made;
        self.stepping += cpu() - ordered;
    }
}

fn random(what: &str, of: &[u64], below: u64) -> u64 {
    draw(3, what, of) % below
}

fn unit(id: u64, crowded: u64) -> Unit {
    let of = [id];
    let side = SECTOR_STEPS.unsigned_abs().into();
    // The crowd is in a square of 50 m.
    let crowded = random("crowd", &of, 1_000) < crowded;
    let axis = |what: &str| match crowded {
        true => 300_000 + random(what, &of, 52_429),
        false => random(what, &of, side),
    };
    let position = Position { x: axis("x") as i32, y: axis("y") as i32 };
    let kind = if random("type", &of, 2) == 0 { FIGHTER } else { FREIGHTER };
    Unit::new(UnitId(id), kind, OWNER, position)
}

/// Whether the unit gets a new course in this step, by its habit.
fn turns(unit: &Unit, step: u64) -> bool {
    match random("habit", &[unit.id.0], 10) {
        0..=4 => !unit.course.is_moving(),
        5..=7 => step == 0 || (step + unit.id.0).is_multiple_of(5),
        8 => true,
        _ => false,
    }
}

fn order(
    unit: &Unit,
    here: SectorId,
    open: &dyn Fn(SectorId) -> bool,
    (step, crowded): (u64, u64),
) -> Command {
    let of = [unit.id.0, step];
    let crowded = random("crowd", &[unit.id.0], 1_000) < crowded;
    let axis = |what: &str, p: i32| match crowded {
        true => 300_000 + random(what, &of, 52_429) as i32,
        // At least 250 m away.
        false => (p.rem_euclid(SECTOR_STEPS) + 262_144 + random(what, &of, 524_288) as i32)
            .rem_euclid(SECTOR_STEPS),
    };
    let position = Position { x: axis("to x", unit.position.x), y: axis("to y", unit.position.y) };
    let next = SectorId { x: here.x + 1 - random("next x", &of, 3) as i64, ..here };
    let leaves = random("leaves", &of, 10) == 0;
    let sector = if leaves && open(next) { next } else { here };
    let target = Target { sector, position: CompressedPosition::of(position, 0) };
    Command::go(UnitIds::new(vec![unit.id]).expect("one"), target)
}
