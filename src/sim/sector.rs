//! Owns the units of one sector of scale 0 and how they change. Never journals,
//! never knows who observes. Called by the sector's entity, in the order of
//! its journal. Invariant: `advance(n)` is n times `step`, and equal sectors
//! write equal bytes, whatever came in which order.

mod commands;
mod found;
mod snapshot;

pub use snapshot::SnapshotError;

use super::{Changes, Unit, UnitTypeId};
use crate::base::{PlayerId, SectorId, UnitId};

/// The state of one sector of scale 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectorState {
    sector: SectorId,
    /// In order of ids, each once: a loop over all of them is what a step is.
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
