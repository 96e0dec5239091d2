//! Owns what a session watches: places, their handles, the tick of the last
//! message of each. Never asks an entity; the session does. Invariants: a
//! message names a handle only after `Subscribed` gave it; after a loss a
//! keyframe comes before any delta; ticks of a place only rise.
//!
//! ```text
//! Asked --keyframe--> Shown --messages dropped, place gone--> Lost
//!   |                   ^                                       |
//!   +- refused: Error   +---------------- keyframe -------------+- not here: Unsubscribed
//! ```

use std::collections::BTreeMap;

use crate::base::{EntityKey, Millis, Tick};
use crate::cluster::core::table::Unavailable;
use crate::protocol::client::Empty;
use crate::protocol::server::{Keyframe, StateDelta, Subscribed};
use crate::protocol::{Place, ServerFrame, ServerMessage};
use crate::view::convert;
use crate::view::observer::Update;

/// A lost place is asked for again after so long, so often.
const AGAIN_MS: u64 = 1_000;
const AGAIN_MAX: u8 = 10;

/// The short names of places in this gateway process.
pub trait PlaceNames {
    /// The name of `place`, never 0 and never another's.
    fn name(&self, place: EntityKey) -> u32;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// For this Subscribe.
    Asked { request: u32 },
    /// The last message was of tick `last`, `None` before the first keyframe.
    Shown { last: Option<Tick>, keyframe_asked: Option<Millis> },
    /// The client has not what it should; a keyframe is asked for, or will be.
    Lost { asked: bool, tries: u8, again: Option<Millis> },
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    /// 0 until the client was told it.
    handle: u32,
    stage: Stage,
}

/// A Subscribe that is not answered for all its places yet.
#[derive(Clone, Copy, Debug)]
struct Request {
    open: usize,
    refused: Option<Unavailable>,
}

/// What to do about the answer to an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Say this, if anything.
    Say(Option<ServerFrame>),
    /// A keyframe was asked for and does not come.
    NoKeyframe(Unavailable),
    /// The session does not watch it: take back what was asked.
    Unwanted,
}

/// All that one session watches.
#[derive(Clone, Debug, Default)]
pub struct Watching {
    places: BTreeMap<EntityKey, Watched>,
    by_handle: BTreeMap<u32, EntityKey>,
    requests: BTreeMap<u32, Request>,
    last_request: u32,
    refused: Vec<Unavailable>,
}

