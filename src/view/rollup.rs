//! Owns the roll-up: how many units, how busy, how rich each sector of each
//! scale is, summed up from the scale-0 sectors beneath it. Soft state: what is
//! lost is told again by the sectors. Never knows a unit, nor who is shown a
//! sum. Called by the shell, which hands in what tables say and the time.
//! Invariants: when a round has ended, each sum is that of the scale-0 sectors
//! noted before it began; a branch is summed up at most once a round, and
//! rounds begin a second apart.
//!
//! Sparse: a sector that has nothing to add to the galaxy as it was made has no
//! entry, and of the scales above 0 only each third is stored: the others are
//! the sum of at most 16 stored ones, which lie side by side in Morton order.
//! A million leaves take about 45 bytes each when they lie together, and 80
//! when each has a place of 10 × 10 sectors for itself, by the number of entries.
//!
//! Units in warp are not counted: only who owns them knows of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::{Millis, SectorId};
use crate::sim::Galaxy;

/// Rounds begin this far apart.
pub const ROUND_MS: u64 = 1_000;
/// Branches summed up in one [`Rollup::advance`]; each has at most 64 entries
/// beneath it.
pub const BRANCHES_MAX: usize = 1_024;
/// Densities kept; beyond that all are forgotten.
const MADE_MAX: usize = 65_536;
/// Of the scales above 0 each that this divides is stored.
const STORED: u8 = 3;
/// A column or row of a sector in the galaxy has at most so many bits.
const BITS: u32 = 24;

/// A sector of any scale, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorSnapshot {
    pub unit_count: u32,
    /// The mean of its scale-0 sectors, 0 to 1,000.
    pub resource_density: u16,
    /// Commands and combat events per second, at most 255.
    pub activity_level: u8,
    /// When what is in it last changed.
    pub last_update: Millis,
}

/// What some scale-0 sectors add to the galaxy as it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    last_update: u64,
    /// Resource densities less those that the galaxy was made with: sectors
    /// that have no entry add nothing.
    density: i64,
    units: u32,
    activity: u8,
}

impl Sum {
    /// One scale-0 sector, whose density was `made`.
    pub fn of(snapshot: &SectorSnapshot, made: u16) -> Sum {
        Sum {
            last_update: snapshot.last_update.0,
            density: i64::from(snapshot.resource_density) - i64::from(made),
            units: snapshot.unit_count,
            activity: snapshot.activity_level,
        }
    }

    /// Of the sectors of both.
    #[must_use]
    pub fn combine(self, other: Sum) -> Sum {
        Sum {
            last_update: self.last_update.max(other.last_update),
            density: self.density.saturating_add(other.density),
            units: self.units.saturating_add(other.units),
            activity: self.activity.max(other.activity),
        }
    }

    /// Of an area of `sectors`, whose mean density was `made`.
    fn snapshot(self, made: u16, sectors: u64) -> SectorSnapshot {
        // At most 2^40 sectors and a thousand of each.
        let sectors = i64::try_from(sectors.max(1)).unwrap_or(i64::MAX);
        let density = (i64::from(made).saturating_mul(sectors) + self.density) / sectors;
        SectorSnapshot {
            unit_count: self.units,
            resource_density: u16::try_from(density).unwrap_or(0),
            activity_level: self.activity,
            last_update: Millis(self.last_update),
        }
    }

    /// Whether only the time may differ.
    fn has_as_much(self, other: Sum) -> bool {
        Sum { last_update: other.last_update, ..self } == other
    }

    fn is_nothing(self) -> bool {
        (self.units, self.activity, self.density) == (0, 0, 0)
    }
}

/// A stored sector: its scale above its Morton code, so that all that lies in
/// one sector is one range of each scale.
type Key = u64;

fn key(sector: SectorId) -> Option<Key> {
    let range = 0..1_i64 << BITS;
    if !range.contains(&sector.x) || !range.contains(&sector.y) {
        return None;
    }
    let code = sector.morton() & ((1 << (2 * BITS)) - 1);
    Some((u64::from(sector.scale) << (2 * BITS)) | u64::try_from(code).ok()?)
}

/// The stored scale that sums of `scale` are made from.
fn beneath(scale: u8) -> u8 {
    scale.saturating_sub(1) / STORED * STORED
}

/// All that is summed up.
#[derive(Clone, Debug, Default)]
pub struct Rollup {
    sums: BTreeMap<Key, Sum>,
    /// Branches to be summed up in this round, and in the next.
    dirty: BTreeSet<Key>,
    next: BTreeSet<Key>,
    began: Option<Millis>,
    as_of: Option<Millis>,
    /// The mean densities that sectors were made with, as far as they were
    /// asked for: each costs hundreds of draws and never changes.
    made: BTreeMap<Key, u16>,
}

