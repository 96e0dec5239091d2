//! Owns how rich in resources a place is: smooth hills of two sizes over the
//! whole galaxy. Never looks at more than eight drawn heights. Called where
//! resources are mined or shown.

use super::{Galaxy, Purpose};
use crate::base::SectorId;

/// Sectors from one drawn height to the next, as a power of two, and what
/// hills of that size count.
const HILLS: [(u32, u64); 2] = [(6, 2), (4, 1)];

impl Galaxy {
    /// Resources of the scale-0 sector, 0 to 1,000; `None` outside the galaxy
    /// and for larger sectors.
    pub fn density(&self, sector: SectorId) -> Option<u16> {
        if !self.contains(sector) {
            return None;
        }
        // Not negative in the galaxy.
        let at = [sector.x, sector.y].map(i64::unsigned_abs);
        let weights: u64 = HILLS.iter().map(|(_, weight)| weight).sum();
        let sum: u64 = HILLS.iter().map(|(shift, weight)| weight * self.hills(at, *shift)).sum();
        let density = sum * u64::from(self.parameters().resources_max) / (weights * 1_000);
        u16::try_from(density).ok()
    }

    /// The height at a place, 0 to 1,000, between those that are drawn for
    /// the corners of its square of 2^`shift` sectors.
    fn hills(&self, at: [u64; 2], shift: u32) -> u64 {
        let side = 1 << shift;
        let ([x, y], [right, down]) = (at.map(|v| v >> shift), at.map(|v| v % side));
        let height = |dx, dy| {
            // Sides are at most 2^20, so the size of the hills has its bits.
            let corner = [(x + dx) | (u64::from(shift) << 32), y + dy];
            self.draw(Purpose::Density, corner)[0] % 1_001
        };
        let row = |dy| height(0, dy) * (side - right) + height(1, dy) * right;
        (row(0) * (side - down) + row(1) * down) >> (2 * shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::galaxy::Parameters;

    fn density(galaxy: &Galaxy, x: i64, y: i64) -> u16 {
        galaxy.density(SectorId::tactical(x, y)).unwrap()
    }

    #[test]
    fn resources_change_slowly_from_sector_to_sector() {
        let galaxy = Galaxy::new(2026, Galaxy::SIDE).unwrap();
        for x in 0..9_999 {
            let (here, right) = (density(&galaxy, x, 4_321), density(&galaxy, x + 1, 4_321));
            // 2/3 of 1,000 in 64 sectors and 1/3 of it in 16, at most.
            assert!(here.abs_diff(right) <= 33, "{x}: {here} {right}");
        }
    }

    #[test]
    fn resources_are_spread_around_the_middle_of_their_range() {
        let galaxy = Galaxy::new(2026, Galaxy::SIDE).unwrap();
        let places = || (0..100).flat_map(|x| (0..100).map(move |y| (100 * x, 100 * y)));
        let of: Vec<u16> = places().map(|(x, y)| density(&galaxy, x, y)).collect();
        let mean = of.iter().map(|v| u64::from(*v)).sum::<u64>() / of.len() as u64;
        assert!((480..=520).contains(&mean), "{mean}");
        let share = |range: std::ops::RangeInclusive<u16>| {
            of.iter().filter(|v| range.contains(v)).count() * 100 / of.len()
        };
        assert!(share(0..=250) >= 4 && share(750..=1_000) >= 4, "{}", share(0..=250));
        assert_eq!(share(0..=1_000), 100);
    }

    #[test]
    fn a_poorer_galaxy_has_the_same_hills_lower() {
        let rich = Galaxy::new(5, Galaxy::SIDE).unwrap();
        let poor = Parameters { resources_max: 100, ..Parameters::default() };
        let poor = Galaxy::generated(5, Galaxy::SIDE, poor).unwrap();
        for x in 0..1_000 {
            let (high, low) = (density(&rich, 7 * x, 77), density(&poor, 7 * x, 77));
            assert!((high / 10).abs_diff(low) <= 1, "{high} {low}");
        }
    }
}
