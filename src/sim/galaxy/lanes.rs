//! Owns the star lanes: which systems are neighbours. Never keeps a list of
//! them: a system's lanes follow from the systems around it. Called by routes
//! and maps.
//!
//! A lane joins two systems when no third is nearer to both than they are to
//! each other (the relative neighbourhood graph), or when none lies in the
//! circle between them (the Gabriel graph) and it is drawn as a shortcut.
//!
//! Invariants: lanes go both ways; none is longer than [`LANE_SECTORS_MAX`];
//! along them every system is reached from every other. The last is a theorem:
//! blocks that touch have systems no farther apart than a lane may be, so the
//! shortest tree over all systems has no longer edge, and such a tree is part
//! of every relative neighbourhood graph.

use super::cells::{CELL_SECTORS, Cell};
use super::{Galaxy, Purpose, packed};
use crate::base::SectorId;

/// No lane is longer; in sectors, rounded down.
pub const LANE_SECTORS_MAX: u64 = LANE_SQUARED_MAX.isqrt();
/// Two systems of blocks that touch are at most 127 columns and 63 rows apart,
/// or the other way round.
const LANE_SQUARED_MAX: u64 = 127 * 127 + 63 * 63;

/// A system that may be a neighbour.
#[derive(Clone, Copy)]
struct Candidate {
    star: SectorId,
    /// Of the distance between the stars' sectors.
    squared: u64,
}

impl Galaxy {
    /// The stars that lanes go to from the system with this star, nearest
    /// first; none if no star is there.
    pub fn lanes_of(&self, star: SectorId) -> Vec<SectorId> {
        match self.system_at(star) {
            Some(_) => self.lanes_among(star, |cell| self.system(cell).map(|system| system.star)),
            None => Vec::new(),
        }
    }

    /// The lanes from `star`, with `star_of` for what is in a cell.
    pub(super) fn lanes_among(
        &self,
        star: SectorId,
        star_of: impl FnMut(Cell) -> Option<SectorId>,
    ) -> Vec<SectorId> {
        let mut candidates = self.candidates(star, star_of);
        candidates.sort_unstable_by_key(|to| length(star, to.star));
        let is_lane = |index: usize| {
            let (nearer, to) = (&candidates[..index], &candidates[index]);
            let Candidate { star: end, squared } = *to;
            let in_circle = |by: &Candidate| by.squared + squared_distance(by.star, end) < squared;
            // Nearer to both, in an order of all pairs in which no two are equal.
            let is_between = |by: &Candidate| length(by.star, end) < length(star, end);
            // What is in the circle is between: the first rule asks less.
            !nearer.iter().any(in_circle)
                && (!nearer.iter().any(is_between) || self.is_shortcut(star, end))
        };
        (0..candidates.len()).filter(|at| is_lane(*at)).map(|at| candidates[at].star).collect()
    }

    /// All systems that a lane from `star` may lead to, and all that may stand
    /// between.
    fn candidates(
        &self,
        star: SectorId,
        mut star_of: impl FnMut(Cell) -> Option<SectorId>,
    ) -> Vec<Candidate> {
        let mut found = Vec::new();
        let mut horizon = Horizon::default();
        let Some(centre) = self.cell_of(star) else { return found };
        for ring in 0.. {
            for cell in self.ring(centre, ring) {
                let Some(other) = star_of(cell).filter(|other| *other != star) else { continue };
                let squared = squared_distance(star, other);
                if squared <= LANE_SQUARED_MAX {
                    horizon.add(other.x - star.x, other.y - star.y, squared);
                    found.push(Candidate { star: other, squared });
                }
            }
            // Whatever was not seen yet is at least so far away.
            if u64::from(ring * CELL_SECTORS + 1).pow(2) > horizon.squared() {
                break;
            }
        }
        found
    }

    /// Whether the lane, which may be, is there. The same from both ends.
    fn is_shortcut(&self, a: SectorId, b: SectorId) -> bool {
        let [draw, ..] = self.draw(Purpose::Shortcut, pair(a, b));
        draw % 1_000 < u64::from(self.parameters().shortcuts)
    }

