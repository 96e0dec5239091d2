//! Owns the units of one sector, of whatever scale, and how they change. Never
//! journals, never knows who observes. Called by the sector's entity, in the
//! order of its journal. Invariant: `advance(n)` is n times `step`, and equal
//! sectors write equal bytes, whatever came in which order.

mod aim;
mod avoid;
mod commands;
#[cfg(test)]
mod contents;
mod crossing;
mod formation;
mod found;
mod goals;
mod obstacles;
mod pace;
#[cfg(test)]
mod scenes;
mod snapshot;
mod space;
mod spots;
mod steering;
#[cfg(test)]
mod traffic;

use std::collections::{BTreeMap, VecDeque};

pub use snapshot::SnapshotError;

use super::{Changes, Leaving, Order, Surroundings, Unit, UnitTypeId};
use crate::base::{PlayerId, SectorId, UnitId};

/// The state of one sector.
#[derive(Clone, Debug)]
pub struct SectorState {
    sector: SectorId,
    /// In order of ids, each once. A step over 100 to 10,000 of them takes
    /// 1.6 to 2.1 ns per unit, in a `BTreeMap` 4.3 to 5.2; so does a search.
    units: Vec<Unit>,
    /// Orders that wait behind the one a unit carries out: of units that are
    /// here, 1 to [`QUEUE_MAX`](super::travel::QUEUE_MAX) each.
    queues: BTreeMap<UnitId, VecDeque<Order>>,
    /// Steps since anything happened, as far as it matters: after
    /// [`QUIET_STEPS`] nothing will. Derived: whoever reads a snapshot begins
    /// with 0, and steps in vain.
    quiet: u8,
    /// What steering keeps from step to step; not before the first.
    derived: Option<Box<steering::Derived>>,
}

/// In so many steps every unit has had its turn to steer.
const QUIET_STEPS: u8 = 4;

impl PartialEq for SectorState {
    fn eq(&self, other: &SectorState) -> bool {
        self.sector == other.sector && self.units == other.units && self.queues == other.queues
    }
}

impl Eq for SectorState {}