impl Rollup {
    /// How many sectors have an entry.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether all is as the galaxy was made.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// What a scale-0 sector is now. One outside of the galaxy, or of another
    /// scale, is not summed up.
    pub fn note(&mut self, sector: SectorId, snapshot: &SectorSnapshot, galaxy: &Galaxy) {
        if let Some(made) = galaxy.density(sector) {
            self.set(sector, Sum::of(snapshot, made));
        }
    }

    /// A sector runs no more: it does nothing, and has what it had. So it stays
    /// counted while it hibernates, until whoever wakes it notes it again.
    pub fn note_stopped(&mut self, sector: SectorId) {
        let last = key(sector).and_then(|key| self.sums.get(&key).copied());
        if let Some(last) = last {
            self.set(sector, Sum { activity: 0, ..last });
        }
    }

    /// A sector is no concern of this node's any more.
    pub fn remove(&mut self, sector: SectorId) {
        self.set(sector, Sum::default());
    }

    fn set(&mut self, sector: SectorId, sum: Sum) {
        let Some(key) = key(sector).filter(|_| sector.scale == 0) else { return };
        // One that wakes is told anew, and has not changed for that.
        if self.sums.get(&key).is_some_and(|before| before.has_as_much(sum)) {
            return;
        }
        if self.put(key, sum) {
            self.next.extend(above(key));
        }
    }

    /// Whether that changes anything.
    fn put(&mut self, key: Key, sum: Sum) -> bool {
        let before = match sum.is_nothing() {
            true => self.sums.remove(&key).unwrap_or_default(),
            false => self.sums.insert(key, sum).unwrap_or_default(),
        };
        before != sum && !(before.is_nothing() && sum.is_nothing())
    }

    /// Sums up what changed, a bounded part of it: call again soon when that
    /// was not all. True when a round has ended.
    pub fn advance(&mut self, now: Millis, galaxy: &Galaxy) -> bool {
        if self.dirty.is_empty() {
            if self.began.is_some_and(|began| now.since(began) < ROUND_MS) {
                return false;
            }
            self.began = Some(now);
            self.dirty = std::mem::take(&mut self.next);
        }
        for _ in 0..BRANCHES_MAX {
            // Lower scales come first: each branch after all beneath it.
            let Some(branch) = self.dirty.pop_first() else { break };
            let sum = self.sum_beneath(branch);
            let is_top = scale(branch) + STORED > galaxy.root().scale;
            if self.put(branch, sum) && !is_top {
                self.dirty.extend(above(branch));
            }
        }
        if self.dirty.is_empty() {
            self.as_of = self.began;
        }
        self.dirty.is_empty()
    }

    /// A sector of any scale up to the root's, and as of when; `None` outside
    /// of the galaxy, and before anything was summed up.
    pub fn get(&mut self, sector: SectorId, galaxy: &Galaxy) -> Option<(SectorSnapshot, Millis)> {
        let area = galaxy.area(sector)?;
        let (key, as_of) = (key(sector)?, self.as_of?);
        let sum = match sector.scale % STORED {
            0 => self.sums.get(&key).copied().unwrap_or_default(),
            _ => self.sum_beneath(key),
        };
        // Of scales below the lowest stored branch it may be newer than the round.
        let as_of = as_of.max(Millis(sum.last_update));
        if self.made.len() >= MADE_MAX {
            self.made.clear();
        }
        let made = *self.made.entry(key).or_insert_with(|| galaxy.made_density(area));
        Some((sum.snapshot(made, area.sectors()), as_of))
    }

    fn sum_beneath(&self, branch: Key) -> Sum {
        let (scale, code) = (scale(branch), branch & ((1 << (2 * BITS)) - 1));
        let beneath = beneath(scale);
        let up = 2 * u32::from(scale - beneath);
        let first = (u64::from(beneath) << (2 * BITS)) | (code << up);
        let within = first..=first + ((1 << up) - 1);
        self.sums.range(within).map(|(_, sum)| *sum).fold(Sum::default(), Sum::combine)
    }
}

fn scale(key: Key) -> u8 {
    (key >> (2 * BITS)) as u8
}

