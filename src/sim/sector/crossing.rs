//! Owns how units move, leave and arrive. Never changes a course of a unit
//! that is here (`steering` does). Called by a step and by the entity when a
//! message brings units. Invariant: a unit leaves only for a sector that is in
//! the galaxy and open, and every transfer raises its hops.

use std::collections::VecDeque;

use super::SectorState;
use super::aim::{has_arrived, is_beyond, set_out};
use super::pace::Pace;
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{GalaxyPosition, SectorId};
use crate::sim::travel::{QUEUE_MAX, WARP_SCALE};
use crate::sim::{Changes, Course, Leaving, Order, Surroundings, Traveller, Unit, Waypoint};

impl SectorState {
    /// The second half of a step: all move, and some leave. Whoever wants to
    /// see the units with their new courses, and not yet moved, calls
    /// [`steer`](Self::steer) and this one instead of [`step`](Self::step).
    pub fn travel(
        &mut self,
        around: &Surroundings<'_>,
        changes: &mut Changes,
        leaving: &mut Vec<Leaving>,
    ) {
        let sector = self.sector;
        let (mut busy, mut left) = (!self.queues.is_empty(), false);
        for unit in &mut self.units {
            if unit.course.is_moving() {
                busy = true;
                if unit.advance(1) {
                    changes.arrived.insert(unit.id);
                    arrive(unit, sector);
                }
            } else if unit.order.target().is_some() {
                busy = true;
                wait(unit);
            }
            if let Some(to) = destination(unit, sector) {
                busy = true;
                left |= takes_units(to, around);
            }
        }
        self.quiet = if busy { 0 } else { self.quiet.saturating_add(1) };
        if left {
            self.let_go(around, changes, leaving);
        }
    }

    fn let_go(
        &mut self,
        around: &Surroundings<'_>,
        changes: &mut Changes,
        leaving: &mut Vec<Leaving>,
    ) {
        let (sector, queues) = (self.sector, &mut self.queues);
        self.units.retain(|unit| {
            let to = destination(unit, sector).filter(|to| takes_units(*to, around));
            let Some(to) = to else { return true };
            let queue = queues.remove(&unit.id).unwrap_or_default().into();
            changes.left.insert(unit.id);
            let unit = transferred(*unit, sector, to, around);
            leaving.push(Leaving { to, traveller: Traveller { unit, queue } });
            false
        });
    }

    /// Takes in units that come from elsewhere; one that is here already is
    /// replaced. They set out at once.
    pub fn admit(
        &mut self,
        travellers: Vec<Traveller>,
        around: &Surroundings<'_>,
        changes: &mut Changes,
    ) {
        if travellers.is_empty() {
            return;
        }
        self.quiet = 0;
        self.look_around(around);
        let mut arrived = Vec::with_capacity(travellers.len());
        for Traveller { mut unit, queue } in travellers {
            unit.position = inside_galaxy(unit, self.sector, around);
            set_out(&mut unit, self.sector, self.obstacles());
            changes.appeared.insert(unit.id);
            self.queues.remove(&unit.id);
            if !queue.is_empty() {
                let queue: VecDeque<Order> = queue.into_iter().take(QUEUE_MAX).collect();
                self.queues.insert(unit.id, queue);
            }
            arrived.push(unit);
        }
        self.merge(arrived);
    }

    fn merge(&mut self, mut arrived: Vec<Unit>) {
        // Stable, and the last of equals is kept: it came last.
        arrived.sort_by_key(|unit| unit.id);
        let here = std::mem::take(&mut self.units);
        let mut merged: Vec<Unit> = Vec::with_capacity(here.len() + arrived.len());
        let mut here = here.into_iter().peekable();
        for unit in arrived {
            while let Some(before) = here.next_if(|before| before.id < unit.id) {
                merged.push(before);
            }
            here.next_if(|same| same.id == unit.id);
            if merged.last().is_some_and(|last| last.id == unit.id) {
                merged.pop();
            }
            merged.push(unit);
        }
        merged.extend(here);
        self.units = merged;
    }
}

