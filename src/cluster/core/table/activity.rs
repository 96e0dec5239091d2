//! Owns what a table says of its scale-0 sectors for the roll-up: how many units
//! each has and how busy it is, once a second, only of those that changed. Never
//! sums up (`view::rollup` does). Called at every tick. Invariants: a sector in
//! which nothing happens costs nothing; what is said is behind the publish
//! barrier like everything else.

use std::collections::{BTreeMap, BTreeSet};

use super::{Release, Table};
use crate::base::{EntityKey, SectorId};
use crate::cluster::core::cell::Cell;
use crate::entity::input::Input;
use crate::entity::kinds::Kind;
use crate::view::SectorSnapshot;

/// Ticks from one word to the next: a second.
pub const TELL_TICKS: u64 = 10;

/// What happened since the last word, and what that was.
#[derive(Debug, Default)]
pub struct Activity {
    /// Sectors that may have changed, with the commands that they carried out.
    touched: BTreeMap<SectorId, u32>,
    stopped: BTreeSet<SectorId>,
    /// Units and activity.
    told: BTreeMap<SectorId, (u32, u8)>,
}

/// Of one sector: what happened since the last word, and what that was.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    touched: Option<u32>,
    stopped: bool,
    told: Option<(u32, u8)>,
}

impl Activity {
    /// Forgets a sector that goes on in another table, which gets this.
    pub fn take(&mut self, key: EntityKey) -> Talk {
        let EntityKey::Sector(sector) = key else {
            return Talk { touched: None, stopped: false, told: None };
        };
        let touched = self.touched.remove(&sector);
        let stopped = self.stopped.remove(&sector);
        Talk { touched, stopped, told: self.told.remove(&sector) }
    }

    /// Goes on with what another table had of a sector.
    pub fn put(&mut self, key: EntityKey, talk: Talk) {
        let EntityKey::Sector(sector) = key else { return };
        self.touched.extend(talk.touched.map(|commands| (sector, commands)));
        self.stopped.extend(talk.stopped.then_some(sector));
        self.told.extend(talk.told.map(|told| (sector, told)));
    }

    /// The entity may have changed.
    pub fn touch(&mut self, key: EntityKey) {
        self.note(key, &[]);
    }

    /// The entity has applied these.
    pub fn note(&mut self, key: EntityKey, inputs: &[Input]) {
        let EntityKey::Sector(sector) = key else { return };
        if sector.scale > 0 {
            return;
        }
        let commands = inputs.iter().filter(|input| matches!(input, Input::Command(_))).count();
        let count = self.touched.entry(sector).or_default();
        *count = count.saturating_add(u32::try_from(commands).unwrap_or(u32::MAX));
    }

    /// The entity is here no more.
    pub fn note_stopped(&mut self, key: EntityKey) {
        let EntityKey::Sector(sector) = key else { return };
        self.touched.remove(&sector);
        if self.told.remove(&sector).is_some() {
            self.stopped.insert(sector);
        }
    }
}

impl Table {
    /// Once a second: what changed.
    pub(super) fn tell_activity(&mut self) {
        if !self.tick.0.is_multiple_of(TELL_TICKS) {
            return;
        }
        self.active.iter().for_each(|key| self.activity.touch(*key));
        let touched = std::mem::take(&mut self.activity.touched);
        let stopped = std::mem::take(&mut self.activity.stopped);
        let mut changed: Vec<_> = stopped.into_iter().map(|sector| (sector, None)).collect();
        for (sector, commands) in touched {
            let Some(units) = self.cells.get(&EntityKey::Sector(sector)).and_then(units) else {
                continue;
            };
            let activity = u8::try_from(commands).unwrap_or(u8::MAX);
            if activity > 0 {
                // It has to be said that it is over.
                self.activity.touch(EntityKey::Sector(sector));
            }
            let before = self.activity.told.insert(sector, (units, activity));
            if before == Some((units, activity)) {
                continue;
            }
            let snapshot = SectorSnapshot {
                unit_count: units,
                resource_density: self.world.galaxy.density(sector).unwrap_or(0),
                activity_level: activity,
                last_update: self.now,
            };
            changed.push((sector, Some(snapshot)));
        }
        if !changed.is_empty() {
            self.hold(Release::Summaries(changed));
        }
    }
}

/// How many units a sector has.
fn units(cell: &Cell) -> Option<u32> {
    match cell.entity.kind() {
        Kind::Sector(sector) => {
            Some(u32::try_from(sector.state().units().len()).unwrap_or(u32::MAX))
        }
        _ => None,
    }
}