/// The stored branch that a stored sector lies in.
fn above(key: Key) -> Option<Key> {
    let scale = scale(key).checked_add(STORED)?;
    let code = key & ((1 << (2 * BITS)) - 1);
    Some((u64::from(scale) << (2 * BITS)) | (code >> (2 * STORED)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIDE: u32 = 700;

    fn galaxy() -> Galaxy {
        Galaxy::new(2026, SIDE).unwrap()
    }

    fn of(unit_count: u32, activity_level: u8, at: u64) -> SectorSnapshot {
        let last_update = Millis(at);
        SectorSnapshot { unit_count, activity_level, last_update, resource_density: 0 }
    }

    /// As the galaxy made it, with units.
    fn noted(galaxy: &Galaxy, sector: SectorId, units: u32) -> SectorSnapshot {
        let resource_density = galaxy.density(sector).unwrap();
        SectorSnapshot { resource_density, ..of(units, 0, 7) }
    }

    fn finish(rollup: &mut Rollup, galaxy: &Galaxy, now: &mut u64) {
        *now += ROUND_MS;
        while !rollup.advance(Millis(*now), galaxy) {}
    }

    fn sum() -> impl Strategy<Value = Sum> {
        let of = |((last_update, density), units, activity)| Sum {
            last_update,
            density: i64::from(density),
            units,
            activity,
        };
        (any::<(u64, i32)>(), any::<u32>(), any::<u8>()).prop_map(of)
    }

    fn leaf() -> impl Strategy<Value = SectorId> {
        let side = i64::from(SIDE);
        let near = (0..20_i64, 0..20_i64);
        prop_oneof![near, (0..side, 0..side)].prop_map(|(x, y)| SectorId::tactical(x, y))
    }

    proptest! {
        #[test]
        fn sums_do_not_depend_on_their_order(a in sum(), b in sum(), c in sum()) {
            prop_assert_eq!(a.combine(b), b.combine(a));
            prop_assert_eq!(a.combine(b).combine(c), a.combine(b.combine(c)));
            prop_assert_eq!(a.combine(Sum::default()), a);
        }

        /// Whatever was said in which order, and whenever it was summed up:
        /// every scale has what its leaves said last.
        #[test]
        fn every_scale_has_the_sum_of_its_leaves(
            words in prop::collection::vec((leaf(), 0..4_u32, any::<u8>(), 0..5_u8), 1..80),
        ) {
            let (galaxy, mut now) = (galaxy(), 0);
            let (mut rollup, mut leaves) = (Rollup::default(), BTreeMap::new());
            for (sector, units, activity, then) in words {
                let last = SectorSnapshot { activity_level: activity, ..noted(&galaxy, sector, units) };
                match then {
                    0 => {
                        rollup.remove(sector);
                        leaves.remove(&sector);
                    }
                    1 => {
                        rollup.note_stopped(sector);
                        leaves.entry(sector).and_modify(|last: &mut SectorSnapshot| last.activity_level = 0);
                    }
                    _ => {
                        rollup.note(sector, &last, &galaxy);
                        leaves.insert(sector, last);
                    }
                }
                if then == 4 {
                    finish(&mut rollup, &galaxy, &mut now);
                }
            }
            finish(&mut rollup, &galaxy, &mut now);
            let mut branches: BTreeSet<SectorId> = BTreeSet::new();
            for leaf in leaves.keys() {
                branches.extend((0..=galaxy.root().scale).filter_map(|scale| leaf.ancestor(scale)));
            }
            for branch in branches {
                let inside = || leaves.iter().filter(|(leaf, _)| branch.contains(**leaf));
                let (found, as_of) = rollup.get(branch, &galaxy).unwrap();
                prop_assert_eq!(found.unit_count, inside().map(|(_, last)| last.unit_count).sum::<u32>());
                let busiest = inside().map(|(_, last)| last.activity_level).max().unwrap_or(0);
                prop_assert_eq!(found.activity_level, busiest, "{}", branch);
                let area = galaxy.area(branch).unwrap();
                prop_assert_eq!(found.resource_density, galaxy.made_density(area));
                prop_assert_eq!(as_of, Millis(now));
            }
            leaves.keys().for_each(|leaf| rollup.remove(*leaf));
            finish(&mut rollup, &galaxy, &mut now);
            prop_assert!(rollup.is_empty(), "{:?}", rollup.sums);
        }
    }

    #[test]
    fn density_is_the_mean_by_area_with_what_the_galaxy_was_made_with() {
        let (galaxy, mut now, mut rollup) = (galaxy(), 0, Rollup::default());
        let branch = SectorId { x: 3, y: 5, scale: 2 };
        let (mut expected, mut leaves) = (0_u64, 0);
        for y in 20..24 {
            for x in 12..16 {
                let leaf = SectorId::tactical(x, y);
                let made = galaxy.density(leaf).unwrap();
                // Two of sixteen are mined out.
                let mined = leaves == 4 || leaves == 9;
                leaves += 1;
                expected += if mined { 0 } else { u64::from(made) };
                if mined {
                    rollup.note(leaf, &of(1, 0, 1), &galaxy);
                }
            }
        }
        finish(&mut rollup, &galaxy, &mut now);
        let (found, _) = rollup.get(branch, &galaxy).unwrap();
        // The mean that the galaxy was made with is rounded down.
        assert!(u64::from(found.resource_density).abs_diff(expected / 16) <= 1, "{found:?}");
        assert!(galaxy.made_density(galaxy.area(branch).unwrap()) > found.resource_density);
    }

    #[test]
    fn counts_stop_at_their_largest() {
        let (galaxy, mut now, mut rollup) = (galaxy(), 0, Rollup::default());
        for x in 0..3 {
            let leaf = SectorId::tactical(x, 0);
            rollup.note(leaf, &noted(&galaxy, leaf, u32::MAX / 2), &galaxy);
        }
        finish(&mut rollup, &galaxy, &mut now);
        assert_eq!(rollup.get(galaxy.root(), &galaxy).unwrap().0.unit_count, u32::MAX);
    }

    #[test]
    fn rounds_begin_a_second_apart_and_do_a_bounded_part_at_a_time() {
        let (galaxy, mut rollup) = (galaxy(), Rollup::default());
        let all = (0..i64::from(SIDE)).flat_map(|y| (0..i64::from(SIDE)).map(move |x| (x, y)));
        for (x, y) in all {
            let leaf = SectorId::tactical(x, y);
            rollup.note(leaf, &noted(&galaxy, leaf, 1), &galaxy);
        }
        let count =
            |rollup: &mut Rollup| rollup.get(galaxy.root(), &galaxy).map(|it| it.0.unit_count);
        assert!(!rollup.advance(Millis(5_000), &galaxy));
        assert_eq!(count(&mut rollup), None, "nothing is said before all was summed up");
        let leaf = SectorId::tactical(1, 1);
        let mut calls = 1;
        while !rollup.advance(Millis(5_100), &galaxy) {
            rollup.note(leaf, &noted(&galaxy, leaf, 9), &galaxy);
            calls += 1;
        }
        assert!(calls >= (SIDE / 8).pow(2) as usize / BRANCHES_MAX, "{calls}");
        assert_eq!(
            count(&mut rollup),
            Some(SIDE * SIDE),
            "what comes meanwhile is the next round's"
        );
        assert!(!rollup.advance(Millis(5_999), &galaxy), "the next one begins a second later");
        assert!(rollup.advance(Millis(6_000), &galaxy));
        assert_eq!(count(&mut rollup), Some(SIDE * SIDE + 8));
    }

    #[test]
    fn outside_of_the_galaxy_there_is_nothing() {
        let (galaxy, mut now, mut rollup) = (galaxy(), 0, Rollup::default());
        let outside = [(-1, 0, 0), (i64::MAX, i64::MIN, 0), (700, 3, 0), (0, 0, 11), (0, 0, 255)];
        for (x, y, scale) in outside {
            let sector = SectorId { x, y, scale };
            rollup.note(sector, &of(5, 1, 1), &galaxy);
            rollup.note_stopped(sector);
            rollup.remove(sector);
            finish(&mut rollup, &galaxy, &mut now);
            assert_eq!(rollup.get(sector, &galaxy), None, "{sector}");
        }
        // Units in warp are nobody's business.
        rollup.note(SectorId { x: 1, y: 1, scale: 4 }, &of(5, 1, 1), &galaxy);
        finish(&mut rollup, &galaxy, &mut now);
        assert!(rollup.is_empty());
        assert_eq!(rollup.get(galaxy.root(), &galaxy).unwrap().0.unit_count, 0);
    }

    /// Entries are 32 bytes, and a tree keeps its nodes at least half full:
    /// those of a million leaves that each have a place of 10 × 10 sectors.
    #[test]
    fn leaves_far_apart_take_two_entries_each() {
        assert_eq!(size_of::<(Key, Sum)>(), 32);
        let galaxy = Galaxy::new(1, Galaxy::SIDE).unwrap();
        let (mut now, mut rollup) = (0, Rollup::default());
        let side = 100;
        for n in 0..side * side {
            // Somewhere in its place.
            let (x, y) = (n % side * 10 + n * 7 % 10, n / side * 10 + n * 3 % 10);
            let leaf = SectorId::tactical(x, y);
            rollup.note(leaf, &noted(&galaxy, leaf, 1), &galaxy);
        }
        finish(&mut rollup, &galaxy, &mut now);
        let entries = rollup.len() as i64;
        assert!(entries <= 2 * side * side, "{entries} entries for {} leaves", side * side);
    }
}
