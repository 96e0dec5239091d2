//! Owns sectors and places in them. Never overflows: a parent or child that
//! cannot be represented does not exist. Called by everything that knows
//! where something is.

use serde::{Deserialize, Serialize};

/// Grid steps along the side of a scale-0 sector; one is 2^-20 km, 0.954 mm.
pub const SECTOR_STEPS: i32 = 1 << 20;

/// A square of space: `x`, `y` count squares of side 2^scale km.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SectorId {
    pub x: i64,
    pub y: i64,
    pub scale: u8,
}

/// A place in grid steps from its sector's origin; outside the sector while a
/// unit is leaving it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    pub x: i32,
    pub y: i32,
}

impl SectorId {
    /// The scale-0 sector at (x, y).
    pub const fn tactical(x: i64, y: i64) -> SectorId {
        SectorId { x, y, scale: 0 }
    }

    /// The sector of twice the side that contains this one, `None` at scale 255.
    pub fn parent(self) -> Option<SectorId> {
        let scale = self.scale.checked_add(1)?;
        Some(SectorId { x: self.x >> 1, y: self.y >> 1, scale })
    }

    /// The up to four sectors of half the side, in the order (2x, 2y),
    /// (2x+1, 2y), (2x, 2y+1), (2x+1, 2y+1); none at scale 0, and none where
    /// a coordinate would leave `i64`.
    pub fn children(self) -> impl Iterator<Item = SectorId> {
        [(0, 0), (1, 0), (0, 1), (1, 1)].into_iter().filter_map(move |(dx, dy)| {
            Some(SectorId {
                x: self.x.checked_mul(2)?.checked_add(dx)?,
                y: self.y.checked_mul(2)?.checked_add(dy)?,
                scale: self.scale.checked_sub(1)?,
            })
        })
    }

    /// The ancestor at `scale`, itself at its own, `None` below it.
    pub fn ancestor(self, scale: u8) -> Option<SectorId> {
        let up = scale.checked_sub(self.scale)?;
        let shift = u32::from(up).min(63);
        Some(SectorId { x: self.x >> shift, y: self.y >> shift, scale })
    }

    /// Whether `other` is this sector or lies in it.
    pub fn contains(self, other: SectorId) -> bool {
        other.ancestor(self.scale) == Some(self)
    }

    /// The sector `dx`, `dy` squares away at the same scale.
    pub fn neighbour(self, dx: i64, dy: i64) -> Option<SectorId> {
        Some(SectorId { x: self.x.checked_add(dx)?, y: self.y.checked_add(dy)?, scale: self.scale })
    }

    /// The Morton code of (x, y): bits interleaved, y above x, each with its
    /// sign bit flipped so that the codes order like the numbers. A parent's
    /// code is a prefix of its children's, shifted.
    pub fn morton(self) -> u128 {
        let order = |v: i64| (v as u64) ^ (1 << 63);
        spread(order(self.x)) | (spread(order(self.y)) << 1)
    }

    /// The sector with this Morton code.
    pub fn from_morton(scale: u8, code: u128) -> SectorId {
        let order = |v: u64| (v ^ (1 << 63)) as i64;
        SectorId { x: order(gather(code)), y: order(gather(code >> 1)), scale }
    }
}

impl Ord for SectorId {
    /// As their entity keys: scale, then Morton code. Which of two codes is less
    /// shows in the highest bit in which they differ, so neither is made.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (x, y) = ((self.x ^ other.x) as u64, (self.y ^ other.y) as u64);
        // Whether x has that bit: a bit of y is above the same one of x.
        let is_in_x = y < x && y < x ^ y;
        let by_code = if is_in_x { self.x.cmp(&other.x) } else { self.y.cmp(&other.y) };
        self.scale.cmp(&other.scale).then(by_code)
    }
}

impl PartialOrd for SectorId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for SectorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{},{}", self.x, self.y, self.scale)
    }
}

/// What is wrong with a sector written as text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a sector: expected X,Y or X,Y,SCALE, whole numbers, SCALE 0 to 255")]
pub struct ParseSectorError(String);

impl std::str::FromStr for SectorId {
    type Err = ParseSectorError;

    fn from_str(text: &str) -> Result<SectorId, ParseSectorError> {
        let wrong = || ParseSectorError(text.chars().take(80).collect());
        let mut parts = text.split(',').map(str::trim);
        let x = parts.next().and_then(|x| x.parse().ok()).ok_or_else(wrong)?;
        let y = parts.next().and_then(|y| y.parse().ok()).ok_or_else(wrong)?;
        let scale = parts.next().map_or(Some(0), |s| s.parse().ok()).ok_or_else(wrong)?;
        match parts.next() {
            None => Ok(SectorId { x, y, scale }),
            Some(_) => Err(wrong()),
        }
    }
}

/// Moves bit i of `value` to bit 2i.
fn spread(value: u64) -> u128 {
    const MASKS: [(u32, u128); 6] = [
        (32, 0x0000_0000_FFFF_FFFF_0000_0000_FFFF_FFFF),
        (16, 0x0000_FFFF_0000_FFFF_0000_FFFF_0000_FFFF),
        (8, 0x00FF_00FF_00FF_00FF_00FF_00FF_00FF_00FF),
        (4, 0x0F0F_0F0F_0F0F_0F0F_0F0F_0F0F_0F0F_0F0F),
        (2, 0x3333_3333_3333_3333_3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555_5555_5555_5555_5555),
    ];
    MASKS.iter().fold(u128::from(value), |v, (shift, mask)| (v | (v << shift)) & mask)
}

