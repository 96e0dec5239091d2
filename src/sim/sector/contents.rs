//! Tests of units among what a galaxy was made with: that they go around it,
//! come to rest beside it, and get out of it wherever they came in.

use proptest::prelude::*;

use super::obstacles::covers;
use super::scenes::{ANNA, place, units};
use crate::base::fixed::length;
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{GalaxyPosition, Position, SectorId, UnitId};
use crate::sim::galaxy;
use crate::sim::mesh::Mesh;
use crate::sim::rules::sample::{self, FIGHTER, FREIGHTER};
use crate::sim::{Changes, Command, Galaxy, Instruction, Order, Unit};

/// As much in the way as there may be.
fn crowded() -> Mesh {
    Mesh::new(galaxy::crowded(7), sample::rules().unwrap())
}

fn distance(a: GalaxyPosition, b: GalaxyPosition) -> u64 {
    length(a.x - b.x, a.y - b.y)
}

fn is_inside(mesh: &Mesh, sector: SectorId, position: Position) -> bool {
    covers(&mesh.galaxy.obstacles(sector), position)
}

/// Whether an obstacle is within 12 m of two borders.
fn walls_off_a_corner(galaxy: &Galaxy, sector: SectorId) -> bool {
    galaxy.obstacles(sector).iter().any(|circle| {
        let Position { x, y } = circle.centre;
        let near = |v: i32| v.min(SECTOR_STEPS - 1 - v) < circle.radius + 12_582;
        near(x) && near(y)
    })
}

/// Steps until all are at rest.
fn settle(mesh: &mut Mesh) {
    while !mesh.is_idle() {
        mesh.step();
        assert!(mesh.steps < 6_000, "still busy after 6,000 steps");
    }
}

fn position() -> impl Strategy<Value = Position> {
    // Often on a border, where obstacles of neighbours may be near.
    let edges = prop::sample::select(vec![0, 1, 5_000, SECTOR_STEPS - 1]);
    let axis = || prop_oneof![4 => 0..SECTOR_STEPS, 1 => edges.clone()];
    (axis(), axis()).prop_map(|(x, y)| Position { x, y })
}

fn sector() -> impl Strategy<Value = SectorId> {
    (1..510_i64, 1..510_i64).prop_map(|(x, y)| SectorId::tactical(x, y))
}

/// Where a unit is, its type, and where it is sent: a sector beside its own,
/// a place there, and how.
type Told = (Position, bool, (i64, i64), Position, u8);

fn told() -> impl Strategy<Value = Told> {
    let next = prop_oneof![1 => Just((0, 0)), 1 => (-1_i64..=1, -1_i64..=1)];
    (position(), any::<bool>(), next, position(), 0..4_u8)
}

fn start(here: SectorId, told: &[Told]) -> Mesh {
    let mut mesh = crowded();
    for (id, (position, fast, ..)) in (1..).zip(told) {
        let kind = if *fast { FIGHTER } else { FREIGHTER };
        let unit = Unit::new(UnitId(id), kind, ANNA, *position);
        mesh.sector(here).insert(unit, &mut Changes::default());
    }
    for (id, (_, _, (dx, dy), to, how)) in (1..).zip(told) {
        let target = place(here.neighbour(*dx, *dy).unwrap(), to.x, to.y);
        let what = match how {
            0 => Instruction::Warp { target },
            1 => Instruction::AttackMove { target },
            2 => Instruction::Move { target },
            _ => Instruction::Hold,
        };
        mesh.command(here, ANNA, &Command::new(units(&[id]), what)).unwrap();
    }
    mesh
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn all_come_to_rest_outside_wherever_they_began_and_were_sent(
        here in sector(), told in prop::collection::vec(told(), 1..12),
    ) {
        let mut mesh = start(here, &told);
        settle(&mut mesh);
        prop_assert_eq!(mesh.sectors.values().map(|s| s.units().len()).sum::<usize>(), told.len());
        for (sector, state) in &mesh.sectors {
            for unit in state.units() {
                prop_assert!(!is_inside(&mesh, *sector, unit.position), "{sector} {unit:?}");
            }
        }
    }

    /// One alone has nobody else in its way: where it was told it would stand
    /// is where it stands, and it was in no obstacle that it did not begin in.
    #[test]
    fn one_alone_arrives_where_it_was_sent_around_everything(
        here in sector(), from in position(), fast: bool,
        next in (-1_i64..=1, -1_i64..=1), to in position(),
    ) {
        let there = here.neighbour(next.0, next.1).unwrap();
        let mut mesh = crowded();
        prop_assume!(!is_inside(&mesh, here, from));
        let kind = if fast { FIGHTER } else { FREIGHTER };
        let unit = Unit::new(UnitId(1), kind, ANNA, from);
        mesh.sector(here).insert(unit, &mut Changes::default());
        let go = Command::go(units(&[1]), place(there, to.x, to.y));
        let accepted = mesh.command(here, ANNA, &go).unwrap();
        let goal = mesh.sectors[&here].unit(UnitId(1)).unwrap().order.target();
        let start = GalaxyPosition::of(here, from);
        let aim = GalaxyPosition::of(there, to);
        let goal = goal.unwrap_or(start);
        if !is_inside(&mesh, there, to) {
            prop_assert!(distance(goal, aim) < 2, "{goal:?} {aim:?}");
        }
        if here == there {
            let arrival = GalaxyPosition::of(here, accepted.arrival);
            prop_assert!(distance(arrival, goal) < 1_100);
        }
        let mut inside = 0;
        while !mesh.is_idle() {
            mesh.step();
            let (sector, state) = mesh.sectors.iter().find(|(_, s)| !s.units().is_empty()).unwrap();
            inside += u64::from(is_inside(&mesh, *sector, state.units()[0].position));
            prop_assert!(mesh.steps < 6_000);
        }
        let place = mesh.place_of(UnitId(1)).unwrap();
        let unit = *mesh.sectors[&place].unit(UnitId(1)).unwrap();
        let end = GalaxyPosition::of(place, unit.position);
        prop_assert_eq!(unit.order, Order::Idle);
        prop_assert!(distance(end, goal) < 1_100, "{end:?} {goal:?}");
        // Into one that touches the border it may come, and through one that
        // walls off a corner.
        let avoidable = here == there && !walls_off_a_corner(&mesh.galaxy, here);
        prop_assert!(!avoidable || inside == 0, "{inside} steps inside");
        // Half as far again, and once around something.
        let way = distance(start, end) * 3 / 2 + 3 * u64::from(SECTOR_STEPS.unsigned_abs());
        let speed = u64::from(unit.speed.steps());
        prop_assert!(mesh.steps * speed <= way + 40 * speed, "{} steps", mesh.steps);
    }
}
