//! Owns the units of one sector of scale 0 and how they change. Never journals,
//! never knows who observes. Called by the sector's entity, in the order of
//! its journal. Invariant: `advance(n)` is n times `step`, and equal sectors
//! write equal bytes, whatever came in which order.

mod commands;
mod found;
#[cfg(test)]
mod scenes;
mod snapshot;

pub use snapshot::SnapshotError;

use super::{Changes, Unit, UnitTypeId};
use crate::base::{PlayerId, SectorId, UnitId};

/// The state of one sector of scale 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectorState {
    sector: SectorId,
    /// In order of ids, each once. A step over 100 to 10,000 of them takes
    /// 1.6 to 2.1 ns per unit, in a `BTreeMap` 4.3 to 5.2; so does a search.
    units: Vec<Unit>,
}

impl SectorState {
    /// A sector as the galaxy was made: without units.
    pub fn new(sector: SectorId) -> SectorState {
        SectorState { sector, units: Vec::new() }
    }

    /// Which sector this is.
    pub fn sector(&self) -> SectorId {
        self.sector
    }

    /// All units, in order of ids.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The unit with this id, if it is here.
    pub fn unit(&self, id: UnitId) -> Option<&Unit> {
        self.units.get(self.find(id).ok()?)
    }

    fn find(&self, id: UnitId) -> Result<usize, usize> {
        self.units.binary_search_by_key(&id, |unit| unit.id)
    }

    /// Puts `unit` in; one with its id that is here already is replaced.
    pub fn insert(&mut self, unit: Unit, changes: &mut Changes) {
        changes.appeared.insert(unit.id);
        match self.find(unit.id) {
            Ok(at) => self.units[at] = unit,
            Err(at) => self.units.insert(at, unit),
        }
    }

    /// One step of 200 ms.
    pub fn step(&mut self, changes: &mut Changes) {
        self.advance(1, changes);
    }

    /// `steps` steps at once, at the cost of one.
    pub fn advance(&mut self, steps: u64, changes: &mut Changes) {
        for unit in &mut self.units {
            if unit.advance(steps) {
                changes.arrived.insert(unit.id);
            }
        }
    }

    /// Whether a step would change anything.
    pub fn is_moving(&self) -> bool {
        self.units.iter().any(|unit| unit.course.is_moving())
    }

    /// How many units of each type `player` has here, in order of types, those
    /// of which there are any.
    pub fn counts(&self, player: PlayerId) -> Vec<(UnitTypeId, u32)> {
        let mut counts: Vec<(UnitTypeId, u32)> = Vec::new();
        for unit in self.units.iter().filter(|unit| unit.owner == player) {
            match counts.binary_search_by_key(&unit.type_id, |count| count.0) {
                Ok(at) => counts[at].1 = counts[at].1.saturating_add(1),
                Err(at) => counts.insert(at, (unit.type_id, 1)),
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::scenes::{
        ANNA, BEN, HERE, Happening, apply, bytes, go, happenings, rules, two_players,
    };
    use super::*;
    use crate::base::StateHash;
    use crate::sim::rules::sample::{FIGHTER, FREIGHTER, TURRET};

    /// The sector and what changed after `happenings`, with `advance` for time.
    fn play(
        happenings: &[Happening],
        advance: impl Fn(&mut SectorState, u64, &mut Changes),
    ) -> (SectorState, Changes) {
        let (mut sector, mut changes, rules) = (two_players(), Changes::default(), rules());
        for happening in happenings {
            match happening {
                Happening::Command(player, command) => {
                    let _ = sector.apply_command(*player, command, &rules, &mut changes);
                }
                Happening::Advance(steps) => advance(&mut sector, *steps, &mut changes),
            }
        }
        (sector, changes)
    }

    proptest! {
        /// Invariant 19.
        #[test]
        fn advancing_is_stepping_so_many_times(happenings in happenings()) {
            let at_once = play(&happenings, |sector, n, changes| sector.advance(n, changes));
            let stepped = play(&happenings, |sector, n, changes| {
                (0..n).for_each(|_| sector.step(changes));
            });
            prop_assert_eq!(at_once, stepped);
        }

        /// Invariant 20, as far as one sector goes.
        #[test]
        fn the_order_of_insertion_does_not_show(happenings in happenings(), seed: u64) {
            let (sector, _) = play(&happenings, |sector, n, changes| sector.advance(n, changes));
            let mut units = sector.units().to_vec();
            units.sort_by_key(|unit| crate::base::draw::draw(seed, "shuffle", &[unit.id.0]));
            let mut shuffled = SectorState::new(HERE);
            units.into_iter().for_each(|unit| shuffled.insert(unit, &mut Changes::default()));
            let hash = |sector| StateHash::of(&bytes(sector));
            prop_assert_eq!(hash(&shuffled), hash(&sector));
        }

        #[test]
        fn units_stay_in_the_sector_and_within_their_number(happenings in happenings()) {
            let (sector, _) = play(&happenings, |sector, n, changes| sector.advance(n, changes));
            prop_assert_eq!(sector.units().len(), 7);
            let side = 0..crate::base::geometry::SECTOR_STEPS;
            for unit in sector.units() {
                let p = unit.position;
                prop_assert!(side.contains(&p.x) && side.contains(&p.y), "{:?}", unit);
            }
        }

        #[test]
        fn a_sector_that_does_not_move_does_not_change(happenings in happenings()) {
            let (mut sector, _) = play(&happenings, |sector, n, changes| sector.advance(n, changes));
            sector.advance(u64::MAX, &mut Changes::default());
            prop_assert!(!sector.is_moving());
            let before = bytes(&sector);
            sector.step(&mut Changes::default());
            prop_assert_eq!(bytes(&sector), before);
        }
    }

    #[test]
    fn counts_a_players_units_by_type() {
        let sector = two_players();
        assert_eq!(sector.counts(ANNA), [(FIGHTER, 3), (FREIGHTER, 1), (TURRET, 1)]);
        assert_eq!(sector.counts(BEN), [(FIGHTER, 2)]);
        assert_eq!(sector.counts(PlayerId(1)), []);
    }

    #[test]
    fn arrival_is_told_in_the_step_the_acknowledgement_named() {
        let mut sector = two_players();
        let accepted = apply(&mut sector, ANNA, &go(&[2], 10_000, 20_000)).unwrap();
        let mut changes = Changes::default();
        for _ in 1..accepted.steps {
            sector.step(&mut changes);
        }
        assert!(changes.arrived.is_empty() && sector.is_moving());
        sector.step(&mut changes);
        assert_eq!(changes.arrived.iter().copied().collect::<Vec<_>>(), [UnitId(2)]);
        assert!(changes.is_predictable() && !sector.is_moving());
        assert_eq!(sector.unit(UnitId(2)).unwrap().position, accepted.arrival);
    }
}
