//! Owns what sectors of a table cast beyond their borders, at every world tick, and what
//! they are told of those around them. Never decides what a shadow means and never sends:
//! the core knows who is beyond a border. Called at every tick, and by the core's word.
//!
//! A slow sector is cast as often as a fast one, and one in which nothing moves too: what
//! is not said again is taken for gone. What is cast is made anew only where something
//! changed.
//!
//! Invariant: only what this node has claimed is cast.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Table;
use crate::base::{EntityKey, SectorId};
use crate::cluster::core::message::FromTable;
use crate::cluster::core::shadows::{Cast, Seen, Shadows};
use crate::entity::kinds::Kind;
use crate::entity::kinds::sector::TICKS_PER_STEP;
use crate::entity::read::{Beyond, Reading};
use crate::sim::shadow::{Border, Shadow, cast, reach};

/// Which sectors of a table cast shadows, and on which some fall.
#[derive(Debug, Default)]
pub(super) struct Shade {
    /// Those that changed since the last world tick.
    changed: BTreeSet<EntityKey>,
    /// Those that have something to cast.
    casting: BTreeSet<EntityKey>,
    /// Those that hold something.
    holding: BTreeSet<EntityKey>,
}

/// What one sector casts and holds.
#[derive(Clone, Debug, Default)]
pub struct CellShade {
    /// In the order of [`Border::ALL`]; as long as there is something, and once more.
    cast: [Option<Arc<[Shadow]>>; 8],
    pub held: Shadows,
}

impl Shade {
    /// The units of an entity may be others now.
    pub(super) fn note_changed(&mut self, key: EntityKey) {
        if matches!(key, EntityKey::Sector(SectorId { scale: 0, .. })) {
            self.changed.insert(key);
        }
    }

    /// It came from another table, with what it holds.
    pub(super) fn note_came(&mut self, key: EntityKey, shade: &CellShade) {
        self.note_changed(key);
        if !shade.held.is_empty() {
            self.holding.insert(key);
        }
    }

    pub(super) fn forget(&mut self, key: EntityKey) {
        for set in [&mut self.changed, &mut self.casting, &mut self.holding] {
            set.remove(&key);
        }
    }
}

impl Table {
    /// What is known of the units just beyond the borders of a sector here, in order of
    /// ids.
    pub fn shadows(&self, sector: SectorId) -> Vec<Seen> {
        let cell = self.cells.get(&EntityKey::Sector(sector));
        let state = cell.and_then(|cell| match cell.entity.kind() {
            Kind::Sector(sector) => Some((&cell.shade, sector.state())),
            _ => None,
        });
        state.map(|(shade, own)| shade.held.seen(own)).unwrap_or_default()
    }

    /// The same for an operator; `None` of what has no such borders.
    pub(super) fn read_beyond(&self, key: EntityKey) -> Option<Reading> {
        let EntityKey::Sector(sector @ SectorId { scale: 0, .. }) = key else { return None };
        let mut beyond: BTreeMap<SectorId, Beyond> = BTreeMap::new();
        for Seen { from, tick, shadow, .. } in self.shadows(sector) {
            let known = Beyond { sector: from, tick, units: 0, moving: 0 };
            let known = beyond.entry(from).or_insert(known);
            known.units += 1;
            known.moving += u32::from(shadow.is_moving());
        }
        Some(Reading::Beyond(beyond.into_values().collect()))
    }

    /// A world tick: what is near borders is told to the core, and what nobody told
    /// again is forgotten.
    pub(super) fn cast_shadows(&mut self) {
        if !self.tick.0.is_multiple_of(TICKS_PER_STEP) {
            return;
        }
        self.begin_work();
        let reach = reach(&self.world.rules);
        for key in std::mem::take(&mut self.shade.changed) {
            self.note_cast(key, reach);
            self.charge(key);
        }
        let mut casts = Vec::new();
        for key in self.shade.casting.clone() {
            self.cast(key, &mut casts);
        }
        if !casts.is_empty() {
            self.to_core.push(FromTable::Cast(casts));
        }
        self.forget_shadows();
    }

    /// Notes what a sector casts from now on.
    fn note_cast(&mut self, key: EntityKey, reach: i32) {
        let EntityKey::Sector(id) = key else { return };
        let Some(cell) = self.cells.get_mut(&key) else { return };
        let Kind::Sector(sector) = cell.entity.kind() else { return };
        let galaxy = &self.world.galaxy;
        let made = cast(sector.state(), reach);
        for ((border, made), cast) in Border::ALL.into_iter().zip(made).zip(&mut cell.shade.cast) {
            let beyond = id.neighbour(border.dx.into(), border.dy.into());
            let is_told = beyond.is_some_and(|beyond| galaxy.contains(beyond));
            // That there is nobody any more is said once.
            let is_news = !made.is_empty() || cast.is_some();
            *cast = (is_told && is_news).then(|| made.into());
        }
        if cell.shade.cast.iter().any(Option::is_some) {
            self.shade.casting.insert(key);
        }
    }

    fn cast(&mut self, key: EntityKey, casts: &mut Vec<Cast>) {
        let EntityKey::Sector(id) = key else { return };
        let Some(cell) = self.cells.get_mut(&key).filter(|cell| cell.is_claimed()) else { return };
        let at = (cell.entity.tick(), self.now);
        for (border, cast) in Border::ALL.into_iter().zip(&mut cell.shade.cast) {
            if let Some(units) = cast {
                casts.push(Cast::whole(id, border, at, Arc::clone(units)));
            }
            cast.take_if(|units| units.is_empty());
        }
        if cell.shade.cast.iter().all(Option::is_none) {
            self.shade.casting.remove(&key);
        }
    }

    /// What the sectors around cast on those here.
    pub(super) fn take_shadows(&mut self, casts: &[Cast]) {
        for cast in casts {
            let Some(key) = cast.to().map(EntityKey::Sector) else { continue };
            let Some(cell) = self.cells.get_mut(&key) else { continue };
            let held = &mut cell.shade.held;
            // That nobody is there is no news where nobody was.
            if held.is_empty() && cast.units.is_empty() {
                continue;
            }
            self.counts.shadows_late += u64::from(!held.take(cast, self.tick));
            self.shade.holding.insert(key);
        }
    }

    fn forget_shadows(&mut self) {
        let Table { shade, cells, tick, .. } = self;
        shade.holding.retain(|key| {
            let Some(cell) = cells.get_mut(key) else { return false };
            cell.shade.held.expire(*tick);
            !cell.shade.held.is_empty()
        });
    }

    /// Of how many units sectors here hold shadows.
    pub(super) fn count_shadows(&self) -> u64 {
        let cells = self.shade.holding.iter().filter_map(|key| self.cells.get(key));
        cells.map(|cell| cell.shade.held.len() as u64).sum()
    }
}