    /// The cells of the galaxy that are `ring` rows or columns from `centre`,
    /// row after row.
    pub(super) fn ring(&self, centre: Cell, ring: u32) -> impl Iterator<Item = Cell> {
        let last = self.cells() - 1;
        let around = move |v: u32| v.saturating_sub(ring)..=(v + ring).min(last);
        around(centre.y).flat_map(move |y| {
            // Of the rows between the first and the last only two cells.
            let whole = y.abs_diff(centre.y) == ring;
            let step = if whole { 1 } else { (2 * ring).max(1) };
            let first = centre.x.checked_sub(ring);
            let start = match first {
                Some(x) => x,
                None if whole => 0,
                None => centre.x + ring,
            };
            (start..=(centre.x + ring).min(last)).step_by(step as usize).map(move |x| Cell { x, y })
        })
    }
}

/// The pair in an order that does not depend on which end is asked.
pub(super) fn pair(a: SectorId, b: SectorId) -> [u64; 2] {
    let (a, b) = (packed(a), packed(b));
    [a.min(b), a.max(b)]
}

/// The length of a lane, as an order of all pairs in which no two are equal.
fn length(a: SectorId, b: SectorId) -> (u64, [u64; 2]) {
    (squared_distance(a, b), pair(a, b))
}

/// Between sectors of the galaxy: below 2^41.
pub(super) fn squared_distance(a: SectorId, b: SectorId) -> u64 {
    a.x.abs_diff(b.x).pow(2) + a.y.abs_diff(b.y).pow(2)
}

/// How far a system may be that no known one hides: it is hidden when one is in
/// the circle between, which is when it lies beyond the line through that one
/// across the view to it.
struct Horizon {
    /// For each sixteenth of the directions, of the distance.
    squared: [u64; 16],
}

impl Default for Horizon {
    fn default() -> Horizon {
        Horizon { squared: [LANE_SQUARED_MAX; 16] }
    }
}

impl Horizon {
    /// 1,000 / cos² of slightly more than the widest angle between a direction
    /// in a sixteenth and one in the same, the next, and the next but one.
    const SPREAD: [u64; 3] = [1_172, 2_000, 6_840];

    /// A system is known in the direction (x, y).
    fn add(&mut self, x: i64, y: i64, squared: u64) {
        let at = sixteenth(x, y);
        for (turns, spread) in (0..).zip(Self::SPREAD) {
            let limit = (squared * spread).div_ceil(1_000);
            for to in [at + turns, at + 16 - turns] {
                let known = &mut self.squared[to % 16];
                *known = limit.min(*known);
            }
        }
    }

    fn squared(&self) -> u64 {
        self.squared.into_iter().max().unwrap_or(0)
    }
}

