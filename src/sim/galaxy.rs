//! Owns where things are in the galaxy before anybody moved them. Never keeps
//! a state: all is a function of the seed. Called by whoever places or routes
//! anything. Invariant: the same seed gives the same places for ever.

use serde::{Deserialize, Serialize};

use super::Invalid;
use crate::base::SectorId;
use crate::base::draw::draw;

/// The galaxy's extent and seed, fixed when it is made: scale-0 sectors 0 to
/// `side` − 1 on both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Galaxy {
    seed: u64,
    side: u32,
}

/// A [`Galaxy`] before it is checked.
#[derive(Serialize, Deserialize)]
struct Raw {
    seed: u64,
    side: u32,
}

/// Scale-0 sectors in a scale-2 square.
const START_CHILDREN: u64 = 16;

impl Galaxy {
    /// The default number of scale-0 sectors along a side.
    pub const SIDE: u32 = 10_000;
    /// With less, the mid rim has no room for a ring of start places.
    pub const SIDE_MIN: u32 = 512;
    pub const SIDE_MAX: u32 = 1 << 20;

    /// A galaxy of `side` × `side` scale-0 sectors.
    ///
    /// # Errors
    /// When `side` is not from [`SIDE_MIN`](Self::SIDE_MIN) to
    /// [`SIDE_MAX`](Self::SIDE_MAX).
    pub fn new(seed: u64, side: u32) -> Result<Galaxy, Invalid> {
        if !(Self::SIDE_MIN..=Self::SIDE_MAX).contains(&side) {
            let expected = "512 to 1,048,576 sectors along a side";
            return Err(Invalid { field: "side", expected });
        }
        Ok(Galaxy { seed, side })
    }

    /// What all that is generated follows from.
    pub fn seed(self) -> u64 {
        self.seed
    }

    /// Scale-0 sectors along a side.
    pub fn side(self) -> u32 {
        self.side
    }

    /// Whether the scale-0 sector lies in the galaxy; larger ones never do.
    pub fn contains(self, sector: SectorId) -> bool {
        let side = 0..i64::from(self.side);
        sector.scale == 0 && side.contains(&sector.x) && side.contains(&sector.y)
    }

    /// The smallest sector that contains the galaxy: scale 14 by default.
    pub fn root(self) -> SectorId {
        let bits = u32::BITS - (self.side - 1).leading_zeros();
        // At most 20, see `SIDE_MAX`.
        SectorId { x: 0, y: 0, scale: u8::try_from(bits).unwrap_or(u8::MAX) }
    }

    /// The scale-0 sector where the `n`-th player starts. Different ones for
    /// different n below [`start_places`](Self::start_places), then again from
    /// the first.
    ///
    /// The n-th scale-2 square of a spiral outwards through the mid rim, round
    /// after round; in it the child that is drawn for the square, and in each
    /// later round the next child.
    pub fn start_place(self, n: u64) -> SectorId {
        let (inner, _) = self.rim();
        let squares = self.squares();
        let (round, index) = (n / squares, n % squares);
        let (x, y) = spiral(index + area(inner - 1));
        // The centre of the galaxy, to within a square; `rim` leaves one.
        let centre = i64::from(self.side / 8);
        let (x, y) = (centre + x, centre + y);
        let first = draw(self.seed, "starmesh 2026 start place", &[index]) % START_CHILDREN;
        let child = i64::try_from((first + round) % START_CHILDREN).unwrap_or(0);
        SectorId::tactical(4 * x + child % 4, 4 * y + child / 4)
    }

    /// How many start places there are: 6,080,256 by default, in 380,016
    /// squares.
    pub fn start_places(self) -> u64 {
        self.squares() * START_CHILDREN
    }

    fn squares(self) -> u64 {
        let (inner, outer) = self.rim();
        area(outer) - area(inner - 1)
    }

    /// The first and last square ring of scale-2 squares that lie between 25 %
    /// and 50 % of the radius with their corners and a square to spare.
    fn rim(self) -> (u64, u64) {
        let side = u64::from(self.side);
        // Ring k begins k − 1 squares of 4 km from the centre and its corners
        // are k × √2 from it; the radius is side / 2 km.
        let inner = side.div_ceil(32) + 2;
        let outer = (side * side / 512).isqrt() - 1;
        (inner, outer)
    }
}

impl TryFrom<Raw> for Galaxy {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Galaxy, Invalid> {
        Galaxy::new(raw.seed, raw.side)
    }
}

impl From<Galaxy> for Raw {
    fn from(galaxy: Galaxy) -> Raw {
        Raw { seed: galaxy.seed, side: galaxy.side }
    }
}