/// Moves bit 2i of `code` to bit i.
fn gather(code: u128) -> u64 {
    const MASKS: [(u32, u128); 6] = [
        (1, 0x3333_3333_3333_3333_3333_3333_3333_3333),
        (2, 0x0F0F_0F0F_0F0F_0F0F_0F0F_0F0F_0F0F_0F0F),
        (4, 0x00FF_00FF_00FF_00FF_00FF_00FF_00FF_00FF),
        (8, 0x0000_FFFF_0000_FFFF_0000_FFFF_0000_FFFF),
        (16, 0x0000_0000_FFFF_FFFF_0000_0000_FFFF_FFFF),
        (32, 0x0000_0000_0000_0000_FFFF_FFFF_FFFF_FFFF),
    ];
    let even = code & 0x5555_5555_5555_5555_5555_5555_5555_5555;
    MASKS.iter().fold(even, |v, (shift, mask)| (v | (v >> shift)) & mask) as u64
}

#[cfg(test)]
pub(crate) mod strategies {
    use proptest::prelude::*;

    use super::SectorId;

    /// Coordinates, with the ends of `i64` and the middle far more often than
    /// chance would have them.
    pub(crate) fn coordinate() -> impl Strategy<Value = i64> {
        let edge =
            prop::sample::select(vec![i64::MIN, i64::MIN / 2, -1, 0, 1, i64::MAX / 2, i64::MAX]);
        prop_oneof![any::<i64>(), -40_i64..40, edge]
    }

    pub(crate) fn scale() -> impl Strategy<Value = u8> {
        prop_oneof![any::<u8>(), 0_u8..6, prop::sample::select(vec![0, 1, 62, 63, 64, 254, 255])]
    }

    pub(crate) fn sector() -> impl Strategy<Value = SectorId> {
        (coordinate(), coordinate(), scale()).prop_map(|(x, y, scale)| SectorId { x, y, scale })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::strategies::{coordinate, scale, sector};
    use super::*;

    proptest! {
        #[test]
        fn the_parent_of_every_child_is_the_sector(sector in sector()) {
            for child in sector.children() {
                prop_assert_eq!(child.parent(), Some(sector));
                prop_assert!(sector.contains(child));
            }
        }

        #[test]
        fn a_sector_is_one_of_its_parents_children(sector in sector()) {
            match sector.parent() {
                Some(parent) => prop_assert!(parent.children().any(|child| child == sector)),
                None => prop_assert_eq!(sector.scale, 255),
            }
        }

        #[test]
        fn an_ancestor_is_so_many_parents_up(sector in sector(), scale in scale()) {
            let mut expected = Some(sector);
            while let Some(up) = expected.filter(|up| up.scale < scale) {
                expected = up.parent();
            }
            prop_assert_eq!(sector.ancestor(scale), expected.filter(|up| up.scale == scale));
        }

        #[test]
        fn a_morton_code_names_its_sector(sector in sector()) {
            prop_assert_eq!(SectorId::from_morton(sector.scale, sector.morton()), sector);
        }

        #[test]
        fn morton_codes_order_like_the_numbers_along_an_axis(
            a in coordinate(), b in coordinate(), other in coordinate(),
        ) {
            let code = |x, y| SectorId::tactical(x, y).morton();
            prop_assert_eq!(code(a, other).cmp(&code(b, other)), a.cmp(&b));
            prop_assert_eq!(code(other, a).cmp(&code(other, b)), a.cmp(&b));
        }

        #[test]
        fn sectors_order_by_scale_and_code(a in sector(), b in sector()) {
            let key = |it: SectorId| (it.scale, it.morton());
            prop_assert_eq!(a.cmp(&b), key(a).cmp(&key(b)));
            // Near to each other, too, where few bits differ.
            let near = SectorId { x: a.x ^ (b.x & 7), y: a.y ^ (b.y & 7), ..a };
            prop_assert_eq!(a.cmp(&near), key(a).cmp(&key(near)));
        }

        #[test]
        fn children_come_in_the_order_of_their_codes(sector in sector()) {
            let children: Vec<SectorId> = sector.children().collect();
            prop_assert!(children.is_sorted());
        }

        #[test]
        fn text_names_its_sector(sector in sector()) {
            prop_assert_eq!(sector.to_string().parse(), Ok(sector));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,60}") {
            let _ = text.parse::<SectorId>();
        }

        #[test]
        fn a_neighbours_neighbour_is_the_sector(
            sector in sector(), dx in -1_i64..=1, dy in -1_i64..=1,
        ) {
            if let Some(neighbour) = sector.neighbour(dx, dy) {
                prop_assert_eq!(neighbour.neighbour(-dx, -dy), Some(sector));
            }
        }
    }

    #[test]
    fn children_are_listed_x_first() {
        let parent = SectorId { x: -1, y: 3, scale: 1 };
        let children: Vec<_> = parent.children().map(|c| (c.x, c.y, c.scale)).collect();
        assert_eq!(children, [(-2, 6, 0), (-1, 6, 0), (-2, 7, 0), (-1, 7, 0)]);
    }

    #[test]
    fn children_that_cannot_be_named_do_not_exist() {
        let count = |x, y, scale| SectorId { x, y, scale }.children().count();
        assert_eq!(count(0, 0, 0), 0);
        assert_eq!(count(i64::MAX, 0, 1), 0);
        assert_eq!(count(0, i64::MIN, 255), 0);
        assert_eq!(count(i64::MIN / 2, i64::MAX / 2, 255), 4);
    }

    #[test]
    fn refuses_text_that_is_no_sector() {
        for text in ["", "1", "1,", "1,2,3,4", "1,2,256", "1,2,-1", "a,b", "9223372036854775808,0"]
        {
            assert!(text.parse::<SectorId>().is_err(), "{text}");
        }
        assert_eq!(" 1, -2 ".parse(), Ok(SectorId::tactical(1, -2)));
    }
}