impl Watching {
    /// Places watched or asked for.
    pub fn entities(&self) -> impl Iterator<Item = EntityKey> + '_ {
        self.places.keys().copied()
    }

    /// The place of a handle that this session was given.
    pub fn entity(&self, handle: u32) -> Option<EntityKey> {
        self.by_handle.get(&handle).copied()
    }

    /// The handle of a place; 0 for none.
    pub fn handle(&self, entity: EntityKey) -> u32 {
        self.places.get(&entity).map_or(0, |watched| watched.handle)
    }

    /// Begins to watch `entities`, of which each is to be observed. `None`
    /// when that were more than `max`: nothing was begun.
    pub fn subscribe(&mut self, entities: &[EntityKey], max: usize) -> Option<Vec<EntityKey>> {
        let mut wanted: Vec<EntityKey> = entities.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let fresh = wanted.iter().filter(|entity| !self.places.contains_key(entity)).count();
        if self.places.len() + fresh > max {
            return None;
        }
        self.last_request = self.last_request.wrapping_add(1);
        let request = self.last_request;
        // One that is still asked for answers the Subscribe that asked first.
        wanted.retain(|entity| !matches!(self.stage(*entity), Some(Stage::Asked { .. })));
        for &entity in &wanted {
            let handle = self.handle(entity);
            self.places.insert(entity, Watched { handle, stage: Stage::Asked { request } });
        }
        if !wanted.is_empty() {
            self.requests.insert(request, Request { open: wanted.len(), refused: None });
        }
        Some(wanted)
    }

    /// Ends watching the place of a handle.
    pub fn unsubscribe(&mut self, handle: u32) -> Option<EntityKey> {
        let entity = self.by_handle.remove(&handle)?;
        if let Some(Watched { stage: Stage::Asked { request }, .. }) = self.places.remove(&entity) {
            self.settle(request, None);
        }
        Some(entity)
    }

    /// The client wants a keyframe of the place with this handle: whether to
    /// ask for one, `None` when it watches no such place. One that was asked
    /// for a moment ago answers this one too.
    pub fn ask_keyframe(&mut self, handle: u32, now: Millis) -> Option<(EntityKey, bool)> {
        let entity = self.entity(handle)?;
        let Some(Stage::Shown { keyframe_asked, .. }) = self.stage_mut(entity) else {
            return Some((entity, false));
        };
        let asked = keyframe_asked.is_some_and(|at| now.since(at) < AGAIN_MS);
        if !asked {
            *keyframe_asked = Some(now);
        }
        Some((entity, !asked))
    }

    /// What came of observing `entity`.
    pub fn handle_observed(
        &mut self,
        entity: EntityKey,
        result: Result<(), Unavailable>,
        names: &dyn PlaceNames,
        now: Millis,
    ) -> Observed {
        let Some(stage) = self.stage(entity) else {
            return if result.is_ok() { Observed::Unwanted } else { Observed::Say(None) };
        };
        match (stage, result) {
            (Stage::Asked { request }, Ok(())) => {
                Observed::Say(self.confirm(entity, request, names))
            }
            (Stage::Asked { request }, Err(why)) => {
                self.settle(request, Some(why));
                Observed::Say(self.end(entity))
            }
            (Stage::Lost { tries, .. }, Err(_)) if tries < AGAIN_MAX => {
                let again = Some(Millis(now.0.saturating_add(AGAIN_MS)));
                self.set(entity, Stage::Lost { asked: false, tries: tries + 1, again });
                Observed::Say(None)
            }
            (Stage::Lost { .. }, Err(_)) => Observed::Say(self.end(entity)),
            (Stage::Shown { last, .. }, Err(why)) => {
                self.set(entity, Stage::Shown { last, keyframe_asked: None });
                Observed::NoKeyframe(why)
            }
            (Stage::Shown { .. } | Stage::Lost { .. }, Ok(())) => Observed::Say(None),
        }
    }

    /// For each Subscribe that is settled with places that are not here: why.
    pub fn drain_refused(&mut self) -> Vec<Unavailable> {
        std::mem::take(&mut self.refused)
    }

    /// What to say about an update: nothing when it is of no use any more.
    pub fn handle_update(
        &mut self,
        entity: EntityKey,
        update: &Update,
        names: &dyn PlaceNames,
    ) -> Vec<ServerFrame> {
        let Some(stage) = self.stage(entity) else { return Vec::new() };
        let tick = update.tick;
        if !update.keyframe {
            let Stage::Shown { last: Some(last), .. } = stage else { return Vec::new() };
            return self.delta(entity, last, update).into_iter().collect();
        }
        let mut said = Vec::new();
        match stage {
            // The keyframe overtook the answer to the question.
            Stage::Asked { request } => {
                said.extend(self.confirm(entity, request, names));
            }
            // The client forgets what it had of the place.
            Stage::Lost { .. } => said.extend(self.subscribed(entity)),
            Stage::Shown { last, .. } if last.is_some_and(|last| last > tick) => return said,
            Stage::Shown { .. } => {}
        }
        self.set(entity, Stage::Shown { last: Some(tick), keyframe_asked: None });
        let units = update.units.iter().map(convert::record).collect();
        let keyframe = ServerMessage::Keyframe(Keyframe { full_tick: tick.0, units });
        said.push(ServerFrame::new(self.handle(entity), tick.0, keyframe));
        said
    }

    /// Messages of the place were dropped.
    pub fn handle_dropped(&mut self, handle: u32) {
        if let Some(entity) = self.entity(handle)
            && let Some(Stage::Shown { .. }) = self.stage(entity)
        {
            self.set(entity, Stage::Lost { asked: false, tries: 0, again: None });
        }
    }

    /// The place runs here no more, or updates of it were lost on the way:
    /// whether to observe it anew at once.
    pub fn handle_lost(&mut self, entity: EntityKey) -> bool {
        match self.stage(entity) {
            Some(Stage::Shown { .. }) => {
                self.set(entity, Stage::Lost { asked: true, tries: 0, again: None });
                true
            }
            // What was asked for may have been among what was lost.
            Some(Stage::Lost { asked: true, .. } | Stage::Asked { .. }) => true,
            Some(Stage::Lost { asked: false, .. }) | None => false,
        }
    }

    /// Lost places to observe anew, now that there is room for keyframes.
    pub fn drain_lost(&mut self, now: Millis) -> Vec<EntityKey> {
        let mut due = Vec::new();
        for (entity, watched) in &mut self.places {
            if let Stage::Lost { asked: asked @ false, again, .. } = &mut watched.stage
                && again.is_none_or(|at| at <= now)
            {
                *asked = true;
                due.push(*entity);
            }
        }
        due
    }

    /// When a lost place is to be asked for again.
    pub fn next_due(&self) -> Option<Millis> {
        let again = |watched: &Watched| match watched.stage {
            Stage::Lost { asked: false, again, .. } => again,
            _ => None,
        };
        self.places.values().filter_map(again).min()
    }

    fn stage(&self, entity: EntityKey) -> Option<Stage> {
        self.places.get(&entity).map(|watched| watched.stage)
    }

    fn stage_mut(&mut self, entity: EntityKey) -> Option<&mut Stage> {
        self.places.get_mut(&entity).map(|watched| &mut watched.stage)
    }

    fn set(&mut self, entity: EntityKey, stage: Stage) {
        if let Some(watched) = self.places.get_mut(&entity) {
            watched.stage = stage;
        }
    }

    /// Watches the place no longer; what the client is told, if it knows it.
    fn end(&mut self, entity: EntityKey) -> Option<ServerFrame> {
        let handle = self.places.remove(&entity)?.handle;
        self.by_handle.remove(&handle)?;
        Some(ServerFrame::new(handle, 0, ServerMessage::Unsubscribed(Empty {})))
    }

    /// The place is here: it gets its name.
    fn confirm(
        &mut self,
        entity: EntityKey,
        request: u32,
        names: &dyn PlaceNames,
    ) -> Option<ServerFrame> {
        let handle = names.name(entity);
        self.by_handle.insert(handle, entity);
        self.places.insert(
            entity,
            Watched { handle, stage: Stage::Shown { last: None, keyframe_asked: None } },
        );
        self.settle(request, None);
        self.subscribed(entity)
    }

    fn subscribed(&self, entity: EntityKey) -> Option<ServerFrame> {
        let place = Place::of(entity)?;
        let message = ServerMessage::Subscribed(Subscribed { place });
        Some(ServerFrame::new(self.handle(entity), 0, message))
    }

    /// One place of a Subscribe is settled.
    fn settle(&mut self, request: u32, refused: Option<Unavailable>) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        open.open = open.open.saturating_sub(1);
        open.refused = open.refused.or(refused);
        if open.open == 0 {
            self.refused.extend(open.refused);
            self.requests.remove(&request);
        }
    }

    fn delta(&mut self, entity: EntityKey, last: Tick, update: &Update) -> Option<ServerFrame> {
        let tick = update.tick;
        if tick <= last {
            return None;
        }
        let Ok(base) = u16::try_from(tick.since(last)) else {
            self.set(entity, Stage::Lost { asked: false, tries: 0, again: None });
            return None;
        };
        if let Some(Stage::Shown { last, .. }) = self.stage_mut(entity) {
            *last = Some(tick);
        }
        let units = update.units.iter().map(convert::record).collect();
        let delta = StateDelta { base, units, removed: update.removed.clone() };
        Some(ServerFrame::new(self.handle(entity), tick.0, ServerMessage::StateDelta(delta)))
    }
}
