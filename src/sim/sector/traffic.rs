//! Tests of many units together: that they avoid each other, come to rest, and
//! come to rest apart.

use proptest::prelude::*;

use super::SectorState;
use super::scenes::{ANNA, HERE, World, go, place, units};
use super::steering::TOUCH_STEPS;
use crate::base::fixed::length;
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{GalaxyPosition, Position, UnitId};
use crate::sim::galaxy::Circle;
use crate::sim::mesh::Mesh;
use crate::sim::rules::sample::{self, FIGHTER, FREIGHTER, TURRET};
use crate::sim::{
    Changes, Command, Course, Galaxy, Instruction, Order, Unit, UnitTypeId, Waypoint,
};

fn unit(id: u64, type_id: UnitTypeId, x: i32, y: i32) -> Unit {
    Unit::new(UnitId(id), type_id, ANNA, Position { x, y })
}

fn mesh(units: &[Unit]) -> Mesh {
    let galaxy = Galaxy::new(1, Galaxy::SIDE).unwrap();
    let mut mesh = Mesh::new(galaxy, sample::rules().unwrap());
    for unit in units {
        mesh.sector(HERE).insert(*unit, &mut Changes::default());
    }
    mesh
}

fn distance(a: Position, b: Position) -> i64 {
    let along = |a: i32, b: i32| i64::from(a) - i64::from(b);
    i64::try_from(length(along(a.x, b.x), along(a.y, b.y))).unwrap()
}

/// Steps until all are at rest.
fn settle(mesh: &mut Mesh) -> u64 {
    let start = mesh.steps;
    while !mesh.is_idle() {
        mesh.step();
        assert!(mesh.steps - start < 12_000, "still busy after 12,000 steps");
    }
    mesh.steps - start
}

/// The smallest distance of two units in one sector, of those that may move.
fn nearest(sector: &SectorState) -> i64 {
    let can_move = |unit: &&Unit| unit.type_id != TURRET;
    let units: Vec<&Unit> = sector.units().iter().filter(can_move).collect();
    let pairs = units.iter().enumerate().flat_map(|(n, a)| units[..n].iter().map(move |b| (a, b)));
    pairs.map(|(a, b)| distance(a.position, b.position)).min().unwrap_or(i64::MAX)
}

/// The smallest distance of units 1 and 2 on their way to where `targets` say.
fn passing(a: (i32, i32), to_a: (i32, i32), b: (i32, i32), to_b: (i32, i32), ids: [u64; 2]) -> i64 {
    let mut mesh = mesh(&[unit(ids[0], FIGHTER, a.0, a.1), unit(ids[1], FIGHTER, b.0, b.1)]);
    mesh.command(HERE, ANNA, &go(&[ids[0]], to_a.0, to_a.1)).unwrap();
    mesh.command(HERE, ANNA, &go(&[ids[1]], to_b.0, to_b.1)).unwrap();
    let mut least = i64::MAX;
    while !mesh.is_idle() {
        // Between two steps they may be nearer: look at a tenth of each.
        let before: Vec<Unit> = mesh.sectors[&HERE].units().to_vec();
        mesh.step();
        let after: Vec<Unit> = mesh.sectors[&HERE].units().to_vec();
        for part in 0..=10 {
            let at = |n: usize| {
                let part = |a: i32, b: i32| a + (b - a) / 10 * part;
                let (a, b) = (before[n].position, after[n].position);
                Position { x: part(a.x, b.x), y: part(a.y, b.y) }
            };
            least = least.min(distance(at(0), at(1)));
        }
    }
    let ends = mesh.sectors[&HERE].units();
    for (id, to) in ids.into_iter().zip([to_a, to_b]) {
        let end = ends.iter().find(|unit| unit.id.0 == id).unwrap().position;
        assert!(distance(end, Position { x: to.0, y: to.1 }) < 1_100, "{end:?}");
    }
    least
}

#[test]
fn two_that_meet_head_on_or_crosswise_pass_each_other_at_some_metres() {
    let (left, right) = ((100_000, 500_000), (900_000, 500_000));
    let (low, high) = ((500_000, 100_000), (500_000, 900_000));
    for first in 1..5 {
        for second in 5..9 {
            let head_on = passing(left, right, right, left, [first, second]);
            assert!(head_on > 4_194, "{head_on} steps, units {first} and {second}");
            let crosswise = passing(left, right, low, high, [first, second]);
            assert!(crosswise > 4_194, "{crosswise} steps, units {first} and {second}");
        }
    }
}