/// Which sixteenth of all directions (x, y) lies in, counted around. Each has
/// its first edge and not its last; they are 22.503° and 22.497° wide in turn.
fn sixteenth(x: i64, y: i64) -> usize {
    let (quarter, along, across) = match (x, y) {
        (x, y) if x > 0 && y >= 0 => (0, x, y),
        (x, y) if x <= 0 && y > 0 => (4, y, -x),
        (x, y) if x < 0 && y <= 0 => (8, -x, -y),
        (x, y) => (12, -y, x),
    };
    // Slopes 29/70, 1 and, after the diagonal, (1 + 29/70) / (1 - 29/70).
    let edges = [70 * across >= 29 * along, across >= along, 41 * across >= 99 * along];
    quarter + edges.into_iter().filter(|beyond| *beyond).count()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::sim::galaxy::{Parameters, PerRegion, Rectangle};

    type Lanes = BTreeMap<SectorId, Vec<SectorId>>;

    fn galaxy(seed: u64, side: u32, systems: u16, shortcuts: u16) -> Galaxy {
        let systems =
            PerRegion { core: systems, mid_rim: systems, outer_rim: systems, deep_space: systems };
        let parameters = Parameters { systems, shortcuts, ..Parameters::default() };
        Galaxy::generated(seed, side, parameters).unwrap()
    }

    fn all_lanes(galaxy: &Galaxy) -> Lanes {
        let last = i64::from(galaxy.side()) - 1;
        let systems = galaxy.systems_in(Rectangle { from: (0, 0), to: (last, last) });
        systems.map(|system| (system.star, galaxy.lanes_of(system.star))).collect()
    }

    fn reached(lanes: &Lanes) -> usize {
        let mut seen: BTreeSet<SectorId> = lanes.keys().take(1).copied().collect();
        let mut open: Vec<SectorId> = seen.iter().copied().collect();
        while let Some(star) = open.pop() {
            open.extend(lanes[&star].iter().filter(|next| seen.insert(**next)));
        }
        seen.len()
    }

    /// By the definition, over all triples.
    fn expected(galaxy: &Galaxy, stars: &[SectorId], star: SectorId) -> Vec<SectorId> {
        let is_lane = |end: SectorId| {
            let between = |a, b| squared_distance(a, b);
            let (whole, mut keeps, mut in_circle) = (between(star, end), true, false);
            for by in stars.iter().copied().filter(|by| *by != star && *by != end) {
                let longest = length(star, by).max(length(by, end));
                keeps &= longest > length(star, end);
                in_circle |= between(star, by) + between(by, end) < whole;
            }
            keeps || (!in_circle && galaxy.is_shortcut(star, end))
        };
        let near = |end: &SectorId| (1..=20_098).contains(&squared_distance(star, *end));
        stars.iter().copied().filter(near).filter(|end| is_lane(*end)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn lanes_go_both_ways_join_all_systems_and_are_not_too_long(
            seed: u64, side in 512_u32..900,
            systems in prop_oneof![Just(63_u16), 63_u16..=1_000], shortcuts in 0_u16..=1_000,
        ) {
            let lanes = all_lanes(&galaxy(seed, side, systems, shortcuts));
            for (star, ends) in &lanes {
                for end in ends {
                    prop_assert!(lanes[end].contains(star), "{} {}", star, end);
                    prop_assert!(squared_distance(*star, *end) <= 142 * 142);
                }
            }
            prop_assert_eq!(reached(&lanes), lanes.len());
        }
    }

    #[test]
    fn lanes_are_those_of_the_definition() {
        for (seed, systems, shortcuts) in
            [(1, 63, 300), (2, 200, 0), (3, 200, 1_000), (4, 400, 500)]
        {
            let galaxy = galaxy(seed, 512, systems, shortcuts);
            let lanes = all_lanes(&galaxy);
            let stars: Vec<SectorId> = lanes.keys().copied().collect();
            for (star, found) in lanes {
                let mut found = found;
                let mut expected = expected(&galaxy, &stars, star);
                found.sort_unstable();
                expected.sort_unstable();
                assert_eq!(found, expected, "{seed} {star}");
            }
        }
    }

    #[test]
    fn the_default_galaxy_is_one_net_of_three_lanes_a_system() {
        let lanes = all_lanes(&Galaxy::new(2026, Galaxy::SIDE).unwrap());
        assert_eq!(reached(&lanes), lanes.len());
        let ends: usize = lanes.values().map(Vec::len).sum();
        assert!((270..=320).contains(&(ends * 100 / lanes.len())), "{ends}");
        let most = lanes.values().map(Vec::len).max();
        assert!(most.is_some_and(|most| most <= 9), "{most:?}");
    }

    #[test]
    fn a_ring_of_cells_is_its_border_within_the_galaxy() {
        let galaxy = Galaxy::new(1, 512).unwrap();
        for (x, y) in [(0, 0), (31, 31), (15, 16), (1, 30)] {
            for ring in 0..40 {
                let at = |cell: &Cell| cell.x.abs_diff(x).max(cell.y.abs_diff(y)) == ring;
                let all = (0..32).flat_map(|y| (0..32).map(move |x| Cell { x, y }));
                let expected: Vec<Cell> = all.filter(at).collect();
                assert!(galaxy.ring(Cell { x, y }, ring).eq(expected), "{x} {y} {ring}");
            }
        }
    }

    #[test]
    fn what_lies_beyond_the_horizon_is_hidden() {
        let around = || (-20_i64..=20).flat_map(|x| (-20_i64..=20).map(move |y| (x, y)));
        let squared = |(x, y): (i64, i64)| x.unsigned_abs().pow(2) + y.unsigned_abs().pow(2);
        for known in around().filter(|known| *known != (0, 0)) {
            let mut horizon = Horizon::default();
            horizon.add(known.0, known.1, squared(known));
            assert_eq!(horizon.squared(), LANE_SQUARED_MAX);
            for (x, y) in around().filter(|to| *to != (0, 0)) {
                let limit = horizon.squared[sixteenth(x, y)];
                if limit == LANE_SQUARED_MAX {
                    continue;
                }
                // As far in the direction as is just beyond the horizon.
                let far = (limit.div_ceil(squared((x, y)))).isqrt() as i64 + 1;
                let (x, y) = (x * far, y * far);
                let rest = squared((x - known.0, y - known.1));
                assert!(squared(known) + rest < squared((x, y)), "{known:?} {x} {y}");
            }
        }
    }
}
