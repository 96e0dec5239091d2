//! Owns what a client watches: places, their handles on this connection, their
//! views. Never sends (`core` does). Invariant: a message is applied only to
//! the place its handle was given for on this connection.

use std::collections::BTreeMap;

use crate::base::{EntityKey, SectorId};
use crate::protocol::blocks::Packet;
use crate::protocol::server::Aggregate;
use crate::protocol::{Header, SUBSCRIBED_SECTORS_MAX};
use crate::view::{Applied, CellsView};

/// So many ticks beyond its last packet a place is taken to be: a server says
/// something at least every so many of them.
const TICKS_AHEAD_MAX: u64 = 10;
const TICK_MS: u64 = 100;
/// A keyframe or subscription asked for is asked for again after so long.
pub const ASK_AGAIN_MS: u64 = 3_000;

#[derive(Clone, Debug, Default)]
struct Watched {
    /// `None` until the server gave one on this connection.
    handle: Option<u32>,
    view: CellsView,
    /// When the view got its tick.
    told_at: u64,
    /// How fast it runs if not like its node, in per cent.
    percent: Option<u8>,
    /// Of a sector that is not told by cells.
    aggregate: Option<Aggregate>,
    /// A keyframe is asked for, and again then.
    keyframe_due: Option<u64>,
    /// The subscription is asked for, and again then.
    subscribe_due: Option<u64>,
}

/// What has to be asked for again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskAgain {
    /// Handles of places.
    pub keyframes: Vec<u32>,
    pub subscriptions: Vec<SectorId>,
}

/// All that one client watches.
#[derive(Clone, Debug, Default)]
pub struct Places {
    watched: BTreeMap<EntityKey, Watched>,
    by_handle: BTreeMap<u32, EntityKey>,
}

impl Places {
    /// Wants to watch these sectors, as far as a session may watch so many;
    /// whether one of them is new.
    pub fn add(&mut self, sectors: &[SectorId]) -> bool {
        let before = self.watched.len();
        for &sector in sectors {
            if self.watched.len() < SUBSCRIBED_SECTORS_MAX {
                self.watched.entry(EntityKey::Sector(sector)).or_default();
            }
        }
        self.watched.len() > before
    }

    /// Wants to watch `place` no longer; the handle to say so for.
    pub fn remove(&mut self, place: EntityKey) -> Option<u32> {
        let handle = self.watched.remove(&place)?.handle?;
        self.by_handle.remove(&handle);
        Some(handle)
    }

    /// The sectors that are wanted and have no handle: to be subscribed to now.
    pub fn ask_subscriptions(&mut self, now: u64) -> Vec<SectorId> {
        let mut asked = Vec::new();
        for (place, watched) in &mut self.watched {
            if let (EntityKey::Sector(sector), None) = (place, watched.handle) {
                watched.subscribe_due = Some(now.saturating_add(ASK_AGAIN_MS));
                asked.push(*sector);
            }
        }
        asked
    }

    /// What is known of `place`.
    pub fn view(&self, place: EntityKey) -> Option<&CellsView> {
        self.watched.get(&place).map(|watched| &watched.view)
    }

    /// The tick that `place` has now, as near as its last packet tells.
    pub fn tick(&self, now: u64, place: EntityKey) -> Option<u64> {
        let watched = self.watched.get(&place)?;
        let percent = u64::from(watched.percent.unwrap_or(100));
        let since = now.saturating_sub(watched.told_at).saturating_mul(percent) / (100 * TICK_MS);
        watched.view.tick().map(|tick| tick.saturating_add(since.min(TICKS_AHEAD_MAX)))
    }

    /// The place of this name runs so fast, in per cent, until a keyframe.
    pub fn handle_dilation(&mut self, handle: u32, percent: u8) -> Option<EntityKey> {
        let (place, watched) = self.named(handle)?;
        watched.percent = Some(percent);
        Some(place)
    }

    /// How much goes on in `place`, if it is told by sums.
    pub fn aggregate(&self, place: EntityKey) -> Option<&Aggregate> {
        self.watched.get(&place)?.aggregate.as_ref()
    }

    /// The place of this name, which is summed up anew.
    pub fn handle_aggregate(&mut self, handle: u32, aggregate: &Aggregate) -> Option<EntityKey> {
        let (place, watched) = self.named(handle)?;
        watched.keyframe_due = None;
        watched.aggregate = Some(aggregate.clone());
        Some(place)
    }

    /// The place that has this name on this connection.
    pub fn place(&self, handle: u32) -> Option<EntityKey> {
        self.by_handle.get(&handle).copied()
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
        // Said again of a place that has a handle, it means: forget what you
        // had of it.
        let old =
            std::mem::replace(watched, Watched { handle: Some(handle), ..Watched::default() });
        if let Some(old) = old.handle {
            self.by_handle.remove(&old);
        }
        self.by_handle.insert(handle, place);
        true
    }

    /// The server took a name back; the place it was for, which is asked for
    /// again later: it is still wanted.
    pub fn handle_unsubscribed(&mut self, now: u64, handle: u32) -> Option<EntityKey> {
        let place = self.by_handle.remove(&handle)?;
        let subscribe_due = Some(now.saturating_add(ASK_AGAIN_MS));
        self.watched.insert(place, Watched { subscribe_due, ..Watched::default() });
        Some(place)
    }

    /// The place of this name, and what became of the packet.
    pub fn handle_packet(
        &mut self,
        now: u64,
        header: Header,
        packet: &Packet,
    ) -> Option<(EntityKey, Applied)> {
        let (place, watched) = self.named(header.handle)?;
        if packet.full_tick.is_some() {
            (watched.keyframe_due, watched.percent) = (None, None);
        }
        let before = watched.view.tick();
        let applied = watched.view.handle(header.tick, packet);
        if watched.view.tick() != before {
            watched.told_at = now;
        }
        Some((place, applied))
    }

    /// A cell of which the packet has units though the player does not see it,
    /// or has others' units in it.
    pub fn stray(&self, header: Header, packet: &Packet) -> Option<(EntityKey, u8)> {
        let place = *self.by_handle.get(&header.handle)?;
        let cell = self.watched.get(&place)?.view.stray(packet)?;
        Some((place, cell))
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
        watched.keyframe_due = Some(now.saturating_add(ASK_AGAIN_MS));
        Some(handle)
    }

    /// What was asked for and did not come.
    pub fn handle_time(&mut self, now: u64) -> AskAgain {
        let mut again = AskAgain::default();
        let passed = |due: Option<u64>| due.is_some_and(|due| due <= now);
        for (place, watched) in &mut self.watched {
            if passed(watched.keyframe_due) {
                watched.keyframe_due = Some(now.saturating_add(ASK_AGAIN_MS));
                again.keyframes.extend(watched.handle);
            }
            if let (EntityKey::Sector(sector), true) = (place, passed(watched.subscribe_due)) {
                watched.subscribe_due = Some(now.saturating_add(ASK_AGAIN_MS));
                again.subscriptions.push(*sector);
            }
        }
        again
    }

    /// When [`handle_time`](Self::handle_time) has something to do.
    pub fn next_due(&self) -> Option<u64> {
        let dues = self.watched.values().flat_map(|w| [w.keyframe_due, w.subscribe_due]);
        dues.flatten().min()
    }
}
