//! Owns who is near whom: a grid of buckets over the sector, made anew in
//! every step by a counting sort. Never part of the state. Called by steering.
//! Invariant: what is found follows from the units alone; the size of the
//! buckets, which follows from their number, does not show.

use crate::base::Position;
use crate::sim::Unit;

/// Units are sorted by where they will be so many steps from now, so that
/// those that are going to meet are found near each other.
pub(super) const AHEAD_STEPS: u64 = 3;
/// In a sector of so many units each looks only half as far.
const CROWD: usize = 2_048;

/// A unit as its neighbours see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbour {
    /// Where it will be [`AHEAD_STEPS`] from now.
    pub ahead: Position,
    /// (0, 0) when it stands by then.
    pub velocity: (i32, i32),
    /// Its place in the sector's list.
    pub at: u32,
}

/// The buckets. Kept from step to step for their memory only.
#[derive(Clone, Debug, Default)]
pub(super) struct Space {
    /// Buckets along a side, as a power of two.
    bits: u32,
    /// A unit finds those that will be so near on each axis: 62 m, which two
    /// fighters flying at each other take in 2.6 steps, or 31 m in a crowd. No
    /// bucket is smaller.
    near: i32,
    /// Where each bucket begins in `units`, and the end of the last.
    starts: Vec<u32>,
    units: Vec<Neighbour>,
}

impl Space {
    /// Sorts `units`, of a sector of scale 0, into buckets.
    pub(super) fn fill(&mut self, units: &[Unit]) {
        // Some four to sixteen units a bucket where they are spread evenly.
        self.bits = match units.len() {
            0..64 => 2,
            64..512 => 3,
            512..CROWD => 4,
            _ => 5,
        };
        self.near = if units.len() < CROWD { 1 << 16 } else { 1 << 15 };
        self.starts.clear();
        self.starts.resize((1 << (2 * self.bits)) + 1, 0);
        for unit in units {
            let (ahead, _) = unit.course.after(unit.position, AHEAD_STEPS);
            let bucket = self.bucket(ahead);
            self.starts[bucket] += 1;
        }
        let mut end = 0;
        for start in &mut self.starts {
            end += *start;
            *start = end;
        }
        let nobody = Neighbour { ahead: Position { x: 0, y: 0 }, velocity: (0, 0), at: 0 };
        self.units.clear();
        self.units.resize(units.len(), nobody);
        // From the last to the first, so that each bucket is in order of ids.
        for (at, unit) in units.iter().enumerate().rev() {
            let (ahead, rest) = unit.course.after(unit.position, AHEAD_STEPS);
            let bucket = self.bucket(ahead);
            self.starts[bucket] -= 1;
            let slot = self.starts[bucket] as usize;
            // More than 2^32 units need more memory than a machine has.
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            self.units[slot] = Neighbour { ahead, velocity: rest.velocity, at };
        }
    }

    /// All that will be near `place`, each once.
    pub(super) fn near(&self, place: Position) -> impl Iterator<Item = &Neighbour> {
        let last = (1 << self.bits) - 1;
        let range = |v: i32| {
            let middle = self.column(v);
            middle.saturating_sub(1)..=(middle + 1).min(last)
        };
        let columns = range(place.x);
        let rows = range(place.y).map(move |y| {
            // The buckets of a row lie side by side.
            let (first, last) = (*columns.start(), *columns.end());
            let row = y << self.bits;
            self.starts[row + first] as usize..self.starts[row + last + 1] as usize
        });
        let far = self.near.unsigned_abs();
        let near = move |a: i32, b: i32| a.abs_diff(b) <= far;
        rows.flat_map(|bucket| &self.units[bucket])
            .filter(move |n| near(n.ahead.x, place.x) && near(n.ahead.y, place.y))
    }

    fn bucket(&self, place: Position) -> usize {
        (self.column(place.y) << self.bits) + self.column(place.x)
    }

    /// Places outside belong to the buckets along the border.
    fn column(&self, v: i32) -> usize {
        let column = (v >> (20 - self.bits)).clamp(0, (1 << self.bits) - 1);
        usize::try_from(column).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::geometry::SECTOR_STEPS;
    use crate::base::{PlayerId, UnitId};
    use crate::sim::{Course, UnitTypeId};

    fn units(places: &[(i32, i32, i32)]) -> Vec<Unit> {
        let unit = |(id, &(x, y, v)): (u64, &(i32, i32, i32))| {
            let mut unit = Unit::new(UnitId(id), UnitTypeId(1), PlayerId(1), Position { x, y });
            let remaining = if v == 0 { 0 } else { 2 + (id % 3) as u16 };
            unit.steer(Course { velocity: (v, -v), remaining });
            unit
        };
        (1..).zip(places).map(unit).collect()
    }

    proptest! {
        #[test]
        fn finds_exactly_those_that_will_be_near(
            places in prop::collection::vec(
                (-9_000..SECTOR_STEPS + 9_000, -9_000..SECTOR_STEPS + 9_000, -9_000..9_000), 0..700,
            ),
            x in -9_000..SECTOR_STEPS + 9_000, y in -9_000..SECTOR_STEPS + 9_000,
        ) {
            let units = units(&places);
            let mut space = Space::default();
            space.fill(&units);
            let mut found: Vec<u32> = space.near(Position { x, y }).map(|n| n.at).collect();
            found.sort_unstable();
            let near = |unit: &Unit| {
                let there = unit.course.after(unit.position, 3).0;
                there.x.abs_diff(x).max(there.y.abs_diff(y)) <= 1 << 16
            };
            let expected: Vec<u32> =
                (0..).zip(&units).filter(|(_, unit)| near(unit)).map(|(at, _)| at).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
