//! Owns which cells of a sector a unit reveals. Never looks at units and never
//! knows players. Called when a unit changes its cell. Invariant: what is
//! revealed depends on the unit's cell and its sensor radius, so that a mask
//! tells no more of a unit's place than its cell.

use serde::{Deserialize, Serialize};

use crate::base::Position;
use crate::base::geometry::SECTOR_STEPS;
use crate::sim::rules::SENSOR_METRES_MAX;

/// Cells along a side of a sector.
pub const CELLS: i32 = 8;
/// The side of a cell in grid steps, and in metres.
const CELL_STEPS: i32 = SECTOR_STEPS / CELLS;
const CELL_METRES: i32 = 1000 / CELLS;
/// Half a cell's diagonal, rounded down: a unit at the corner of its cell sees
/// at least as far as its sensor does.
const HALF_DIAGONAL_METRES: u32 = 88;

/// A square of 125 × 125 m, counted from the origin of the sector whose mask is
/// asked for; 0 to 7 on both axes if it lies in that sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub x: i32,
    pub y: i32,
}

impl Cell {
    /// The cell of a unit of this sector; one that is leaving is still in the
    /// cell at the border.
    pub fn of(position: Position) -> Cell {
        let axis = |steps: i32| steps.div_euclid(CELL_STEPS).clamp(0, CELLS - 1);
        Cell { x: axis(position.x), y: axis(position.y) }
    }

    /// Its place in a mask, row by row, if it lies in the sector.
    pub fn index(self) -> Option<u32> {
        let inside = |v: i32| (0..CELLS).contains(&v);
        let index = self.y * CELLS + self.x;
        (inside(self.x) && inside(self.y)).then(|| index.unsigned_abs())
    }
}

/// A set of the 64 cells of a sector: bit 8 y + x.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask(pub u64);

impl Mask {
    pub const NONE: Mask = Mask(0);
    pub const ALL: Mask = Mask(u64::MAX);

    /// Whether the cell is in it; no cell outside the sector is.
    pub fn has(self, cell: Cell) -> bool {
        cell.index().is_some_and(|index| self.0 >> index & 1 == 1)
    }

    /// The cells of both.
    #[must_use]
    pub fn with(self, other: Mask) -> Mask {
        Mask(self.0 | other.0)
    }

    /// Its cells, in order.
    pub fn cells(self) -> impl Iterator<Item = Cell> {
        let all = (0..CELLS).flat_map(|y| (0..CELLS).map(move |x| Cell { x, y }));
        all.filter(move |cell| self.has(*cell))
    }
}

/// What units with one sensor radius reveal, made once per unit type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// For each row above or below that is in reach, the own one first: how
    /// many columns to each side are.
    reach: Vec<i32>,
}

impl Sight {
    /// For a radius in metres; more than [`SENSOR_METRES_MAX`] is that.
    pub fn new(radius: u32) -> Sight {
        // A cell is revealed when its centre is within r + 88 m of the centre
        // of the unit's own cell (semantics 4.6).
        let metres = radius.min(SENSOR_METRES_MAX) + HALF_DIAGONAL_METRES;
        let squared = i64::from(metres).pow(2);
        let reach = (0..)
            .map(|row| squared - i64::from(row * CELL_METRES).pow(2))
            .take_while(|left| *left >= 0)
            // At most 1,088 m, 8 columns.
            .map(|left| i32::try_from(left.isqrt()).unwrap_or(i32::MAX) / CELL_METRES)
            .collect();
        Sight { reach }
    }

    /// The cells of the sector that a unit in `cell` reveals; the cell may lie
    /// in a neighbouring sector.
    pub fn from(&self, cell: Cell) -> Mask {
        (0..CELLS).fold(Mask::NONE, |mask, y| mask.with(Mask(self.row(cell, y) << (y * CELLS))))
    }

