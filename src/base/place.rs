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
