//! Owns which entities of a table are followed, and hands out what is to be
//! shown of them: all of a sector once, then each of its steps. Never knows
//! who observes or what they see (`view::fanout` does). Invariant: whoever
//! follows a sector and takes everything has, at each tick handed out, the
//! sector's units; a sector is handed out at even ticks of its own only.

use std::sync::Arc;

use super::{Release, Table, Unavailable};
use crate::base::EntityKey;
use crate::cluster::core::cell::Follower;
use crate::entity::kinds::Kind;
use crate::entity::kinds::sector::TICKS_PER_STEP;
use crate::entity::pace::Rate;
use crate::view::motion::Mover;
use crate::view::stage::{Scene, StepDelta};

/// A sector that runs slower says so that often, in ticks of its node: every
/// observer has word of it once a second, however seldom it steps.
const PACE_TICKS: u64 = 10;

impl Table {
    /// Hands out `entity` from now on: all of it at its next even tick, then
    /// each step. Asked again, all of it again.
    ///
    /// # Errors
    /// When the entity is not here, or about to hibernate.
    pub fn follow(&mut self, entity: EntityKey) -> Result<(), Unavailable> {
        let cell = self.cells.get_mut(&entity).filter(|cell| !cell.is_closed());
        let cell = cell.ok_or(Unavailable::NotHere)?;
        cell.follower = Some(Follower::default());
        self.followed.insert(entity);
        Ok(())
    }

    /// Ends what [`follow`](Self::follow) began.
    pub fn unfollow(&mut self, entity: EntityKey) {
        if let Some(cell) = self.cells.get_mut(&entity) {
            cell.follower = None;
            self.followed.remove(&entity);
            self.note_busy(entity);
        }
    }

    /// At even ticks of theirs, sectors that are followed are handed out.
    pub(super) fn show_followed(&mut self) {
        let followed: Vec<EntityKey> = self.followed.iter().copied().collect();
        self.begin_work();
        for key in followed {
            let Some(cell) = self.cells.get(&key) else { continue };
            let rate = cell.entity.rate();
            if cell.moves_at(self.tick) {
                self.show(key);
                self.charge(key);
            }
            if rate < Rate::FULL && self.tick.0.is_multiple_of(PACE_TICKS) {
                self.hold(Release::Pace { entity: key, percent: rate.percent() });
            }
        }
    }

    /// Hands out a sector that is followed, if its tick is even.
    pub(super) fn show(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get(&key).filter(|cell| cell.follower.is_some()) else {
            return;
        };
        let at = cell.tick_at(self.tick);
        if !at.0.is_multiple_of(TICKS_PER_STEP) || !cell.is_claimed() {
            return;
        }
        let mut effects = Vec::new();
        let stepped = self.guard(key, |cell, world| cell.entity.run_to(at, world, &mut effects));
        if stepped.is_none() {
            return;
        }
        self.run_effects(key, effects);
        let Some(cell) = self.cells.get_mut(&key) else { return };
        let Kind::Sector(sector) = cell.entity.kind() else { return };
        let Some(follower) = &mut cell.follower else { return };
        let next = follower.told.map(|told| told.after(TICKS_PER_STEP));
        let delta = follower.delta.take();
        let delta = delta.unwrap_or_else(|| StepDelta { tick: at, ..StepDelta::default() });
        let is_next = next == Some(at) && delta.tick == at;
        follower.told = Some(at);
        let release = if is_next {
            Release::Step { entity: key, delta: Arc::new(delta) }
        } else {
            let units = sector.state().units().iter().map(Mover::from).collect();
            Release::Scene { entity: key, scene: Arc::new(Scene { tick: at, units }) }
        };
        let rate = cell.entity.rate();
        self.hold(release);
        if !is_next && rate < Rate::FULL {
            self.hold(Release::Pace { entity: key, percent: rate.percent() });
        }
    }
}

impl Follower {
    /// A step changed this. Of two steps without handing out between them
    /// nothing can be told but the whole.
    pub fn note(&mut self, delta: StepDelta) {
        if self.delta.replace(delta).is_some() {
            self.told = None;
        }
    }
}