    /// The eight bits of row `y`.
    fn row(&self, cell: Cell, y: i32) -> u64 {
        let away = usize::try_from(cell.y.abs_diff(y)).ok();
        let Some(reach) = away.and_then(|row| self.reach.get(row)) else { return 0 };
        let first = cell.x.saturating_sub(*reach).max(0);
        let last = cell.x.saturating_add(*reach).min(CELLS - 1);
        // Bits first to last, both from 0 to 7, none if they cross.
        (first..=last).fold(0, |bits, x| bits | 1 << x)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule as it is written: centres within r + 88 m.
    fn brute_force(cell: Cell, radius: i64) -> Mask {
        let centre = |v: i32| 2 * i64::from(v) * 125 + 125;
        let all = Mask::ALL.cells().filter(|seen| {
            // Doubled, so that centres are whole metres.
            let (dx, dy) = (centre(seen.x) - centre(cell.x), centre(seen.y) - centre(cell.y));
            dx * dx + dy * dy <= 4 * (radius + 88) * (radius + 88)
        });
        Mask(all.fold(0, |bits, cell| bits | 1 << cell.index().unwrap()))
    }

    proptest! {
        #[test]
        fn reveals_what_the_rule_says(
            x in -20_i32..28, y in -20_i32..28, radius in 0..=SENSOR_METRES_MAX,
        ) {
            let cell = Cell { x, y };
            prop_assert_eq!(Sight::new(radius).from(cell), brute_force(cell, radius.into()));
        }

        #[test]
        fn reveals_nothing_from_far_away(x: i32, y: i32, radius: u32) {
            let near = |v: i32| (-9..17).contains(&v);
            let mask = Sight::new(radius).from(Cell { x, y });
            prop_assert!(near(x) && near(y) || mask == Mask::NONE);
        }

        #[test]
        fn a_larger_radius_never_reveals_less(x in 0..8, y in 0..8, radius in 0..1000_u32) {
            let cell = Cell { x, y };
            let (small, large) = (Sight::new(radius).from(cell), Sight::new(radius + 1).from(cell));
            prop_assert_eq!(small.with(large), large);
        }

        #[test]
        fn every_unit_sees_its_own_cell(x: i32, y: i32, radius: u32) {
            let cell = Cell::of(Position { x, y });
            prop_assert!(Sight::new(radius).from(cell).has(cell));
        }
    }

    #[test]
    fn cells_are_an_eighth_of_the_side_and_end_at_the_border() {
        let cell = |x, y| Cell::of(Position { x, y });
        assert_eq!(cell(0, CELL_STEPS - 1), Cell { x: 0, y: 0 });
        assert_eq!(cell(CELL_STEPS, SECTOR_STEPS - 1), Cell { x: 1, y: 7 });
        assert_eq!(cell(-1, SECTOR_STEPS + 4000), Cell { x: 0, y: 7 });
        assert_eq!(cell(i32::MIN, i32::MAX), Cell { x: 0, y: 7 });
    }

    #[test]
    fn small_radii_reveal_the_cells_that_one_would_draw() {
        let middle = Cell { x: 3, y: 3 };
        let count = |radius| Sight::new(radius).from(middle).0.count_ones();
        // 88 m reach no other centre, 125 the four beside, 177 the corners.
        assert_eq!([count(0), count(36), count(37), count(88), count(89)], [1, 1, 5, 5, 9]);
        assert_eq!(Sight::new(1000).from(middle), Mask::ALL);
        // The corner opposite is √2 × 875 m away.
        let corner = Sight::new(1000).from(Cell { x: 0, y: 0 });
        assert!(!corner.has(Cell { x: 7, y: 7 }) && corner.has(Cell { x: 7, y: 5 }));
    }

    #[test]
    fn a_unit_in_the_neighbouring_sector_sees_across_the_border() {
        let mask = Sight::new(100).from(Cell { x: -1, y: 4 });
        assert_eq!(mask.cells().collect::<Vec<_>>(), [3, 4, 5].map(|y| Cell { x: 0, y }));
    }
}
