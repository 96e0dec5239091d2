//! Owns the form of a place that leaves a sector: a fraction of the sector's
//! side. Never overflows. Called for order targets, `/api` and exports.
//! Invariant: exact for grid steps up to scale 12.

use serde::{Deserialize, Serialize};

use super::{Position, SectorId};

/// A place as a fraction of its sector's side, in 2^-32 of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CompressedPosition {
    pub x: u32,
    pub y: u32,
}

impl CompressedPosition {
    /// `position` in a sector of `scale`, clamped to the sector.
    pub fn of(position: Position, scale: u8) -> CompressedPosition {
        CompressedPosition { x: fraction(position.x, scale), y: fraction(position.y, scale) }
    }

    /// The scale-0 sector that contains this place of `sector`, and the place
    /// in it, rounded down to the grid; `None` from scale 64 up, and where its
    /// column or row leaves `i64`.
    pub fn locate(self, sector: SectorId) -> Option<(SectorId, Position)> {
        let (x, px) = locate_axis(sector.x, self.x, sector.scale)?;
        let (y, py) = locate_axis(sector.y, self.y, sector.scale)?;
        Some((SectorId::tactical(x, y), Position { x: px, y: py }))
    }
}

/// Steps of 2^-20 km to 2^-32 of a side of 2^scale km.
fn fraction(steps: i32, scale: u8) -> u32 {
    let steps = u64::try_from(steps).unwrap_or(0);
    let scaled = match 12_u32.checked_sub(u32::from(scale)) {
        Some(left) => steps << left,
        None => steps >> u32::from(scale - 12).min(63),
    };
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

/// The scale-0 column at `fraction` of column `sector` of `scale`, and the
/// steps into it.
fn locate_axis(sector: i64, fraction: u32, scale: u8) -> Option<(i64, i32)> {
    // A square of scale 64 and more has columns beyond any i64.
    let side = 1_i128.checked_shl(u32::from(scale)).filter(|_| scale < 64)?;
    let steps = (i128::from(fraction) << scale) >> 12;
    let column = i128::from(sector).checked_mul(side)?.checked_add(steps >> 20)?;
    // The mask leaves 20 bits.
    Some((i64::try_from(column).ok()?, (steps & 0xF_FFFF) as i32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::geometry::{SECTOR_STEPS, strategies::sector};

    proptest! {
        #[test]
        fn a_place_in_a_tactical_sector_comes_back_exactly(
            x in 0..SECTOR_STEPS, y in 0..SECTOR_STEPS, sx: i64, sy: i64,
        ) {
            let (sector, position) = (SectorId::tactical(sx, sy), Position { x, y });
            let compressed = CompressedPosition::of(position, 0);
            prop_assert_eq!(compressed.locate(sector), Some((sector, position)));
        }

        /// Up to scale 10, where units live, no step is lost.
        #[test]
        fn a_place_in_a_large_sector_is_located_in_its_child(
            x in 0..i32::MAX, y in 0..i32::MAX, sx in -1000_i64..1000, sy in -1000_i64..1000,
            scale in 0_u8..=10,
        ) {
            let side = SECTOR_STEPS << scale;
            let (x, y) = (x % side, y % side);
            let compressed = CompressedPosition::of(Position { x, y }, scale);
            let child = SectorId::tactical(
                (sx << scale) + i64::from(x >> 20),
                (sy << scale) + i64::from(y >> 20),
            );
            let inside = Position { x: x % SECTOR_STEPS, y: y % SECTOR_STEPS };
            let located = compressed.locate(SectorId { x: sx, y: sy, scale });
            prop_assert_eq!(located, Some((child, inside)));
        }

        #[test]
        fn what_is_located_lies_in_the_sector(sector in sector(), x: u32, y: u32) {
            if let Some((child, position)) = (CompressedPosition { x, y }).locate(sector) {
                prop_assert!(sector.contains(child));
                prop_assert!((0..SECTOR_STEPS).contains(&position.x));
                prop_assert!((0..SECTOR_STEPS).contains(&position.y));
            }
        }

        #[test]
        fn a_place_outside_is_clamped_to_the_sector(x: i32, y: i32, scale: u8) {
            let compressed = CompressedPosition::of(Position { x, y }, scale);
            prop_assert!(x >= 0 || compressed.x == 0);
            prop_assert!(scale > 0 || y < SECTOR_STEPS || compressed.y == u32::MAX);
        }
    }

    #[test]
    fn a_step_is_a_fraction_of_the_side() {
        let at = |x, scale| CompressedPosition::of(Position { x, y: 0 }, scale).x;
        assert_eq!(at(1, 0), 1 << 12);
        assert_eq!(at(SECTOR_STEPS / 2, 0), 1 << 31);
        assert_eq!(at(1, 12), 1);
        assert_eq!(at(1 << 30, 14), 1 << 28);
        assert_eq!(at(i32::MAX, 255), 0);
    }
}