/// What the end of its course means for a unit's order.
pub(super) fn arrive(unit: &mut Unit, sector: SectorId) {
    if !has_arrived(unit, sector) {
        return;
    }
    match unit.order {
        Order::Move { .. } | Order::AttackMove { .. } => {
            unit.order = Order::Idle;
            unit.patience = 0;
        }
        Order::Patrol { from, to } => unit.order = Order::Patrol { from: to, to: from },
        Order::Idle | Order::Hold | Order::Warp { .. } => {}
    }
}

/// A step of standing before the warp.
fn wait(unit: &mut Unit) {
    if let Order::Warp { wait, .. } = &mut unit.order {
        *wait = wait.saturating_sub(1);
    }
}

/// Whether units can go to `sector` now.
pub(super) fn takes_units(sector: SectorId, around: &Surroundings<'_>) -> bool {
    around.exists(sector) && (around.open)(sector)
}

/// Where `unit` has to go at the end of this step.
fn destination(unit: &Unit, sector: SectorId) -> Option<SectorId> {
    Some(if sector.scale == 0 {
        match unit.order {
            Order::Warp { wait: 0, .. } if !unit.course.is_moving() => {
                sector.ancestor(WARP_SCALE)?
            }
            _ if is_beyond(unit.position, 0) => GalaxyPosition::of(sector, unit.position).sector(0),
            _ => return None,
        }
    } else if let Some(place) = landing(unit, sector) {
        place.sector(0)
    } else if is_beyond(unit.position, sector.scale) {
        GalaxyPosition::of(sector, unit.position).sector(sector.scale)
    } else {
        return None;
    })
}

/// Where a unit of a larger sector comes down: at the end of its warp, and
/// wherever it stands without one.
fn landing(unit: &Unit, sector: SectorId) -> Option<GalaxyPosition> {
    match unit.order {
        Order::Warp { to, .. } => has_arrived(unit, sector).then_some(to),
        _ => (!unit.course.is_moving()).then(|| GalaxyPosition::of(sector, unit.position)),
    }
}

fn transferred(mut unit: Unit, from: SectorId, to: SectorId, around: &Surroundings<'_>) -> Unit {
    let there = |position| GalaxyPosition::of(from, position).position(to);
    let aimed = there(unit.waypoint.position(from.scale));
    let lands = from.scale > to.scale;
    let place = landing(&unit, from).filter(|_| lands);
    unit.position = place.map_or_else(|| there(unit.position), |place| place.position(to));
    unit.hops = unit.hops.saturating_add(1);
    if from.scale == to.scale {
        unit.waypoint = Waypoint::nearest(aimed, to.scale);
        return unit;
    }
    unit.waypoint = Waypoint::nearest(unit.position, to.scale);
    unit.steer(Course::STANDING);
    if !lands {
        // It has had the speed of its warp since it was ordered.
        return unit;
    }
    if matches!(unit.order, Order::Warp { .. }) {
        unit.order = Order::Idle;
        unit.patience = 0;
    }
    let pace = Pace::of(&unit, around.rules);
    unit.speed = pace.map_or(unit.speed, |pace| pace.speed(unit.order));
    unit
}

/// Nobody is outside the galaxy, whatever a message says.
fn inside_galaxy(unit: Unit, sector: SectorId, around: &Surroundings<'_>) -> crate::base::Position {
    let last = i64::from(around.galaxy.side()) * i64::from(SECTOR_STEPS) - 1;
    let GalaxyPosition { x, y } = GalaxyPosition::of(sector, unit.position);
    GalaxyPosition { x: x.clamp(0, last), y: y.clamp(0, last) }.position(sector)
}

#[cfg(test)]
mod tests {
    use super::super::scenes::{ANNA, HERE, World, apply, order, place, units};
    use super::*;
    use crate::base::FleetId;
    use crate::base::{CompressedPosition, PlayerId, Position, UnitId};
    use crate::sim::mesh::Mesh;
    use crate::sim::rules::sample::{self, FIGHTER, FREIGHTER};
    use crate::sim::travel::WARP_WAIT;
    use crate::sim::{Command, Galaxy, Instruction, Recipients, Speed, Target, UnitTypeId};

