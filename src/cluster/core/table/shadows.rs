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
use crate::base::{EntityKey, GalaxyPosition, SectorId};
use crate::cluster::core::message::FromTable;
use crate::cluster::core::shadows::{Cast, Seen, Shadows};
use crate::entity::context::Head;
use crate::entity::kinds::Kind;
use crate::entity::kinds::sector::TICKS_PER_STEP;
use crate::entity::message::{Body, Notice};
use crate::entity::read::{Beyond, Reading};
use crate::sim::Traveller;
use crate::sim::shadow::{Border, Shadow, cast, reach};

/// So often it is said that somebody has come: the first words may be lost.
const NEWS: u8 = 3;
/// By how many sectors the first to be cast is another at each world tick.
const SHIFT: u64 = 61;

/// Which sectors of a table cast shadows, and on which some fall.
#[derive(Debug, Default)]
pub(super) struct Shade {
    /// Those that changed since the last world tick.
    changed: BTreeSet<EntityKey>,
    /// Those that have something to cast.
    casting: BTreeSet<EntityKey>,
    /// Those that hold something.
    holding: BTreeSet<EntityKey>,
    /// Those that were looked at since they came to run here.
    begun: BTreeSet<EntityKey>,
}

/// What one sector casts and holds.
#[derive(Clone, Debug, Default)]
pub struct CellShade {
    /// In the order of [`Border::ALL`].
    told: [Told; 8],
    pub held: Shadows,
}

/// What is cast over one border.
#[derive(Clone, Debug, Default)]
struct Told {
    /// As long as there is somebody, and once more.
    units: Option<Arc<[Shadow]>>,
    /// In so many casts more somebody has just come.
    news: u8,
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
        self.begun.insert(key);
        if !shade.held.is_empty() {
            self.holding.insert(key);
        }
    }

    pub(super) fn forget(&mut self, key: EntityKey) {
        for set in [&mut self.changed, &mut self.casting, &mut self.holding, &mut self.begun] {
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
        // Where not all of it is taken, it is not always the same that is lost.
        let mut casting: Vec<EntityKey> = self.shade.casting.iter().copied().collect();
        let turn = self.tick.0 / TICKS_PER_STEP;
        let first = turn.wrapping_mul(SHIFT).checked_rem(casting.len() as u64).unwrap_or(0);
        casting.rotate_left(usize::try_from(first).unwrap_or(0));
        let mut casts = Vec::new();
        casting.into_iter().for_each(|key| self.cast_from(key, &mut casts));
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
        let made = cast(sector.state(), &leaving(id, cell.entity.head()), reach);
        for ((border, made), told) in Border::ALL.into_iter().zip(made).zip(&mut cell.shade.told) {
            let beyond = id.neighbour(border.dx.into(), border.dy.into());
            if !beyond.is_some_and(|beyond| galaxy.contains(beyond)) {
                continue;
            }
            // Who stands there since before this sector woke has been seen then.
            let has_begun = self.shade.begun.contains(&key);
            if has_begun && has_more(&made, told.units.as_deref().unwrap_or_default()) {
                told.news = NEWS;
            }
            // That there is nobody any more is said once.
            let is_said = !made.is_empty() || told.units.is_some();
            told.units = is_said.then(|| made.into());
        }
        self.shade.begun.insert(key);
        if cell.shade.told.iter().any(|told| told.units.is_some()) {
            self.shade.casting.insert(key);
        }
    }

    fn cast_from(&mut self, key: EntityKey, casts: &mut Vec<Cast>) {
        let EntityKey::Sector(id) = key else { return };
        let tick = self.tick;
        let Some(cell) = self.cells.get_mut(&key).filter(|cell| cell.is_claimed()) else { return };
        let at = (cell.tick_at(tick), self.now);
        for (border, told) in Border::ALL.into_iter().zip(&mut cell.shade.told) {
            if let Some(units) = &told.units {
                let cast = Cast::whole(id, border, at, Arc::clone(units));
                casts.push(Cast { has_news: told.news > 0, ..cast });
                told.news = told.news.saturating_sub(1);
            }
            told.units.take_if(|units| units.is_empty());
        }
        if cell.shade.told.iter().all(|told| told.units.is_none()) {
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
            if let Kind::Sector(sector) = cell.entity.kind() {
                cell.shade.held.expire(sector.state(), *tick);
            }
            !cell.shade.held.is_empty()
        });
    }

    /// Of how many units sectors here hold shadows.
    pub(super) fn count_shadows(&self) -> u64 {
        let cells = self.shade.holding.iter().filter_map(|key| self.cells.get(key));
        cells.map(|cell| cell.shade.held.len() as u64).sum()
    }
}

/// Who is on the way from a sector to one beside it, and not yet known to have arrived.
fn leaving(from: SectorId, head: &Head) -> Vec<Shadow> {
    if head.outbox.is_settled() {
        return Vec::new();
    }
    let travellers = head.outbox.bodies().filter_map(|(to, body)| match (to, body) {
        (EntityKey::Sector(to), Body::Notice(Notice::Units { travellers })) if to.scale == 0 => {
            Some(travellers.iter().map(move |traveller| (to, traveller)))
        }
        _ => None,
    });
    let shadow = |(to, traveller): (SectorId, &Traveller)| {
        let position = GalaxyPosition::of(to, traveller.unit.position).position(from);
        Shadow { position, ..Shadow::from(&traveller.unit) }
    };
    travellers.flatten().map(shadow).collect()
}

/// Whether somebody is among `made` who was not `before`; both in order of ids.
fn has_more(made: &[Shadow], before: &[Shadow]) -> bool {
    let mut before = before.iter().peekable();
    made.iter().any(|shadow| {
        while before.next_if(|other| other.id < shadow.id).is_some() {}
        before.next_if(|other| other.id == shadow.id).is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{PlayerId, Position, UnitId};
    use crate::sim::Unit;
    use crate::sim::rules::sample::FIGHTER;

    #[test]
    fn who_was_not_there_before_is_news_and_who_left_is_not() {
        let of = |ids: &[u64]| -> Vec<Shadow> {
            let at = Position::default();
            let unit = |id: &u64| Unit::new(UnitId(*id), FIGHTER, PlayerId(1), at);
            ids.iter().map(|id| Shadow::from(&unit(id))).collect()
        };
        let has_more = |made: &[u64], before: &[u64]| has_more(&of(made), &of(before));
        assert!(has_more(&[1, 5], &[1]) && has_more(&[3], &[1, 5]) && has_more(&[1], &[]));
        assert!(!has_more(&[1, 5], &[1, 3, 5]) && !has_more(&[], &[1]) && !has_more(&[], &[]));
    }
}
