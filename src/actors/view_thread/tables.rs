//! Owns which sectors the tables here were told to hand out, and tells again
//! what did not arrive. Never decides which: the view's thread does. Invariant:
//! one that is to be handed out and does not run is woken, again and again,
//! until it runs, has no record, or is another node's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix::prelude::SendError;

use crate::actors::core_thread::{CoreHandle, ToCore};
use crate::actors::registry::Registry;
use crate::actors::sector::Follow;
use crate::base::{EntityKey, SectorId};
use crate::cluster::core::node::Event;
use crate::cluster::core::table::Unavailable;

/// Sectors that are awaited are woken again after so many ticks of the view.
const WAKE_TICKS: u32 = 20;

/// The way to the tables here.
pub(super) struct Tables {
    registry: Arc<Registry>,
    core: CoreHandle,
    /// Sectors whose mailbox was full: what they are to be told.
    again: BTreeMap<SectorId, bool>,
    /// Sectors that are followed and do not run: they are woken, again and
    /// again, because there may be no room for it at times.
    awaited: BTreeSet<SectorId>,
    /// Ticks until then.
    wake_in: u32,
}

impl Tables {
    pub(super) fn new(registry: Arc<Registry>, core: CoreHandle) -> Tables {
        let (again, awaited) = (BTreeMap::new(), BTreeSet::new());
        Tables { registry, core, again, awaited, wake_in: 0 }
    }

    /// One that does not run here is woken if it has a record; whoever wants it
    /// says so again when it starts.
    pub(super) fn follow(&mut self, sector: SectorId, on: bool) {
        self.again.remove(&sector);
        self.awaited.remove(&sector);
        let Some(actor) = self.registry.sector(EntityKey::Sector(sector)) else {
            if on {
                self.awaited.insert(sector);
                self.wake(sector);
            }
            return;
        };
        if let Err(SendError::Full(_)) = actor.try_send(Follow { on }) {
            self.again.insert(sector, on);
        }
    }

    /// Tells again what did not arrive.
    pub(super) fn follow_again(&mut self) {
        for (sector, on) in std::mem::take(&mut self.again) {
            self.follow(sector, on);
        }
    }

    /// It will not run: whether it was awaited.
    pub(super) fn give_up(&mut self, sector: SectorId) -> bool {
        self.awaited.remove(&sector)
    }

    /// Every 100 ms.
    pub(super) fn handle_tick(&mut self) {
        self.wake_in = self.wake_in.saturating_sub(1);
        if self.wake_in == 0 {
            self.wake_in = WAKE_TICKS;
            self.awaited.iter().for_each(|sector| self.wake(*sector));
        }
    }

    fn wake(&self, sector: SectorId) {
        let entity = EntityKey::Sector(sector);
        // One that is parked stays so.
        if self.registry.absence(entity) == Unavailable::NotHere {
            self.core.send(ToCore::Event(Event::Wake(entity)));
        }
    }
}
