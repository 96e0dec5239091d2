//! Owns what a table counts, and what its sectors weigh. Never decides anything
//! by it. Called by who shows metrics, and for the decision which sector has a
//! thread of its own; both look at every entity, so seldom.

use super::Table;
use crate::base::EntityKey;
use crate::cluster::core::cell::Cell;
use crate::cluster::core::hot::TableLoad;
use crate::entity::kinds::Kind;

/// What a table counts; each is also a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Entities running.
    pub entities: u64,
    /// Of them, sectors.
    pub sectors: u64,
    /// Sectors that step at every tick.
    pub active_sectors: u64,
    /// Units in them.
    pub units: u64,
    /// Sectors that run slower than the node: at one tenth of its ticks, at
    /// two, and so on.
    pub dilated: [u64; 9],
    /// Entity steps since the start.
    pub steps: u64,
    /// Inputs applied since the start.
    pub inputs: u64,
    /// Units taken in from other sectors since the start.
    pub crossings: u64,
    /// Records that did not fit their entity; stays 0.
    pub misfits: u64,
    /// Panics of entities that were caught.
    pub broken: u64,
    /// Units of neighbours that sectors here know of.
    pub shadows: u64,
    /// Casts that were not taken because later ones had come.
    pub shadows_late: u64,
    /// Messages and the like that were not taken because too much waited.
    pub dropped: u64,
}

impl Table {
    /// What was counted so far.
    pub fn counts(&self) -> TableCounts {
        let is_sector = |key: &&EntityKey| matches!(key, EntityKey::Sector(_));
        TableCounts {
            entities: self.cells.len() as u64,
            sectors: self.cells.keys().filter(is_sector).count() as u64,
            active_sectors: self.active.iter().filter(is_sector).count() as u64,
            units: self.cells.values().filter_map(units).sum(),
            dilated: self.dilated(),
            shadows: self.count_shadows(),
            ..self.counts
        }
    }

    /// What its sectors weigh, on a thread that is so `busy`.
    pub fn load(&self, busy: u32) -> TableLoad {
        let mut load = TableLoad { busy, ..TableLoad::default() };
        for (key, cell) in &self.cells {
            let Some(units) = units(cell) else { continue };
            // One that does not step costs nothing.
            let weight = if cell.is_active() { units + 1 } else { 0 };
            load.sectors += 1;
            load.weight += weight;
            if load.heaviest.is_none_or(|(_, most)| weight > most) {
                load.heaviest = Some((*key, weight));
            }
        }
        load
    }
}

/// How many units a sector has.
fn units(cell: &Cell) -> Option<u64> {
    match cell.entity.kind() {
        Kind::Sector(sector) => Some(sector.state().units().len() as u64),
        Kind::Board(_) | Kind::Ledger(_) => None,
    }
}
