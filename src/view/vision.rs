//! Owns which cells of a sector one player sees, from the units it has there,
//! and so which units. Never sends anything; an observer asks it at every step
//! of the sector. Invariant: the mask is that of the player's units as they
//! are in the state last looked at, and all of them are in it.

use super::fog::{Cell, Mask, Sight};
use crate::base::PlayerId;
use crate::sim::{Rules, SectorState, Unit, UnitTypeId};

/// What one player sees of one sector.
#[derive(Clone, Debug, Default)]
pub struct Vision {
    /// One for each of its units there, in order of the units' ids.
    eyes: Vec<Eye>,
    mask: Mask,
}

/// What one unit reveals; good as long as its type and its cell stay.
#[derive(Clone, Copy, Debug)]
struct Eye {
    type_id: UnitTypeId,
    cell: Cell,
    reveals: Mask,
}

impl Vision {
    /// Looks at `state` with the eyes of `player`'s units. What a unit reveals
    /// is computed again only when another unit took its place in the order of
    /// ids, or when it is in another cell than before.
    pub fn look(&mut self, state: &SectorState, rules: &Rules, player: PlayerId) {
        let own = state.units().iter().filter(|unit| unit.owner == player);
        let mut count = 0;
        for unit in own {
            match self.eyes.get_mut(count) {
                Some(eye) if eye.is_of(unit) => {}
                Some(eye) => *eye = Eye::new(unit, rules),
                None => self.eyes.push(Eye::new(unit, rules)),
            }
            count += 1;
        }
        self.eyes.truncate(count);
        self.mask = self.eyes.iter().fold(Mask::NONE, |mask, eye| mask.with(eye.reveals));
    }

    /// The cells that it sees.
    pub fn mask(&self) -> Mask {
        self.mask
    }

    /// Whether it sees `unit`, which is in the state last looked at.
    pub fn sees(&self, unit: &Unit) -> bool {
        self.mask.has(Cell::of(unit.position))
    }
}

impl Eye {
    fn new(unit: &Unit, rules: &Rules) -> Eye {
        // A type that the rules do not know still sees its own cell.
        let radius = rules.unit_type(unit.type_id).map_or(0, |kind| kind.sensor);
        let cell = Cell::of(unit.position);
        Eye { type_id: unit.type_id, cell, reveals: Sight::new(radius).from(cell) }
    }

    fn is_of(&self, unit: &Unit) -> bool {
        self.type_id == unit.type_id && self.cell == Cell::of(unit.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Position, SectorId, UnitId};
    use crate::sim::Changes;
    use crate::sim::rules::sample::{FIGHTER, TURRET, rules};

    const ANNA: PlayerId = PlayerId(1);
    const BEN: PlayerId = PlayerId(2);

    /// A unit in the middle of cell (x, y).
    fn unit(id: u64, owner: PlayerId, type_id: UnitTypeId, (x, y): (i32, i32)) -> Unit {
        let middle = |cell: i32| (cell << 17) + (1 << 16);
        Unit {
            health: 1,
            ..Unit::new(UnitId(id), type_id, owner, Position { x: middle(x), y: middle(y) })
        }
    }

    fn sector(units: &[Unit]) -> SectorState {
        let mut state = SectorState::new(SectorId::tactical(0, 0));
        units.iter().for_each(|unit| state.insert(*unit, &mut Changes::default()));
        state
    }

    fn look(vision: &mut Vision, units: &[Unit]) -> Mask {
        vision.look(&sector(units), &rules().unwrap(), ANNA);
        vision.mask()
    }

    /// What a unit with the sensor of all sample types reveals, by the rule.
    fn revealed(x: i32, y: i32) -> Mask {
        Sight::new(300).from(Cell { x, y })
    }

    #[test]
    fn sees_what_its_own_units_reveal_and_nothing_by_others() {
        let (mine, other) = (unit(1, ANNA, FIGHTER, (1, 1)), unit(2, BEN, FIGHTER, (6, 6)));
        let mut vision = Vision::default();
        assert_eq!(look(&mut vision, &[mine, other]), revealed(1, 1));
        assert!(vision.sees(&mine) && !vision.sees(&other));
        assert_eq!(look(&mut vision, &[other]), Mask::NONE);
        assert!(!vision.sees(&other));
    }

    #[test]
    fn the_mask_follows_units_that_move_come_and_go() {
        let mut vision = Vision::default();
        let at = |id, cell| unit(id, ANNA, FIGHTER, cell);
        let both = revealed(1, 1).with(revealed(6, 6));
        assert_eq!(look(&mut vision, &[at(1, (1, 1)), at(5, (6, 6))]), both);
        let moved = revealed(2, 1).with(revealed(6, 6));
        assert_eq!(look(&mut vision, &[at(1, (2, 1)), at(5, (6, 6))]), moved);
        // The first is gone: the second is first now, elsewhere.
        assert_eq!(look(&mut vision, &[at(5, (6, 6))]), revealed(6, 6));
        assert_eq!(look(&mut vision, &[at(3, (0, 7)), at(5, (6, 6))]), {
            revealed(0, 7).with(revealed(6, 6))
        });
    }

    #[test]
    fn a_unit_of_a_type_without_rules_sees_its_own_cell() {
        let mut vision = Vision::default();
        let strange = unit(1, ANNA, UnitTypeId(77), (3, 3));
        assert_eq!(look(&mut vision, &[strange]).cells().count(), 1);
        assert!(vision.sees(&strange));
        // Another type in the same cell and place of the order is looked up.
        assert_eq!(look(&mut vision, &[unit(2, ANNA, TURRET, (3, 3))]), revealed(3, 3));
    }
}
