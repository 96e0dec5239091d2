//! Owns where a new player's units are put. Never refuses: a sector takes
//! every unit, limits hold where units are made. Invariant: the spots follow
//! from the units that are there, and from nothing else.

use std::collections::BTreeSet;

use super::SectorState;
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{PlayerId, Position, UnitId};
use crate::sim::{Changes, Course, Order, Unit, UnitState, UnitTypeId};

/// Rings of spots around the one in the middle: 63 × 63 spots in all.
const RINGS: i32 = 31;
/// From spot to spot: 15.6 m.
const SPOT_STEPS: i32 = 1 << 14;

impl SectorState {
    /// Makes `player`'s first units here, each on a free spot near the middle,
    /// in the order given; a sector without free spots takes them in its
    /// middle. `next_id` gives each a new id.
    pub fn found(
        &mut self,
        player: PlayerId,
        units: &[(UnitTypeId, u32)],
        mut next_id: impl FnMut() -> UnitId,
        changes: &mut Changes,
    ) {
        let taken: BTreeSet<_> = self.units.iter().map(|unit| spot_of(unit.position)).collect();
        let mut free = spots().filter(|spot| !taken.contains(spot));
        let types = units.iter().flat_map(|(id, count)| (0..*count).map(|_| *id));
        for type_id in types {
            let spot = free.next().unwrap_or((0, 0));
            self.insert(new_unit(next_id(), type_id, player, place_of(spot)), changes);
        }
    }
}

/// A unit as it is made: whole, standing, without an order.
fn new_unit(id: UnitId, type_id: UnitTypeId, owner: PlayerId, position: Position) -> Unit {
    Unit {
        id,
        type_id,
        owner,
        hops: 0,
        position,
        course: Course::STANDING,
        heading: 0,
        health: u16::MAX,
        state: UnitState::default(),
        order: Order::Idle,
    }
}

/// All spots, as steps of a spot from the middle, nearest ring first.
fn spots() -> impl Iterator<Item = (i32, i32)> {
    (0..=RINGS).flat_map(|ring| {
        let line = move || -ring..=ring;
        line()
            .flat_map(move |y| line().map(move |x| (x, y)))
            .filter(move |(x, y)| x.abs().max(y.abs()) == ring)
    })
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