    const ID: UnitId = UnitId(1);

    fn mesh(sector: SectorId, type_id: UnitTypeId, x: i32, y: i32) -> Mesh {
        let galaxy = Galaxy::new(1, Galaxy::SIDE).unwrap();
        let mut mesh = Mesh::new(galaxy, sample::rules().unwrap());
        let unit = Unit::new(ID, type_id, ANNA, Position { x, y });
        mesh.sector(sector).insert(unit, &mut Changes::default());
        mesh
    }

    fn found(mesh: &Mesh) -> (SectorId, Unit) {
        let place = mesh.place_of(ID).expect("it is somewhere");
        (place, *mesh.sectors[&place].unit(ID).unwrap())
    }

    fn tell(mesh: &mut Mesh, what: Instruction) {
        let (place, _) = found(mesh);
        mesh.command(place, ANNA, &order(&[1], what)).unwrap();
    }

    #[test]
    fn a_unit_goes_straight_to_a_place_sectors_away() {
        let mut mesh = mesh(HERE, FIGHTER, 300_000, 900_000);
        let there = SectorId { x: HERE.x + 3, y: HERE.y - 2, scale: 0 };
        let target = place(there, 700_000, 100_000);
        tell(&mut mesh, Instruction::Move { target });
        let wide = |at: GalaxyPosition| (i128::from(at.x), i128::from(at.y));
        let from = wide(GalaxyPosition::of(HERE, Position { x: 300_000, y: 900_000 }));
        let to = wide(GalaxyPosition::of(there, Position { x: 700_000, y: 100_000 }));
        let way = crate::base::fixed::length((to.0 - from.0) as i64, (to.1 - from.1) as i64);
        let mut visited = vec![HERE];
        while !mesh.is_idle() {
            mesh.step();
            let (place, unit) = found(&mesh);
            if visited.last() != Some(&place) {
                visited.push(place);
            }
            assert_eq!(unit.hops as usize, visited.len() - 1);
            let (x, y) = wide(GalaxyPosition::of(place, unit.position));
            let off = (to.0 - from.0) * (y - from.1) - (to.1 - from.1) * (x - from.0);
            // Two metres, after six new courses.
            assert!(off.abs() / i128::from(way) < 2_097, "{off} / {way} steps off the line");
        }
        let (place, unit) = found(&mesh);
        assert_eq!((place, unit.order), (there, Order::Idle));
        assert!(unit.position.x.abs_diff(700_000).max(unit.position.y.abs_diff(100_000)) < 1_100);
        assert_eq!(visited.len(), 6);
        assert!(mesh.steps < 400, "{} steps", mesh.steps);
    }

    #[test]
    fn a_unit_leaves_in_the_step_in_which_it_is_4_m_beyond() {
        let mut mesh = mesh(HERE, FREIGHTER, 1_040_000, 500_000);
        let next = HERE.neighbour(1, 0).unwrap();
        tell(&mut mesh, Instruction::Move { target: place(next, 500_000, 500_000) });
        let mut before = 0;
        while found(&mesh).0 == HERE {
            before = found(&mesh).1.position.x;
            mesh.step();
        }
        let after = found(&mesh).1.position.x;
        assert!(before < (1 << 20) + 4_194 && after >= 4_194 && after - 2_097 < 4_194, "{after}");
    }

    #[test]
    fn at_a_closed_border_units_stand_and_go_on_when_it_opens() {
        for (type_id, y) in [(FIGHTER, 500_000), (FREIGHTER, 1_048_575), (FIGHTER, 0)] {
            let mut mesh = mesh(HERE, type_id, 1_000_000, y);
            let next = HERE.neighbour(1, 0).unwrap();
            tell(&mut mesh, Instruction::Move { target: place(next, 500_000, y) });
            (0..200).for_each(|_| mesh.step_with(&|to| to != next));
            let (place, held) = found(&mesh);
            assert_eq!(place, HERE);
            assert!(!held.course.is_moving() && !mesh.is_idle());
            assert!(((1 << 20) - 1_024..(1 << 20) + 4_194).contains(&held.position.x));
            (0..50).for_each(|_| mesh.step_with(&|to| to != next));
            assert_eq!(found(&mesh), (HERE, held), "it does not stir");
            while !mesh.is_idle() {
                mesh.step();
            }
            assert_eq!(found(&mesh).0, next);
        }
    }

