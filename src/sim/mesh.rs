//! Owns several sectors that pass units to each other at once: for golden
//! runs, tests and benches. Never used by a node, where entities, journals and
//! channels stand between sectors. Invariant: no unit is lost or doubled.

use std::collections::BTreeMap;

use super::{Accepted, Traveller};
use super::{Changes, Command, Galaxy, Leaving, Refused, Rules, SectorState, Surroundings};
use crate::base::{PlayerId, SectorId, UnitId};

/// Sectors of a galaxy, stepped together.
#[derive(Clone, Debug)]
pub struct Mesh {
    pub galaxy: Galaxy,
    pub rules: Rules,
    pub sectors: BTreeMap<SectorId, SectorState>,
    /// How many were taken.
    pub steps: u64,
}

impl Mesh {
    /// A galaxy in which nobody is yet.
    pub fn new(galaxy: Galaxy, rules: Rules) -> Mesh {
        Mesh { galaxy, rules, sectors: BTreeMap::new(), steps: 0 }
    }

    /// The sector, made if nobody was there yet.
    pub fn sector(&mut self, id: SectorId) -> &mut SectorState {
        self.sectors.entry(id).or_insert_with(|| SectorState::new(id))
    }

    /// Where the unit is.
    pub fn place_of(&self, unit: UnitId) -> Option<SectorId> {
        let has = |sector: &&SectorState| sector.unit(unit).is_some();
        self.sectors.values().find(has).map(SectorState::sector)
    }

    /// Applies a command in `sector`, as its owner would.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn command(
        &mut self,
        sector: SectorId,
        player: PlayerId,
        command: &Command,
    ) -> Result<Accepted, Refused> {
        let state = self.sectors.entry(sector).or_insert_with(|| SectorState::new(sector));
        let (rules, galaxy) = (&self.rules, &self.galaxy);
        let around = Surroundings { rules, galaxy, open: &|_| true, step: self.steps };
        state.apply_command(player, command, &around, &mut Changes::default())
    }

    /// One step of all, with every border open.
    pub fn step(&mut self) {
        self.step_with(&|_| true);
    }

    /// One step of all; then those that left arrive where `open` let them.
    pub fn step_with(&mut self, open: &dyn Fn(SectorId) -> bool) {
        let Mesh { galaxy, rules, sectors, steps } = self;
        let around = Surroundings { rules, galaxy, open, step: *steps };
        let mut leaving = Vec::new();
        for sector in sectors.values_mut() {
            sector.step(&around, &mut Changes::default(), &mut leaving);
        }
        let mut arriving: BTreeMap<SectorId, Vec<Traveller>> = BTreeMap::new();
        for Leaving { to, traveller } in leaving {
            arriving.entry(to).or_default().push(traveller);
        }
        for (to, travellers) in arriving {
            let sector = sectors.entry(to).or_insert_with(|| SectorState::new(to));
            sector.admit(travellers, &around, &mut Changes::default());
        }
        *steps += 1;
    }

    /// Whether a step would change nothing.
    pub fn is_idle(&self) -> bool {
        self.sectors.values().all(SectorState::is_idle)
    }
}