#[test]
fn one_that_flies_goes_around_one_that_stands() {
    for first in 1..5 {
        let mut mesh =
            mesh(&[unit(first, FIGHTER, 100_000, 500_000), unit(9, TURRET, 500_000, 500_000)]);
        mesh.command(HERE, ANNA, &go(&[first], 900_000, 500_000)).unwrap();
        let mut least = i64::MAX;
        while !mesh.is_idle() {
            mesh.step();
            let units = mesh.sectors[&HERE].units();
            least = least.min(distance(units[0].position, units[1].position));
        }
        assert!(least > 4_194, "{least} steps");
    }
}

#[test]
fn units_sent_to_one_place_one_by_one_come_to_rest_side_by_side() {
    let all: Vec<Unit> =
        (0..60).map(|n| unit(n + 1, FIGHTER, 200_000 + 9_000 * n as i32, 300_000)).collect();
    let mut mesh = mesh(&all);
    for id in 1..=60 {
        mesh.command(HERE, ANNA, &go(&[id], 600_000, 600_000)).unwrap();
    }
    let steps = settle(&mut mesh);
    let sector = &mesh.sectors[&HERE];
    assert!(nearest(sector) >= TOUCH_STEPS, "{} steps apart", nearest(sector));
    let far =
        sector.units().iter().map(|u| distance(u.position, Position { x: 600_000, y: 600_000 }));
    assert!(far.max().unwrap() < 80_000, "none is far off");
    assert!(steps < 500, "{steps} steps");
}

#[test]
fn units_put_on_one_spot_make_room_but_those_that_hold_or_cannot_move() {
    let mut all: Vec<Unit> = (1..=40).map(|id| unit(id, FREIGHTER, 500_000, 500_000)).collect();
    all[30].order = Order::Hold;
    all[20].type_id = TURRET;
    let mut mesh = mesh(&all);
    settle(&mut mesh);
    let sector = &mesh.sectors[&HERE];
    let here = Position { x: 500_000, y: 500_000 };
    let stayed: Vec<u64> =
        sector.units().iter().filter(|u| u.position == here).map(|u| u.id.0).collect();
    assert_eq!(stayed, [21, 31]);
    assert!(nearest(sector) >= TOUCH_STEPS);
}

#[test]
fn a_sector_without_room_comes_to_rest_all_the_same() {
    let all: Vec<Unit> = (1..=20_000_u64)
        .map(|id| {
            let at = |n: u64| ((id * n) % (1 << 20)) as i32;
            unit(id, FREIGHTER, at(7_919_777), at(104_729))
        })
        .collect();
    let mut mesh = mesh(&all);
    let steps = settle(&mut mesh);
    assert!(steps < 2_000, "{steps} steps");
}

#[test]
fn units_of_neighbouring_sectors_do_not_push_each_other() {
    let mut mesh = mesh(&[unit(1, FIGHTER, SECTOR_STEPS - 100, 500_000)]);
    let next = HERE.neighbour(1, 0).unwrap();
    mesh.sector(next).insert(unit(2, FIGHTER, 100, 500_000), &mut Changes::default());
    let before = mesh.sectors.clone();
    settle(&mut mesh);
    assert_eq!(mesh.sectors, before);
}

/// Steps `sector` to rest; how near unit 1 comes to the middle of each obstacle.
fn around(sector: &mut SectorState, obstacles: &[Circle]) -> Vec<i64> {
    let world = World::new();
    let mut least = vec![i64::MAX; obstacles.len()];
    for step in 0..5_000 {
        sector.step(&world.around(step), &mut Changes::default(), &mut Vec::new());
        let Some(unit) = sector.unit(UnitId(1)) else { break };
        for (least, obstacle) in least.iter_mut().zip(obstacles) {
            *least = (*least).min(distance(unit.position, obstacle.centre));
        }
    }
    assert!(sector.is_idle());
    least
}

#[test]
fn ships_fly_around_what_lies_in_the_way() {
    let obstacles = [
        Circle { centre: Position { x: 260_000, y: 250_000 }, radius: 180_000 },
        Circle { centre: Position { x: 800_000, y: 780_000 }, radius: 120_000 },
    ];
    for type_id in [FIGHTER, FREIGHTER] {
        for (from, to) in
            [((20_000, 20_000), (1_000_000, 1_020_000)), ((250_000, 30_000), (240_000, 600_000))]
        {
            let mut sector = SectorState::new(HERE);
            sector.set_obstacles(&obstacles);
            sector.insert(unit(1, type_id, from.0, from.1), &mut Changes::default());
            super::scenes::apply(&mut sector, ANNA, &go(&[1], to.0, to.1)).unwrap();
            let least = around(&mut sector, &obstacles);
            let end = sector.unit(UnitId(1)).unwrap().position;
            assert!(distance(end, Position { x: to.0, y: to.1 }) < 1_100);
            for (least, obstacle) in least.iter().zip(&obstacles) {
                assert!(*least > i64::from(obstacle.radius), "{least} of {}", obstacle.radius);
            }
        }
    }
}