    #[test]
    fn nobody_leaves_the_galaxy() {
        let last = i64::from(Galaxy::SIDE) - 1;
        let corner = SectorId::tactical(last, last);
        let mut mesh = mesh(corner, FIGHTER, 1_000_000, 1_000_000);
        let position = CompressedPosition { x: u32::MAX, y: u32::MAX };
        tell(&mut mesh, Instruction::Move { target: Target { sector: corner, position } });
        while !mesh.is_idle() {
            mesh.step();
            assert_eq!(found(&mesh).0, corner);
        }
        let outside = SectorId::tactical(last + 1, last);
        assert!(!World::new().around(0).exists(outside));
    }

    #[test]
    fn one_that_arrives_outside_is_passed_on() {
        let world = World::new();
        let mut sector = SectorState::new(HERE);
        let mut unit = Unit::new(ID, FIGHTER, ANNA, Position { x: 1_100_000, y: -5_000 });
        unit.order = Order::Hold;
        unit.hops = 4;
        let queue = vec![Order::Hold; 3];
        let travellers = vec![Traveller { unit, queue: queue.clone() }];
        sector.admit(travellers, &world.around(0), &mut Changes::default());
        let (mut changes, mut leaving) = (Changes::default(), Vec::new());
        sector.step(&world.with(&|_| false, 0), &mut changes, &mut leaving);
        assert!(leaving.is_empty() && !sector.is_idle());
        sector.step(&world.around(1), &mut changes, &mut leaving);
        let [Leaving { to, traveller }] = &leaving[..] else { panic!("{leaving:?}") };
        assert_eq!(*to, SectorId { x: HERE.x + 1, y: HERE.y - 1, scale: 0 });
        assert_eq!(traveller.unit.position, Position { x: 51_424, y: (1 << 20) - 5_000 });
        assert_eq!((traveller.unit.hops, sector.units().len()), (5, 0));
        assert!(changes.left.contains(&ID));
    }

    #[test]
    fn admitted_units_are_merged_by_id_and_replace_their_older_selves() {
        let world = World::new();
        let mut sector = SectorState::new(HERE);
        let unit = |id, x| Unit::new(UnitId(id), FIGHTER, PlayerId(id), Position { x, y: 0 });
        for id in [2, 4, 6] {
            sector.insert(unit(id, 0), &mut Changes::default());
        }
        let arriving = [(7, 1), (4, 1), (1, 1), (7, 2), (3, 1)];
        let travellers = arriving.map(|(id, x)| Traveller { unit: unit(id, x), queue: vec![] });
        let mut changes = Changes::default();
        sector.admit(travellers.into(), &world.around(0), &mut changes);
        let found: Vec<(u64, i32)> =
            sector.units().iter().map(|unit| (unit.id.0, unit.position.x)).collect();
        assert_eq!(found, [(1, 1), (2, 0), (3, 1), (4, 1), (6, 0), (7, 2)]);
        assert_eq!(changes.appeared.len(), 4);
    }

