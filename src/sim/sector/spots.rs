//! Owns where in a sector a unit can come to rest without touching others: a
//! grid of spots, 7.8 m apart, with those marked that are taken. Never part of
//! the state: made when a step first needs it. Called by steering. Invariant:
//! of two units that look for a spot in one step, the second knows of the
//! first's.

use crate::base::geometry::SECTOR_STEPS;
use crate::base::{GalaxyPosition, Position, SectorId};
use crate::sim::galaxy::Circle;
use crate::sim::{Order, Unit};

/// Bits of a grid step below a spot's: 2^13 steps are 7.8 m.
const SHIFT: u32 = 13;
/// Spots along a side of the sector, one bit of a row for each.
const SIDE: i32 = SECTOR_STEPS >> SHIFT;
/// A spot nearer than this to where somebody rests is taken: 6 m.
const CLEAR_STEPS: i32 = 6_291;

/// Which spots are taken.
#[derive(Clone, Debug)]
pub(super) struct Spots {
    rows: [u128; SIDE as usize],
    /// Nothing was free when somebody asked.
    full: bool,
}

impl Spots {
    /// All spots where neither one of `units` rests or will, nor an obstacle is.
    pub(super) fn new(sector: SectorId, units: &[Unit], obstacles: &[Circle]) -> Spots {
        let mut spots = Spots { rows: [0; SIDE as usize], full: false };
        for obstacle in obstacles {
            spots.take_around(obstacle.centre, obstacle.radius + CLEAR_STEPS);
        }
        for place in units.iter().filter_map(|unit| rest(unit, sector)) {
            spots.take_around(place, CLEAR_STEPS);
        }
        spots
    }

    /// Takes a free spot near `place`: of the ring of spots around it that is
    /// the first with a free one. `None` when the sector is full.
    pub(super) fn take_near(&mut self, place: Position) -> Option<Position> {
        if self.full {
            return None;
        }
        let middle = |v: i32| (v >> SHIFT).clamp(0, SIDE - 1);
        let (x, y) = (middle(place.x), middle(place.y));
        let found = (0..SIDE).find_map(|ring| self.free_on(x, y, ring));
        self.full = found.is_none();
        let (x, y) = found?;
        let spot = Position { x: centre(x), y: centre(y) };
        self.take_around(spot, CLEAR_STEPS);
        Some(spot)
    }

    fn free_on(&self, x: i32, y: i32, ring: i32) -> Option<(i32, i32)> {
        let columns = (x - ring).max(0)..=(x + ring).min(SIDE - 1);
        let rows = (y - ring).max(0)..=(y + ring).min(SIDE - 1);
        let edge = |v: i32, middle: i32| v.abs_diff(middle) == ring.unsigned_abs();
        rows.into_iter().find_map(|row| {
            let all = edge(row, y);
            let mut columns = columns.clone().filter(|column| all || edge(*column, x));
            columns.find(|column| !self.is_taken(*column, row)).map(|column| (column, row))
        })
    }

    fn is_taken(&self, x: i32, y: i32) -> bool {
        self.rows.get(y as usize).is_none_or(|row| row >> x & 1 == 1)
    }

    fn take_around(&mut self, place: Position, radius: i32) {
        let range = |v: i32| {
            let spot = |v: i32| (v >> SHIFT).clamp(0, SIDE - 1);
            spot(v.saturating_sub(radius))..=spot(v.saturating_add(radius))
        };
        let square = |a: i32, b: i32| (i64::from(a) - i64::from(b)).pow(2);
        for y in range(place.y) {
            for x in range(place.x) {
                let far = square(centre(x), place.x) + square(centre(y), place.y);
                if far < i64::from(radius).pow(2) {
                    self.rows[y as usize] |= 1 << x;
                }
            }
        }
    }
}

fn centre(spot: i32) -> i32 {
    (spot << SHIFT) + (1 << (SHIFT - 1))
}

/// Where `unit` will stand for good, as far as it is known and here.
fn rest(unit: &Unit, sector: SectorId) -> Option<Position> {
    let here = |to: GalaxyPosition| (to.sector(0) == sector).then(|| to.position(sector));
    match unit.order {
        Order::Idle | Order::Hold => Some(unit.course.arrival(unit.position)),
        Order::Move { to } | Order::AttackMove { to } => here(to),
        Order::Patrol { .. } | Order::Warp { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::{PlayerId, UnitId};
    use crate::sim::UnitTypeId;

    const HERE: SectorId = SectorId::tactical(3, 4);
    const MIDDLE: Position = Position { x: 500_000, y: 500_000 };

    fn distance(a: Position, b: Position) -> u64 {
        let along = |a: i32, b: i32| i64::from(a) - i64::from(b);
        crate::base::fixed::length(along(a.x, b.x), along(a.y, b.y))
    }

    #[test]
    fn each_asker_gets_a_spot_of_its_own_until_the_sector_is_full() {
        let mut spots = Spots::new(HERE, &[], &[]);
        let mut given = BTreeSet::new();
        while let Some(spot) = spots.take_near(MIDDLE) {
            given.insert((spot.x, spot.y));
        }
        assert_eq!(given.len(), 128 * 128);
    }

    #[test]
    fn spots_near_where_somebody_rests_or_will_are_taken() {
        let unit =
            |id, x| Unit::new(UnitId(id), UnitTypeId(1), PlayerId(1), Position { x, y: 9_000 });
        let mut going = unit(2, 900_000);
        going.order = Order::Move { to: GalaxyPosition::of(HERE, MIDDLE) };
        let mut passing = unit(3, 300_000);
        passing.order = Order::Move { to: GalaxyPosition { x: 0, y: 0 } };
        let mut spots = Spots::new(HERE, &[unit(1, 100_000), going, passing], &[]);
        let mut spot = |x, y| {
            let place = Position { x, y };
            distance(spots.take_near(place).unwrap(), place)
        };
        assert!(spot(100_000, 9_000) >= 6_291);
        assert!(spot(MIDDLE.x, MIDDLE.y) >= 6_291);
        assert!(spot(900_000, 9_000) < 6_291);
        assert!(spot(300_000, 9_000) < 6_291);
    }

    #[test]
    fn nobody_is_sent_into_an_obstacle() {
        let obstacle = Circle { centre: MIDDLE, radius: 180_000 };
        let mut spots = Spots::new(HERE, &[], &[obstacle]);
        for _ in 0..1_000 {
            assert!(distance(spots.take_near(MIDDLE).unwrap(), MIDDLE) >= 186_291);
        }
    }
}
