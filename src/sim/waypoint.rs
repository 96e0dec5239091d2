//! Owns the points that courses aim at. Never moves anything. Called by
//! whoever makes a course, and by clients, who are told waypoints. Invariant:
//! two axes of 12 bits each, whatever the scale of the sector.

use serde::{Deserialize, Serialize};

use crate::base::Position;

/// Bits of a grid step below the waypoints' grid at scale 0: 2^9 steps are
/// 0.488 m.
const SHIFT: u32 = 9;
/// Units live in sectors up to this scale.
pub const UNIT_SCALE_MAX: u8 = 10;

/// A point on a grid of 2,048 × 2,048 over the sector that goes on for half a
/// sector's side outside of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Waypoint {
    pub x: i16,
    pub y: i16,
}

impl Waypoint {
    pub const MIN: i16 = -1024;
    pub const MAX: i16 = 3071;
    /// The grid's points along a side of the sector are 0 to `SIDE` − 1.
    pub const SIDE: i16 = 2048;

    /// The point nearest to `position` in a sector of `scale`: at most half a
    /// grid from it on each axis, but a whole one where a place inside the
    /// sector has its nearest point on the border.
    pub fn nearest(position: Position, scale: u8) -> Waypoint {
        Waypoint { x: nearest(position.x, scale), y: nearest(position.y, scale) }
    }

    /// In grid steps from the origin of its sector, which is of `scale`.
    pub fn position(self, scale: u8) -> Position {
        let axis = |v: i16| i32::from(v.clamp(Self::MIN, Self::MAX)) << shift(scale);
        Position { x: axis(self.x), y: axis(self.y) }
    }

    /// Whether both axes are within 12 bits.
    pub fn is_in_range(self) -> bool {
        let range = Self::MIN..=Self::MAX;
        range.contains(&self.x) && range.contains(&self.y)
    }
}

/// Bits of a grid step below the grid in a sector of `scale`.
pub fn shift(scale: u8) -> u32 {
    SHIFT + u32::from(scale.min(UNIT_SCALE_MAX))
}

fn nearest(steps: i32, scale: u8) -> i16 {
    let shift = shift(scale);
    let point = (i64::from(steps) + (1 << (shift - 1))) >> shift;
    let inside = i64::from(steps) >> shift < i64::from(Waypoint::SIDE);
    let last = if inside { Waypoint::SIDE - 1 } else { Waypoint::MAX };
    i16::try_from(point.clamp(Waypoint::MIN.into(), last.into())).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_nearest_point_is_near_and_on_the_same_side_of_the_border(
            x in -500_000_i32..1_500_000, scale in 0_u8..=UNIT_SCALE_MAX, part in 0_i32..1024,
        ) {
            let (side, grid) = (1 << (20 + scale), 1 << shift(scale));
            let x = (x >> 10 << (10 + scale)) + (part << scale);
            prop_assume!(x < side / 2 * 3 - grid);
            let point = Waypoint::nearest(Position { x, y: 0 }, scale);
            let there = point.position(scale).x;
            prop_assert!(there.abs_diff(x) <= grid.unsigned_abs());
            prop_assert!(x >= side || there < side);
            prop_assert_eq!(Waypoint::nearest(point.position(scale), scale), point);
        }

        #[test]
        fn any_place_has_a_point_in_range(x: i32, y: i32, scale: u8) {
            let point = Waypoint::nearest(Position { x, y }, scale);
            prop_assert!(point.is_in_range());
            point.position(scale);
        }

        #[test]
        fn any_point_has_a_place(x: i16, y: i16, scale: u8) {
            Waypoint { x, y }.position(scale);
        }
    }
}