/// Squares in rings 1 to k: a block of 2k × 2k around the corner (0, 0).
fn area(k: u64) -> u64 {
    4 * k * k
}

/// The `n`-th square of a spiral of square rings around the corner (0, 0);
/// ring k has the squares with −k or k − 1 as one coordinate.
fn spiral(n: u64) -> (i64, i64) {
    let k = (n / 4).isqrt() + 1;
    // Rings of a galaxy are at most 2^15 wide.
    let k = i64::try_from(k).unwrap_or(i64::MAX);
    let along = i64::try_from(n).unwrap_or(i64::MAX) - 4 * (k - 1) * (k - 1);
    // Four arms of 2k − 1 squares, each ending before the next corner.
    let (arm, step) = (along / (2 * k - 1), along % (2 * k - 1));
    match arm {
        0 => (k - 1, step - k),
        1 => (k - 1 - step, k - 1),
        2 => (-k, k - 1 - step),
        _ => (step - k, -k),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn default_galaxy() -> Galaxy {
        Galaxy::new(2026, Galaxy::SIDE).unwrap()
    }

    /// Whether all of the sector is 25 % to 50 % of the radius from the centre.
    fn is_in_mid_rim(galaxy: Galaxy, sector: SectorId) -> bool {
        let side = i64::from(galaxy.side());
        // Twice the distance in km of each corner; the radius is side / 2.
        let corners = [(0, 0), (1, 0), (0, 1), (1, 1)]
            .map(|(dx, dy)| (2 * (sector.x + dx) - side, 2 * (sector.y + dy) - side));
        corners.into_iter().all(|(x, y)| {
            let squared = x * x + y * y;
            (side * side..=4 * side * side).contains(&(16 * squared))
        })
    }

    #[test]
    fn start_places_are_different_and_in_the_mid_rim() {
        let galaxy = default_galaxy();
        let places: BTreeSet<SectorId> = (0..100_000).map(|n| galaxy.start_place(n)).collect();
        assert_eq!(places.len(), 100_000);
        assert!(places.iter().all(|place| is_in_mid_rim(galaxy, *place)));
    }

    #[test]
    fn start_places_of_the_smallest_galaxy_are_all_different_until_it_is_full() {
        let galaxy = Galaxy::new(7, Galaxy::SIDE_MIN).unwrap();
        let count = galaxy.start_places();
        let places: BTreeSet<SectorId> = (0..count).map(|n| galaxy.start_place(n)).collect();
        assert_eq!(places.len() as u64, count);
        assert!(places.iter().all(|place| is_in_mid_rim(galaxy, *place)));
        assert_eq!(galaxy.start_place(count), galaxy.start_place(0));
    }

    #[test]
    fn the_default_galaxy_has_six_million_start_places() {
        assert_eq!(default_galaxy().squares(), 380_016);
        assert_eq!(default_galaxy().start_places(), 6_080_256);
    }

    #[test]
    fn start_places_stay_the_same_for_ever() {
        let places = [0, 1, 2, 380_015, 380_016].map(|n| {
            let place = default_galaxy().start_place(n);
            (place.x, place.y)
        });
        let expected = [(6259, 3740), (6258, 3744), (6257, 3750), (6753, 3240), (6256, 3741)];
        assert_eq!(places, expected);
    }

    #[test]
    fn the_root_is_the_smallest_sector_that_contains_the_galaxy() {
        let root = |side| Galaxy::new(0, side).unwrap().root().scale;
        assert_eq!([root(512), root(513), root(10_000), root(1 << 20)], [9, 10, 14, 20]);
    }

    #[test]
    fn a_galaxy_that_is_too_small_or_too_large_cannot_be_read() {
        assert!(serde_json::from_str::<Galaxy>(r#"{"seed":1,"side":511}"#).is_err());
        assert!(serde_json::from_str::<Galaxy>(r#"{"seed":1,"side":1048577}"#).is_err());
        assert_eq!(
            serde_json::from_str(r#"{"seed":1,"side":10000}"#).ok(),
            Galaxy::new(1, 10_000).ok()
        );
    }

    proptest! {
        #[test]
        fn every_start_place_of_every_galaxy_is_in_the_mid_rim(
            seed: u64, side in Galaxy::SIDE_MIN..=Galaxy::SIDE_MAX, n: u64,
        ) {
            let galaxy = Galaxy::new(seed, side).unwrap();
            let place = galaxy.start_place(n);
            prop_assert!(galaxy.contains(place));
            prop_assert!(is_in_mid_rim(galaxy, place));
        }

        #[test]
        fn neighbours_on_the_spiral_are_different_squares(n in 0_u64..1 << 30, m in 1_u64..1000) {
            prop_assert_ne!(spiral(n), spiral(n + m));
        }
    }
}
