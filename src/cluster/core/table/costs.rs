//! Owns the measuring of what each sector of a table costs: all the time that is
//! worked for one sector counts as its own. Never reads a clock by itself: the
//! shell gives it one, which counts the thread's time; without one all costs are
//! 0, as in the simulator. Called around steps and records. Invariant: nothing is
//! decided here by what is measured.

use std::cmp::Reverse;

use super::Table;
use super::activity::TELL_TICKS;
use crate::base::EntityKey;
use crate::cluster::core::balance::{RestLoad, SectorLoad};
use crate::cluster::core::cell::Cell;
use crate::entity::kinds::Kind;

/// Nanoseconds for which the calling thread has worked, since whenever.
pub type Clock = fn() -> u64;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    clock: Clock,
    /// What the clock said when the work began that is charged next.
    began: u64,
    charged: u64,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs { clock: || 0, began: 0, charged: 0 }
    }
}

/// What a table's sectors cost, as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableCosts {
    /// The costliest first; who looks at them is not known here.
    pub sectors: Vec<SectorLoad>,
    /// All the others.
    pub rest: RestLoad,
    /// Nanoseconds that were worked for sectors since the table was made.
    pub charged_ns: u64,
}

impl Table {
    /// The same table, measured by `clock` of the thread that it will be on.
    #[must_use]
    pub fn measured_by(mut self, clock: Clock) -> Table {
        self.costs.clock = clock;
        self
    }

    /// What comes from here on is charged by [`charge`](Self::charge).
    pub(super) fn begin_work(&mut self) {
        self.costs.began = (self.costs.clock)();
    }

    /// What was worked since the last call was for `key`.
    pub(super) fn charge(&mut self, key: EntityKey) {
        let now = (self.costs.clock)();
        let ns = now.saturating_sub(self.costs.began);
        self.costs.began = now;
        if !matches!(key, EntityKey::Sector(_)) {
            return;
        }
        self.costs.charged = self.costs.charged.saturating_add(ns);
        if let Some(cell) = self.cells.get_mut(&key) {
            cell.cost.spend(ns);
        }
    }

    /// Once a second.
    pub(super) fn note_costs(&mut self) {
        if !self.tick.0.is_multiple_of(TELL_TICKS) {
            return;
        }
        let alone = self.active.len() == 1;
        for (key, cell) in &mut self.cells {
            if matches!(key, EntityKey::Sector(_)) {
                let alone = alone && self.active.contains(key);
                cell.cost.note_second(self.now, cell.entity.rate(), alone);
            }
        }
    }

    /// What the sectors here cost, as of the last second: at most `most` of them
    /// one by one.
    pub fn costs(&self, most: usize) -> TableCosts {
        let mut sectors: Vec<SectorLoad> = self.cells.values().filter_map(load).collect();
        if sectors.len() > most {
            let rank = |load: &SectorLoad| (Reverse((load.cost_us, load.players)), load.sector);
            sectors.select_nth_unstable_by_key(most, rank);
        }
        let rest = RestLoad::of(&sectors[most.min(sectors.len())..]);
        sectors.truncate(most);
        sectors.sort_unstable_by_key(|load| (Reverse((load.cost_us, load.players)), load.sector));
        TableCosts { sectors, rest, charged_ns: self.costs.charged }
    }
}

/// Of one that this node owns.
fn load(cell: &Cell) -> Option<SectorLoad> {
    let Kind::Sector(sector) = cell.entity.kind() else { return None };
    cell.is_claimed().then(|| SectorLoad {
        sector: sector.state().sector(),
        players: u32::try_from(sector.players()).unwrap_or(u32::MAX),
        activity: cell.cost.activity(),
        cost_us: cell.cost.us(),
        hot_since: cell.cost.hot_since(),
        cold_since: cell.cost.cold_since(),
        here_since: cell.cost.here_since(),
        gateways: Vec::new(),
    })
}
