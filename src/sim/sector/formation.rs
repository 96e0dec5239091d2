//! Owns the spots that units take around one place: a grid of rings, nearest
//! first. Never looks at where units are. Called for commands to many and for
//! foundings. Invariant: no spot comes twice.

use crate::base::GalaxyPosition;
use crate::base::geometry::SECTOR_STEPS;
use crate::sim::Galaxy;

/// From spot to spot: 15.6 m.
pub(super) const SPOT_STEPS: i32 = 1 << 14;

/// Spots as steps of a spot from the middle, ring after ring, `rings` of them
/// around the first.
pub(super) fn rings(rings: i32) -> impl Iterator<Item = (i32, i32)> {
    (0..=rings).flat_map(|ring| {
        let line = move || -ring..=ring;
        line()
            .flat_map(move |y| line().map(move |x| (x, y)))
            .filter(move |(x, y)| x.abs().max(y.abs()) == ring)
    })
}

/// The first `count` spots around `middle` that lie in the galaxy; fewer when
/// it has no more.
pub(super) fn spots(
    middle: GalaxyPosition,
    galaxy: &Galaxy,
    count: usize,
) -> impl Iterator<Item = GalaxyPosition> {
    let end = i64::from(galaxy.side()) * i64::from(SECTOR_STEPS);
    let place = move |(x, y): (i32, i32)| {
        let axis = |p: i64, n: i32| p.saturating_add(i64::from(n) * i64::from(SPOT_STEPS));
        GalaxyPosition { x: axis(middle.x, x), y: axis(middle.y, y) }
    };
    let inside = move |p: &GalaxyPosition| (0..end).contains(&p.x) && (0..end).contains(&p.y);
    // A corner of the galaxy leaves a quarter of the rings.
    let needed = i32::try_from(count.isqrt()).unwrap_or(i32::MAX - 1) + 1;
    rings(needed).map(place).filter(inside).take(count)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_gets_its_own_spot_also_in_a_corner_of_the_galaxy() {
        let galaxy = Galaxy::new(1, Galaxy::SIDE_MIN).unwrap();
        let end = i64::from(Galaxy::SIDE_MIN) << 20;
        for corner in [0, end / 2, end - 1] {
            let middle = GalaxyPosition { x: corner, y: end - 1 };
            for count in [1, 2, 5, 256, 1000] {
                let given: BTreeSet<_> = spots(middle, &galaxy, count).collect();
                assert_eq!(given.len(), count);
                assert!(given.contains(&middle));
                assert!(given.iter().all(|p| galaxy.contains(p.sector(0))));
            }
        }
    }
}
