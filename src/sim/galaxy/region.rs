//! Owns which part of the galaxy a place lies in. Never draws: distance from
//! the centre decides. Called by generation and by whatever differs by region.
//! Invariant: every sector of the galaxy lies in one region, by its centre.

use serde::{Deserialize, Serialize};

use super::Galaxy;
use crate::base::SectorId;

/// A ring of the galaxy, by distance from its centre as part of the radius,
/// which is half of the side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// To 25 %.
    Core,
    /// To 50 %.
    MidRim,
    /// To 80 %.
    OuterRim,
    /// Beyond, the corners of the square included.
    DeepSpace,
}

/// One value for each region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerRegion<T> {
    pub core: T,
    pub mid_rim: T,
    pub outer_rim: T,
    pub deep_space: T,
}

impl<T: Copy> PerRegion<T> {
    pub fn of(&self, region: Region) -> T {
        match region {
            Region::Core => self.core,
            Region::MidRim => self.mid_rim,
            Region::OuterRim => self.outer_rim,
            Region::DeepSpace => self.deep_space,
        }
    }

    /// From the core outwards.
    pub fn all(&self) -> [T; 4] {
        [self.core, self.mid_rim, self.outer_rim, self.deep_space]
    }
}

impl Galaxy {
    /// The region that the centre of the scale-0 sector lies in; `None`
    /// outside the galaxy and for larger sectors.
    pub fn region(&self, sector: SectorId) -> Option<Region> {
        self.contains(sector).then(|| self.region_at(2 * sector.x + 1, 2 * sector.y + 1))
    }

    /// The region at (x, y), in half kilometres from the galaxy's corner.
    pub(super) fn region_at(&self, x: i64, y: i64) -> Region {
        // The centre is at `side` of these, and the radius has as many. A side
        // is at most 2^20, so a square is below 2^43.
        let side = i64::from(self.side());
        let (dx, dy) = (x - side, y - side);
        let (distance, radius) = (dx * dx + dy * dy, side * side);
        match distance {
            d if 16 * d <= radius => Region::Core,
            d if 4 * d <= radius => Region::MidRim,
            d if 25 * d <= 16 * radius => Region::OuterRim,
            _ => Region::DeepSpace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(x: i64, y: i64) -> Option<Region> {
        Galaxy::new(1, Galaxy::SIDE).unwrap().region(SectorId::tactical(x, y))
    }

    #[test]
    fn regions_end_at_a_quarter_half_and_four_fifths_of_the_radius() {
        // The centre lies between 4,999 and 5,000; the radius is 5,000 km.
        for (at, expected) in [
            (0, Region::Core),
            (1_249, Region::Core),
            (1_250, Region::MidRim),
            (2_499, Region::MidRim),
            (2_500, Region::OuterRim),
            (3_999, Region::OuterRim),
            (4_000, Region::DeepSpace),
            (4_999, Region::DeepSpace),
        ] {
            let (right, left) = (5_000 + at, 4_999 - at);
            for (x, y) in [(right, 5_000), (left, 5_000), (5_000, right), (4_999, left)] {
                assert_eq!(region(x, y), Some(expected), "{at}");
            }
        }
        assert_eq!(region(0, 0), Some(Region::DeepSpace));
        // 1,767.8 km along both axes are 2,500 km.
        assert_eq!(region(6_767, 6_766), Some(Region::MidRim));
        assert_eq!(region(6_768, 6_768), Some(Region::OuterRim));
    }

    #[test]
    fn there_is_no_region_outside_the_galaxy() {
        for (x, y) in [(-1, 5), (10_000, 5), (i64::MIN, i64::MAX), (i64::MAX, i64::MIN)] {
            assert_eq!(region(x, y), None);
        }
        let galaxy = Galaxy::new(1, Galaxy::SIDE).unwrap();
        assert_eq!(galaxy.region(SectorId { x: 1, y: 1, scale: 1 }), None);
        assert_eq!(galaxy.region(SectorId { x: 0, y: 0, scale: 255 }), None);
    }
}