impl SectorState {
    /// A sector as the galaxy was made: without units.
    pub fn new(sector: SectorId) -> SectorState {
        let (units, queues) = (Vec::new(), BTreeMap::new());
        SectorState { sector, units, queues, quiet: QUIET_STEPS, derived: None }
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

    /// The orders that wait behind the one that `id` carries out.
    pub fn queue(&self, id: UnitId) -> impl Iterator<Item = Order> {
        self.queues.get(&id).into_iter().flatten().copied()
    }

    fn find(&self, id: UnitId) -> Result<usize, usize> {
        self.units.binary_search_by_key(&id, |unit| unit.id)
    }

    /// Puts `unit` in; one with its id that is here already is replaced.
    pub fn insert(&mut self, unit: Unit, changes: &mut Changes) {
        self.quiet = 0;
        changes.appeared.insert(unit.id);
        match self.find(unit.id) {
            Ok(at) => self.units[at] = unit,
            Err(at) => self.units.insert(at, unit),
        }
    }

    /// One step of 200 ms: courses change, then all units move, then those
    /// that are beyond the border leave. In the order of ids.
    pub fn step(
        &mut self,
        around: &Surroundings<'_>,
        changes: &mut Changes,
        leaving: &mut Vec<Leaving>,
    ) {
        if self.is_idle() {
            return;
        }
        self.steer(around, changes);
        self.travel(around, changes, leaving);
    }

    /// `steps` steps; at no cost from the one on in which nothing happens.
    pub fn advance(
        &mut self,
        steps: u64,
        around: &Surroundings<'_>,
        changes: &mut Changes,
        leaving: &mut Vec<Leaving>,
    ) {
        for step in 0..steps {
            if self.is_idle() {
                return;
            }
            let step = around.step.wrapping_add(step);
            self.step(&Surroundings { step, ..*around }, changes, leaving);
        }
    }

    /// Whether a step would change nothing, however many there are. Said some
    /// steps late, and after a snapshot was read some steps later still.
    pub fn is_idle(&self) -> bool {
        self.quiet >= QUIET_STEPS
    }

    /// The rules are others from here on: what was still by the old ones may move.
    /// Whoever reads a snapshot begins so, too.
    pub fn note_other_rules(&mut self) {
        (self.quiet, self.derived) = (0, None);
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
        ANNA, BEN, HERE, Happening, World, apply, bytes, go, happenings, settle, step, two_players,
    };
    use super::*;
    use crate::base::StateHash;
    use crate::sim::Traveller;
    use crate::sim::rules::sample::{FIGHTER, FREIGHTER, TURRET};

    /// The sector, what changed and what left after `happenings`; `advance`
    /// takes the time, and `between` may exchange the sector after each.
    fn play(
        happenings: &[Happening],
        advance: impl Fn(&mut SectorState, u64, &Surroundings<'_>, &mut Changes, &mut Vec<Leaving>),
        between: impl Fn(SectorState) -> SectorState,
    ) -> (SectorState, Changes, Vec<Leaving>) {
        let (mut sector, mut changes, mut left) = (two_players(), Changes::default(), Vec::new());
        let (world, mut at) = (World::new(), 0);
        for happening in happenings {
            let around = world.around(at);
            match happening {
                Happening::Command(player, command) => {
                    let _ = sector.apply_command(*player, command, &around, &mut changes);
                }
                Happening::Advance(steps) => {
                    advance(&mut sector, *steps, &around, &mut changes, &mut left);
                    at += steps;
                }
            }
            sector = between(sector);
        }
        (sector, changes, left)
    }

    fn at_once(happenings: &[Happening]) -> (SectorState, Changes, Vec<Leaving>) {
        play(happenings, SectorState::advance, |sector| sector)
    }

    /// The same units and queues, put in in an order that follows from `seed`.
    fn shuffled(sector: &SectorState, seed: u64) -> SectorState {
        let mut units = sector.units().to_vec();
        units.sort_by_key(|unit| crate::base::draw::draw(seed, "shuffle", &[unit.id.0]));
        let mut shuffled = SectorState::new(sector.sector());
        units.into_iter().for_each(|unit| shuffled.insert(unit, &mut Changes::default()));
        shuffled.queues.clone_from(&sector.queues);
        shuffled
    }

    #[test]
    fn what_was_still_is_stepped_again_when_the_rules_are_others() {
        let mut sector = SectorState::new(HERE);
        assert!(sector.is_idle());
        sector.note_other_rules();
        assert!(!sector.is_idle());
    }

    proptest! {
        /// Invariant 19.
        #[test]
        fn advancing_is_stepping_so_many_times(happenings in happenings()) {
            let stepped = play(&happenings, |sector, n, around, changes, left| {
                for i in 0..n {
                    let around = Surroundings { step: around.step + i, ..*around };
                    sector.step(&around, changes, left);
                }
            }, |sector| sector);
            prop_assert_eq!(at_once(&happenings), stepped);
        }

        /// A snapshot has all that decides what happens next.
        #[test]
        fn a_sector_goes_on_from_its_snapshot(happenings in happenings()) {
            let restored = play(&happenings, SectorState::advance, |sector| {
                SectorState::read(&bytes(&sector)).unwrap()
            });
            prop_assert_eq!(at_once(&happenings), restored);
        }

        /// Invariant 20, as far as one sector goes.
        #[test]
        fn the_order_of_insertion_does_not_show(happenings in happenings(), seed: u64) {
            let hash = |sector: &SectorState| StateHash::of(&bytes(sector));
            let (sector, ..) = at_once(&happenings);
            prop_assert_eq!(hash(&shuffled(&sector, seed)), hash(&sector));
            let (again, ..) = play(&happenings, SectorState::advance, |s| shuffled(&s, seed));
            prop_assert_eq!(hash(&again), hash(&sector));
        }

        /// Invariant 13, as far as one sector goes.
        #[test]
        fn a_unit_is_here_or_has_left_once(happenings in happenings()) {
            let (sector, _, left) = at_once(&happenings);
            let mut ids: Vec<UnitId> = sector.units().iter().map(|unit| unit.id).collect();
            ids.extend(left.iter().map(|leaving| leaving.traveller.unit.id));
            ids.sort_unstable();
            prop_assert_eq!(ids, (1..=7).map(UnitId).collect::<Vec<_>>());
            for Leaving { to, traveller: Traveller { unit, .. } } in left {
                prop_assert_eq!(unit.hops, 1);
                prop_assert!(to != HERE);
            }
            let near = aim::BEYOND_STEPS;
            let side = 1 - near..crate::base::geometry::SECTOR_STEPS + near;
            for unit in sector.units() {
                let p = unit.position;
                prop_assert!(side.contains(&p.x) && side.contains(&p.y), "{:?}", unit);
            }
        }

        #[test]
        fn an_idle_sector_does_not_change(happenings in happenings(), steps in 0_u64..50) {
            let (mut sector, ..) = at_once(&happenings);
            if !sector.is_idle() {
                return Ok(());
            }
            let before = bytes(&sector);
            // What was read does not know that it is idle, and steps.
            sector = SectorState::read(&before).unwrap();
            let (world, mut left) = (World::new(), Vec::new());
            sector.advance(steps, &world.around(3), &mut Changes::default(), &mut left);
            prop_assert_eq!(bytes(&sector), before);
            prop_assert!(left.is_empty());
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
        let (mut changes, world, mut left) = (Changes::default(), World::new(), Vec::new());
        for _ in 1..accepted.steps {
            sector.step(&world.around(0), &mut changes, &mut left);
        }
        assert!(changes.arrived.is_empty());
        sector.step(&world.around(0), &mut changes, &mut left);
        assert_eq!(changes.arrived.iter().copied().collect::<Vec<_>>(), [UnitId(2)]);
        assert!(changes.is_predictable());
        assert_eq!(sector.unit(UnitId(2)).unwrap().position, accepted.arrival);
        settle(&mut sector);
        assert_eq!(step(&mut sector, 0), []);
    }
}
