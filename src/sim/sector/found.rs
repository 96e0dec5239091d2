//! Owns where a new player's units are put. Never refuses: a sector takes
//! every unit, limits hold where units are made. Invariant: the spots follow
//! from the units and obstacles that are there, and from nothing else.

use std::collections::BTreeSet;

use super::SectorState;
use super::formation::{SPOT_STEPS, rings};
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{PlayerId, Position, UnitId};
use crate::sim::galaxy::Circle;
use crate::sim::{Changes, Unit, UnitTypeId};

/// Rings of spots around the one in the middle: 63 × 63 spots in all.
const RINGS: i32 = 31;

impl SectorState {
    /// Makes `player`'s first units here, each on a free spot near the middle
    /// outside all `obstacles`, in the order given; a sector without free spots
    /// takes them in its middle, where the galaxy has no obstacles. `next_id`
    /// gives each a new id.
    pub fn found(
        &mut self,
        player: PlayerId,
        units: &[(UnitTypeId, u32)],
        obstacles: &[Circle],
        mut next_id: impl FnMut() -> UnitId,
        changes: &mut Changes,
    ) {
        let taken: BTreeSet<_> = self.units.iter().map(|unit| spot_of(unit.position)).collect();
        let blocked = |spot| obstacles.iter().any(|circle| circle.contains(place_of(spot)));
        let mut free = rings(RINGS).filter(|spot| !taken.contains(spot) && !blocked(*spot));
        let types = units.iter().flat_map(|(id, count)| (0..*count).map(|_| *id));
        for type_id in types {
            let spot = free.next().unwrap_or((0, 0));
            self.insert(Unit::new(next_id(), type_id, player, place_of(spot)), changes);
        }
    }
}

fn place_of(spot: (i32, i32)) -> Position {
    let middle = SECTOR_STEPS / 2;
    Position { x: middle + spot.0 * SPOT_STEPS, y: middle + spot.1 * SPOT_STEPS }
}

/// The spot whose square of one spot's side contains `position`.
fn spot_of(position: Position) -> (i32, i32) {
    let nearest = |v: i32| {
        v.saturating_sub(SECTOR_STEPS / 2).saturating_add(SPOT_STEPS / 2).div_euclid(SPOT_STEPS)
    };
    (nearest(position.x), nearest(position.y))
}

#[cfg(test)]
mod tests {
    use super::super::scenes::{ANNA, BEN, HERE};
    use super::*;
    use crate::sim::Galaxy;
    use crate::sim::rules::sample::{FIGHTER, TURRET};
    use crate::sim::{Order, UnitState};

    fn found(sector: &mut SectorState, player: PlayerId, count: u32) -> Changes {
        found_among(&[], sector, player, count)
    }

    fn found_among(
        obstacles: &[Circle],
        sector: &mut SectorState,
        player: PlayerId,
        count: u32,
    ) -> Changes {
        let mut last = sector.units().last().map_or(0, |unit| unit.id.0);
        let next_id = || {
            last += 1;
            UnitId(last)
        };
        let mut changes = Changes::default();
        sector.found(player, &[(FIGHTER, count), (TURRET, 1)], obstacles, next_id, &mut changes);
        changes
    }

    fn places(sector: &SectorState) -> BTreeSet<(i32, i32)> {
        sector.units().iter().map(|unit| (unit.position.x, unit.position.y)).collect()
    }

    #[test]
    fn places_whole_units_without_orders_and_tells_of_them() {
        let mut sector = SectorState::new(HERE);
        let changes = found(&mut sector, ANNA, 2);
        assert_eq!(changes.appeared.len(), 3);
        let unit = sector.unit(UnitId(1)).unwrap();
        assert_eq!((unit.owner, unit.health, unit.hops), (ANNA, u16::MAX, 0));
        assert_eq!((unit.order, unit.state), (Order::Idle, UnitState::default()));
        assert_eq!(sector.unit(UnitId(3)).unwrap().type_id, TURRET);
    }

    #[test]
    fn gives_every_unit_a_spot_of_its_own_around_the_middle() {
        let mut sector = SectorState::new(HERE);
        found(&mut sector, ANNA, 20);
        found(&mut sector, BEN, 20);
        assert_eq!(places(&sector).len(), 42);
        let near = 4 * SPOT_STEPS;
        let middle = SECTOR_STEPS / 2;
        for (x, y) in places(&sector) {
            assert!((x - middle).abs() < near && (y - middle).abs() < near);
        }
    }

    #[test]
    fn a_unit_anywhere_on_a_spot_takes_it() {
        let mut sector = SectorState::new(HERE);
        let mut stray = Unit::new(UnitId(1), FIGHTER, BEN, place_of((0, 0)));
        stray.position.x -= SPOT_STEPS / 2;
        sector.insert(stray, &mut Changes::default());
        found(&mut sector, ANNA, 0);
        assert_ne!(sector.unit(UnitId(2)).unwrap().position, place_of((0, 0)));
    }

    #[test]
    fn a_full_sector_takes_more_units_in_its_middle() {
        let mut sector = SectorState::new(HERE);
        let spots = u32::try_from((2 * RINGS + 1).pow(2)).unwrap();
        found(&mut sector, ANNA, spots + 4);
        assert_eq!(sector.units().len(), 3969 + 5);
        assert_eq!(places(&sector).len(), 3969);
        let side = 0..SECTOR_STEPS;
        assert!(places(&sector).iter().all(|(x, y)| side.contains(x) && side.contains(y)));
    }

    #[test]
    fn no_unit_is_put_into_an_obstacle() {
        let galaxy = Galaxy::new(2026, Galaxy::SIDE).unwrap();
        for n in 0..20 {
            let place = galaxy.start_place(n);
            let obstacles = galaxy.obstacles(place);
            assert!(!obstacles.is_empty());
            let free = |(x, y): (i32, i32)| {
                obstacles.iter().all(|circle| !circle.contains(Position { x, y }))
            };
            let mut sector = SectorState::new(place);
            // So many that they stand at the border.
            found_among(&obstacles, &mut sector, ANNA, 4_000);
            assert!(places(&sector).into_iter().all(free), "{n}");
            assert!(places(&sector).len() > 3_000);
        }
    }

    #[test]
    fn units_far_outside_do_not_matter() {
        let mut sector = SectorState::new(HERE);
        let far = Position { x: i32::MAX, y: i32::MIN };
        sector.insert(Unit::new(UnitId(1), FIGHTER, BEN, far), &mut Changes::default());
        found(&mut sector, ANNA, 1);
        assert_eq!(sector.unit(UnitId(2)).unwrap().position, place_of((0, 0)));
    }
}
