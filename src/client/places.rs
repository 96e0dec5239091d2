//! Owns what a client watches: places, their handles on this connection, their
//! views. Never sends (`core` does). Invariant: a message is applied only to
//! the place its handle was given for on this connection.

use std::collections::BTreeMap;

use crate::base::{EntityKey, SectorId};
use crate::protocol::server::{Keyframe, StateDelta};
use crate::protocol::{Header, SUBSCRIBED_SECTORS_MAX};
use crate::view::{Applied, PlaceView};

/// A keyframe asked for is asked for again after so long.
pub const KEYFRAME_WITHIN_MS: u64 = 3_000;

#[derive(Clone, Debug, Default)]
struct Watched {
    /// `None` until the server gave one on this connection.
    handle: Option<u32>,
    view: PlaceView,
    /// A keyframe is asked for, and again then.
    keyframe_due: Option<u64>,
}

/// All that one client watches.
#[derive(Clone, Debug, Default)]
pub struct Places {
    watched: BTreeMap<EntityKey, Watched>,
    by_handle: BTreeMap<u32, EntityKey>,
}

impl Places {
    /// Wants to watch these sectors; those that are new, as far as a session
    /// may watch so many.
    pub fn add(&mut self, sectors: &[SectorId]) -> Vec<SectorId> {
        let mut added = Vec::new();
        for &sector in sectors {
            let place = EntityKey::Sector(sector);
            if self.watched.len() < SUBSCRIBED_SECTORS_MAX && !self.watched.contains_key(&place) {
                self.watched.insert(place, Watched::default());
                added.push(sector);
            }
        }
        added
    }

    /// Wants to watch `place` no longer; the handle to say so for.
    pub fn remove(&mut self, place: EntityKey) -> Option<u32> {
        let handle = self.watched.remove(&place)?.handle?;
        self.by_handle.remove(&handle);
        Some(handle)
    }

    /// All sectors that are wanted.
    pub fn sectors(&self) -> Vec<SectorId> {
        let sector = |place: &EntityKey| match place {
            EntityKey::Sector(sector) => Some(*sector),
            _ => None,
        };
        self.watched.keys().filter_map(sector).collect()
    }

    /// What is known of `place`.
    pub fn view(&self, place: EntityKey) -> Option<&PlaceView> {
        self.watched.get(&place).map(|watched| &watched.view)
    }

    /// The name of `place` on this connection.
    pub fn handle(&self, place: EntityKey) -> Option<u32> {
        self.watched.get(&place)?.handle
    }

    /// The connection is gone, and with it all handles and views.
    pub fn handle_closed(&mut self) {
        self.by_handle.clear();
        self.watched.values_mut().for_each(|watched| *watched = Watched::default());
    }

    /// The server named a place; whether it is one that is wanted.
    pub fn handle_subscribed(&mut self, handle: u32, place: EntityKey) -> bool {
        let Some(watched) = self.watched.get_mut(&place) else { return false };
        if let Some(old) = watched.handle.replace(handle) {
            self.by_handle.remove(&old);
            watched.view = PlaceView::default();
        }
        self.by_handle.insert(handle, place);
        true
    }

    /// The server took a name back; the place it was for.
    pub fn handle_unsubscribed(&mut self, handle: u32) -> Option<EntityKey> {
        let place = self.by_handle.remove(&handle)?;
        self.watched.remove(&place);
        Some(place)
    }

    /// The place of this name, and what became of the keyframe.
    pub fn handle_keyframe(
        &mut self,
        header: Header,
        body: &Keyframe,
    ) -> Option<(EntityKey, Applied)> {
        let (place, watched) = self.named(header.handle)?;
        watched.keyframe_due = None;
        Some((place, watched.view.handle_keyframe(body)))
    }

    /// The place of this name, and what became of the delta.
    pub fn handle_delta(
        &mut self,
        header: Header,
        body: &StateDelta,
    ) -> Option<(EntityKey, Applied)> {
        let (place, watched) = self.named(header.handle)?;
        Some((place, watched.view.handle_delta(header.tick, body)))
    }

    fn named(&mut self, handle: u32) -> Option<(EntityKey, &mut Watched)> {
        let place = *self.by_handle.get(&handle)?;
        self.watched.get_mut(&place).map(|watched| (place, watched))
    }

    /// A keyframe is wanted: the handle to ask for, unless it is asked for.
    pub fn ask_keyframe(&mut self, now: u64, place: EntityKey) -> Option<u32> {
        let watched = self.watched.get_mut(&place)?;
        let handle = watched.handle?;
        if watched.keyframe_due.is_some() {
            return None;
        }
        watched.keyframe_due = Some(now.saturating_add(KEYFRAME_WITHIN_MS));
        Some(handle)
    }

    /// The handles of keyframes that did not come, to ask for again.
    pub fn handle_time(&mut self, now: u64) -> Vec<u32> {
        let mut again = Vec::new();
        for watched in self.watched.values_mut() {
            if watched.keyframe_due.is_some_and(|due| due <= now) {
                watched.keyframe_due = Some(now.saturating_add(KEYFRAME_WITHIN_MS));
                again.extend(watched.handle);
            }
        }
        again
    }

    /// When [`handle_time`](Self::handle_time) has something to do.
    pub fn next_due(&self) -> Option<u64> {
        self.watched.values().filter_map(|watched| watched.keyframe_due).min()
    }
}