    #[test]
    fn warp_takes_25_steps_of_standing_and_ends_at_the_target() {
        let mut mesh = mesh(HERE, FREIGHTER, 300_000, 300_000);
        let there = SectorId::tactical(HERE.x + 900, HERE.y + 400);
        tell(&mut mesh, Instruction::Warp { target: place(there, 123_456, 654_321) });
        for _ in 0..WARP_WAIT - 1 {
            mesh.step();
            assert_eq!(found(&mesh).0, HERE);
        }
        mesh.step();
        let above = HERE.ancestor(4).unwrap();
        assert_eq!(found(&mesh).0, above);
        let started = mesh.steps;
        while found(&mesh).0.scale == 4 {
            mesh.step();
        }
        // 985 km at 2,000 m/s.
        assert!((2_462..2_620).contains(&(mesh.steps - started)), "{}", mesh.steps - started);
        let (place, unit) = found(&mesh);
        assert_eq!((place, unit.position), (there, Position { x: 123_456, y: 654_321 }));
        assert_eq!((unit.order, unit.speed), (Order::Idle, Speed::MIN));
        while !mesh.is_idle() {
            mesh.step();
        }
        assert_eq!(found(&mesh).1.position, unit.position);
        assert!(mesh.sectors[&above].units().is_empty());
    }

    #[test]
    fn a_fleet_warps_as_fast_as_its_slowest_and_a_unit_as_fast_as_it_can() {
        for (fleet, expected) in [(true, Speed::WARP), (false, Speed::MAX)] {
            let mut mesh = mesh(HERE, FIGHTER, 300_000, 300_000);
            let slow = Unit::new(UnitId(2), FREIGHTER, ANNA, Position { x: 9, y: 9 });
            mesh.sector(HERE).insert(slow, &mut Changes::default());
            let join = Instruction::Join { fleet: FleetId(3) };
            mesh.command(HERE, ANNA, &order(&[1, 2], join)).unwrap();
            let target = place(SectorId::tactical(HERE.x + 300, HERE.y), 123_456, 654_321);
            let mut warp = order(&[1], Instruction::Warp { target });
            if fleet {
                warp.to = Recipients::Fleet(FleetId(3));
            }
            mesh.command(HERE, ANNA, &warp).unwrap();
            while found(&mesh).0.scale == 0 {
                mesh.step();
            }
            assert_eq!(found(&mesh).1.speed, expected);
            while found(&mesh).0.scale > 0 {
                mesh.step();
            }
            assert_eq!(found(&mesh).1.speed.steps(), 12_582, "its own again");
        }
    }

    #[test]
    fn units_wait_for_a_closed_warp_sector_and_a_closed_place_to_land() {
        let mut mesh = mesh(HERE, FIGHTER, 300_000, 300_000);
        let there = SectorId::tactical(20, 5);
        tell(&mut mesh, Instruction::Warp { target: place(there, 9, 9) });
        (0..100).for_each(|_| mesh.step_with(&|to| to.scale == 0));
        assert_eq!(found(&mesh).0, HERE);
        (0..300).for_each(|_| mesh.step_with(&|to| to != there));
        let (above, unit) = found(&mesh);
        assert_eq!((above.scale, unit.course.is_moving(), mesh.is_idle()), (4, false, false));
        mesh.step();
        assert_eq!(found(&mesh).0, there);
    }

    #[test]
    fn a_unit_that_has_no_business_in_a_larger_sector_comes_down() {
        let above = HERE.ancestor(4).unwrap();
        let mut mesh = mesh(above, FIGHTER, 9 << 20, 5 << 20);
        mesh.step();
        assert_eq!(found(&mesh).0, SectorId::tactical(9, 5));
    }

    #[test]
    fn orders_that_wait_travel_along() {
        let mut mesh = mesh(HERE, FIGHTER, 1_000_000, 500_000);
        let next = HERE.neighbour(1, 0).unwrap();
        tell(&mut mesh, Instruction::Move { target: place(next, 100_000, 500_000) });
        let back = Instruction::Move { target: place(HERE, 900_000, 100_000) };
        let wait = Command { queue: true, ..Command::new(units(&[1]), back) };
        mesh.command(HERE, ANNA, &wait).unwrap();
        while !mesh.is_idle() {
            mesh.step();
        }
        let (place, unit) = found(&mesh);
        assert_eq!((place, unit.hops), (HERE, 2));
        assert!(unit.position.x.abs_diff(900_000) < 1_100);
        let mut other = SectorState::new(HERE);
        assert!(apply(&mut other, ANNA, &wait).is_err());
    }
}
