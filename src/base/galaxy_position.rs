//! Owns places that belong to no sector: grid steps from the galaxy's origin.
//! Never overflows. Called for orders, which lead anywhere, and wherever a
//! unit passes from one sector to another. Invariant: exact for every place of
//! a galaxy and every sector that has one.

use serde::{Deserialize, Serialize};

use super::{Position, SectorId};

/// A place anywhere in the galaxy, in grid steps from its origin.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct GalaxyPosition {
    pub x: i64,
    pub y: i64,
}

impl GalaxyPosition {
    /// `position` of `sector`.
    pub fn of(sector: SectorId, position: Position) -> GalaxyPosition {
        let axis =
            |column: i64, steps: i32| origin(column, sector.scale).saturating_add(steps.into());
        GalaxyPosition { x: axis(sector.x, position.x), y: axis(sector.y, position.y) }
    }

    /// The sector of `scale` that contains this place.
    pub fn sector(self, scale: u8) -> SectorId {
        let shift = (20 + u32::from(scale)).min(63);
        SectorId { x: self.x >> shift, y: self.y >> shift, scale }
    }

    /// Grid steps from `sector`'s origin, however far.
    pub fn from_origin(self, sector: SectorId) -> (i64, i64) {
        let axis = |place: i64, column: i64| place.saturating_sub(origin(column, sector.scale));
        (axis(self.x, sector.x), axis(self.y, sector.y))
    }

    /// The place as `sector` counts it, as near as an `i32` comes.
    pub fn position(self, sector: SectorId) -> Position {
        let axis = |v: i64| i32::try_from(v).unwrap_or(if v < 0 { i32::MIN } else { i32::MAX });
        let (x, y) = self.from_origin(sector);
        Position { x: axis(x), y: axis(y) }
    }
}

/// Where a column of sectors begins.
fn origin(column: i64, scale: u8) -> i64 {
    column.saturating_mul(1_i64.checked_shl(20 + u32::from(scale)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::geometry::strategies::{coordinate, sector};

    proptest! {
        #[test]
        fn a_place_is_where_its_sector_says(
            x in 0_i64..1 << 40, y in 0_i64..1 << 40, scale in 0_u8..=10,
        ) {
            let place = GalaxyPosition { x, y };
            let sector = place.sector(scale);
            let position = place.position(sector);
            let side = 0..1 << (20 + scale);
            prop_assert!(side.contains(&position.x) && side.contains(&position.y));
            prop_assert_eq!(GalaxyPosition::of(sector, position), place);
            prop_assert_eq!(place.sector(0).ancestor(scale), Some(sector));
        }

        #[test]
        fn a_place_outside_its_sector_comes_back(
            sx in 0_i64..1 << 20, sy in 0_i64..1 << 20, x: i32, y: i32,
        ) {
            let (sector, position) = (SectorId::tactical(sx, sy), Position { x, y });
            prop_assert_eq!(GalaxyPosition::of(sector, position).position(sector), position);
        }

        #[test]
        fn any_place_and_sector_are_ordinary(
            x in coordinate(), y in coordinate(), sector in sector(), px: i32, py: i32,
        ) {
            let place = GalaxyPosition { x, y };
            place.position(sector);
            place.sector(sector.scale);
            GalaxyPosition::of(sector, Position { x: px, y: py });
        }
    }
}
