//! Owns who watches which entity of a table, and shows them what changed.
//! Never decides what an observer sees (`view::observer` does). Invariant: an
//! observer is shown a sector at even ticks of the sector's only.

use std::sync::Arc;

use super::{Release, Table, Unavailable};
use crate::base::{EntityKey, PlayerId};
use crate::entity::kinds::Kind;
use crate::entity::kinds::sector::TICKS_PER_STEP;
use crate::view::observer::Observer;

/// Observers are sent something at least this often, in ticks.
const HEARTBEAT_TICKS: u64 = 10;

impl Table {
    /// Lets `observer` (a number of the caller's) see `entity` as `player`
    /// sees it: a keyframe with the next even tick, then what changes. Asked
    /// again by the same observer it gives a new keyframe, behind what changed
    /// at its tick.
    ///
    /// # Errors
    /// When the entity is not here or has too many observers.
    pub fn observe(
        &mut self,
        entity: EntityKey,
        observer: u64,
        player: PlayerId,
    ) -> Result<(), Unavailable> {
        let cell = self.cells.get_mut(&entity).ok_or(Unavailable::NotHere)?;
        let is_full = cell.observers.len() >= self.limits.observers_per_entity;
        if is_full && !cell.observers.contains_key(&observer) {
            return Err(Unavailable::Busy);
        }
        cell.observers
            .entry(observer)
            .and_modify(Observer::ask_keyframe)
            .or_insert_with(|| Observer::new(player));
        self.observed.insert(entity);
        Ok(())
    }

    /// Ends what [`observe`](Self::observe) began.
    pub fn unobserve(&mut self, entity: EntityKey, observer: u64) {
        let Some(cell) = self.cells.get_mut(&entity) else { return };
        cell.observers.remove(&observer);
        if cell.observers.is_empty() {
            self.observed.remove(&entity);
        }
    }

    /// At even ticks of theirs, entities show observers what there is to show.
    pub(super) fn show_observers(&mut self) {
        let observed: Vec<EntityKey> = self.observed.iter().copied().collect();
        for key in observed {
            let Some(cell) = self.cells.get_mut(&key) else { continue };
            let at = cell.tick_at(self.tick);
            let Kind::Sector(_) = cell.entity.kind() else { continue };
            if !at.0.is_multiple_of(TICKS_PER_STEP) || !cell.is_claimed() {
                continue;
            }
            cell.entity.run_to(at, &self.world, &mut Vec::new());
            let changes = std::mem::take(&mut cell.changes);
            let Kind::Sector(sector) = cell.entity.kind() else { continue };
            let mut updates = Vec::new();
            for (observer, view) in &mut cell.observers {
                let beat = view.quiet_for(at) >= HEARTBEAT_TICKS;
                let shown = view.observe(sector.state(), &self.world.rules, at, &changes, beat);
                for update in shown {
                    let update = Arc::new(update);
                    updates.push(Release::Update { observer: *observer, entity: key, update });
                }
            }
            updates.into_iter().for_each(|update| self.hold(update));
        }
    }
}