#[test]
fn one_sent_into_an_obstacle_stands_beside_it() {
    let obstacle = Circle { centre: Position { x: 500_000, y: 500_000 }, radius: 100_000 };
    let mut sector = SectorState::new(HERE);
    sector.set_obstacles(&[obstacle]);
    sector.insert(unit(1, FIGHTER, 100_000, 100_000), &mut Changes::default());
    sector.insert(unit(2, FREIGHTER, 510_000, 500_000), &mut Changes::default());
    super::scenes::apply(&mut sector, ANNA, &go(&[1], 490_000, 490_000)).unwrap();
    around(&mut sector, &[obstacle]);
    for unit in sector.units() {
        let far = distance(unit.position, obstacle.centre);
        assert!((100_000..140_000).contains(&far), "{far}");
    }
}

/// A unit's place, type, and what it is told.
type Told = ((i32, i32), bool, Option<(i64, i64, i32, i32, bool)>);

fn told() -> impl Strategy<Value = Told> {
    // Crowded: a quarter of the sector, and places that come again.
    let axis = || (0..64).prop_map(|n| 100_000 + n * 5_000);
    let next = prop_oneof![5 => Just((0_i64, 0_i64)), 1 => (-1_i64..=1, -1_i64..=1)];
    let order = (next, axis(), axis(), any::<bool>())
        .prop_map(|((dx, dy), x, y, attack)| (dx, dy, x, y, attack));
    ((axis(), axis()), any::<bool>(), prop::option::weighted(0.7, order))
}

fn start(told: &[Told]) -> Mesh {
    let all: Vec<Unit> = (1..)
        .zip(told)
        .map(|(id, ((x, y), fast, _))| unit(id, if *fast { FIGHTER } else { FREIGHTER }, *x, *y))
        .collect();
    let mut mesh = mesh(&all);
    for (id, (_, _, order)) in (1..).zip(told) {
        let Some((dx, dy, x, y, attack)) = *order else { continue };
        let target = place(HERE.neighbour(dx, dy).unwrap(), x, y);
        let what =
            if attack { Instruction::AttackMove { target } } else { Instruction::Move { target } };
        mesh.command(HERE, ANNA, &Command::new(units(&[id]), what)).unwrap();
    }
    mesh
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_come_to_rest_apart(told in prop::collection::vec(told(), 1..160)) {
        let mut mesh = start(&told);
        settle(&mut mesh);
        for sector in mesh.sectors.values() {
            prop_assert!(nearest(sector) >= TOUCH_STEPS, "{} steps apart", nearest(sector));
            for unit in sector.units() {
                prop_assert_eq!((unit.order, unit.course), (Order::Idle, Course::STANDING));
            }
        }
    }

    /// Semantics of courses: they change at a unit's turn and by more than 3°,
    /// or where it stands.
    #[test]
    fn courses_change_at_most_every_fourth_step_and_by_more_than_3_degrees(
        told in prop::collection::vec(told(), 1..160),
    ) {
        let mut mesh = start(&told);
        let (world, here) = (World::new(), mesh.sectors.get_mut(&HERE).unwrap());
        for step in 0..200 {
            let before = here.units().to_vec();
            let (around, mut changes) = (world.around(step), Changes::default());
            here.steer(&around, &mut changes);
            for (old, new) in before.iter().zip(here.units()) {
                if (old.course, old.waypoint) == (new.course, new.waypoint) {
                    prop_assert!(!changes.changed.contains(&new.id));
                    continue;
                }
                prop_assert!(changes.changed.contains(&new.id));
                prop_assert_eq!((new.id.0 + step) % 4, 0, "{:?} {:?}", old, new);
                let turned = new.heading.wrapping_sub(old.heading).cast_signed().unsigned_abs();
                // A binary degree is 182; headings are off by one at most.
                prop_assert!(!old.course.is_moving() || turned >= 3 * 182 - 4, "{}", turned);
                let made = Course::to(old.position, new.waypoint.position(0), new.speed);
                prop_assert_eq!(new.course, made);
            }
            here.travel(&around, &mut changes, &mut Vec::new());
        }
    }
}

#[test]
fn a_unit_under_way_is_carried_by_its_waypoint_and_speed() {
    let mut mesh = mesh(&[unit(1, FIGHTER, 100_000, 500_000)]);
    mesh.command(HERE, ANNA, &go(&[1], 900_000, 500_000)).unwrap();
    let told = mesh.sectors[&HERE].units()[0];
    assert_eq!(told.waypoint, Waypoint::nearest(Position { x: 900_000, y: 500_000 }, 0));
    assert_eq!(
        told.order.target(),
        Some(GalaxyPosition::of(HERE, Position { x: 900_000, y: 500_000 }))
    );
    assert_eq!(told.course, Course::to(told.position, told.waypoint.position(0), told.speed));
}
