//! Owns where players start: squares of 4 × 4 sectors on a spiral outwards
//! through the mid rim, each with a terrestrial planet. Never counts players:
//! the ledgers do. Called when a player is new, and by what fills a sector.
//! Invariant: different n give different sectors, up to the last.

use super::Galaxy;
use crate::base::SectorId;
use crate::base::draw::draw;

/// Scale-0 sectors in a scale-2 square.
const START_CHILDREN: u64 = 16;

impl Galaxy {
    /// The scale-0 sector where the `n`-th player starts. Different ones for
    /// different n below [`start_places`](Self::start_places), then again from
    /// the first.
    ///
    /// The n-th scale-2 square of a spiral outwards through the mid rim, round
    /// after round; in it the child that is drawn for the square, which has a
    /// terrestrial planet, and in each later round the next child, which is
    /// less than 6 km from it.
    pub fn start_place(&self, n: u64) -> SectorId {
        let (inner, _) = self.rim();
        let squares = self.squares();
        let (round, index) = (n / squares, n % squares);
        let square = spiral(index + area(inner - 1));
        self.start_in(square, index, round)
    }

    /// The sector with the home world of the scale-2 square that contains the
    /// scale-0 sector: a terrestrial planet besides those of star systems, for
    /// the player who starts there. `None` where nobody starts.
    pub fn home_world(&self, sector: SectorId) -> Option<SectorId> {
        let square = self.contains(sector).then(|| sector.ancestor(2)).flatten()?;
        let centre = i64::from(self.side() / 8);
        let square = (square.x - centre, square.y - centre);
        let (inner, _) = self.rim();
        let index = index_on_spiral(square).checked_sub(area(inner - 1))?;
        (index < self.squares()).then(|| self.start_in(square, index, 0))
    }

    pub(super) fn is_home_world(&self, sector: SectorId) -> bool {
        self.home_world(sector) == Some(sector)
    }

    /// How many start places there are: 6,080,256 by default, in 380,016
    /// squares.
    pub fn start_places(&self) -> u64 {
        self.squares() * START_CHILDREN
    }

    /// The start place of a round in the `index`-th square, which is so many
    /// squares from the galaxy's centre.
    fn start_in(&self, square: (i64, i64), index: u64, round: u64) -> SectorId {
        // The centre of the galaxy, to within a square; `rim` leaves one.
        let centre = i64::from(self.side() / 8);
        let (x, y) = (centre + square.0, centre + square.1);
        let first = draw(self.seed(), "starmesh 2026 start place", &[index]) % START_CHILDREN;
        let child = i64::try_from((first + round) % START_CHILDREN).unwrap_or(0);
        SectorId::tactical(4 * x + child % 4, 4 * y + child / 4)
    }

    fn squares(&self) -> u64 {
        let (inner, outer) = self.rim();
        area(outer) - area(inner - 1)
    }

    /// The first and last square ring of scale-2 squares that lie between 25 %
    /// and 50 % of the radius with their corners and a square to spare.
    fn rim(&self) -> (u64, u64) {
        let side = u64::from(self.side());
        // Ring k begins k − 1 squares of 4 km from the centre and its corners
        // are k × √2 from it; the radius is side / 2 km.
        let inner = side.div_ceil(32) + 2;
        let outer = (side * side / 512).isqrt() - 1;
        (inner, outer)
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

/// The inverse of [`spiral`].
fn index_on_spiral((x, y): (i64, i64)) -> u64 {
    let out = |v: i64| if v < 0 { -v } else { v + 1 };
    let k = out(x).max(out(y));
    let (arm, step) = match (x, y) {
        (x, y) if x == k - 1 && y < k - 1 => (0, y + k),
        (x, y) if y == k - 1 && x > -k => (1, k - 1 - x),
        (x, y) if x == -k && y > -k => (2, k - 1 - y),
        (x, _) => (3, x + k),
    };
    // Squares of the galaxy are at most 2^18 from its centre.
    u64::try_from(4 * (k - 1) * (k - 1) + arm * (2 * k - 1) + step).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::sim::galaxy::{FeatureKind, PlanetType, Region};

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

    fn has_terrestrial_planet(galaxy: &Galaxy, sector: SectorId) -> bool {
        let terrestrial = FeatureKind::Planet(PlanetType::Terrestrial);
        galaxy.contents(sector).iter().any(|feature| feature.kind == terrestrial)
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

    proptest! {
        #[test]
        fn every_start_place_of_every_galaxy_is_in_the_mid_rim(
            seed: u64, side in Galaxy::SIDE_MIN..=Galaxy::SIDE_MAX, n: u64,
        ) {
            let galaxy = Galaxy::new(seed, side).unwrap();
            let place = galaxy.start_place(n);
            prop_assert!(galaxy.contains(place));
            prop_assert!(is_in_mid_rim(galaxy, place));
            prop_assert_eq!(galaxy.region(place), Some(Region::MidRim));
        }

        #[test]
        fn a_terrestrial_planet_is_in_the_square_of_every_start_place(
            seed: u64, side in Galaxy::SIDE_MIN..=Galaxy::SIDE_MAX, n: u64,
        ) {
            let galaxy = Galaxy::new(seed, side).unwrap();
            let place = galaxy.start_place(n);
            let home = galaxy.home_world(place).unwrap();
            prop_assert_eq!(home.ancestor(2), place.ancestor(2));
            prop_assert!(has_terrestrial_planet(&galaxy, home));
            prop_assert_eq!(n >= galaxy.squares() || home == place, true);
        }

        #[test]
        fn home_worlds_are_exactly_the_start_places_of_the_first_round(
            seed: u64, x in 0_i64..600, y in 0_i64..600,
        ) {
            let galaxy = Galaxy::new(seed, 600).unwrap();
            let sector = SectorId::tactical(x, y);
            let first: BTreeSet<_> = (0..galaxy.squares()).map(|n| galaxy.start_place(n)).collect();
            prop_assert_eq!(galaxy.is_home_world(sector), first.contains(&sector));
        }

        #[test]
        fn the_index_of_a_square_is_where_the_spiral_meets_it(n in 0_u64..1 << 40) {
            prop_assert_eq!(index_on_spiral(spiral(n)), n);
        }

        #[test]
        fn neighbours_on_the_spiral_are_different_squares(n in 0_u64..1 << 30, m in 1_u64..1000) {
            prop_assert_ne!(spiral(n), spiral(n + m));
        }
    }
}
