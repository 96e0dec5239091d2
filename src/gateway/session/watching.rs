//! Owns what a session watches: places, their handles, the tick of the last
//! packet of each. Never asks for one; the session does. Invariants: a packet
//! is passed on only after `Subscribed` gave its handle; after a loss a
//! keyframe comes before any other; ticks of a place only rise.
//!
//! ```text
//! Asked --keyframe--> Shown --packets dropped, place gone--> Lost
//!   |                   ^                                      |
//!   +- refused: Error   +--------------- keyframe -------------+- not here: Unsubscribed
//! ```

use std::collections::BTreeMap;

use crate::base::{EntityKey, Millis, Tick};
use crate::cluster::core::table::Unavailable;
use crate::protocol::client::Empty;
use crate::protocol::server::{Subscribed, TimeDilation};
use crate::protocol::{Place, ServerFrame, ServerMessage};

/// A lost place is asked for again after so long, so often.
const AGAIN_MS: u64 = 1_000;
const AGAIN_MAX: u8 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// For this Subscribe.
    Asked { request: u32 },
    /// The last packet was of tick `last`.
    Shown { last: Tick, keyframe_asked: Option<Millis> },
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

/// What to do about a place that cannot be observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unobserved {
    /// Say this, if anything.
    Say(Option<ServerFrame>),
    /// A keyframe was asked for and does not come.
    NoKeyframe(Unavailable),
}

/// What to do with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is of no use any more.
    Nothing,
    /// Pass it on, behind this.
    Packet { begins: Option<ServerFrame> },
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

    /// `entity` cannot be observed now.
    pub fn handle_unobserved(
        &mut self,
        entity: EntityKey,
        why: Unavailable,
        now: Millis,
    ) -> Unobserved {
        match self.stage(entity) {
            None => Unobserved::Say(None),
            Some(Stage::Asked { request }) => {
                self.settle(request, Some(why));
                Unobserved::Say(self.end(entity))
            }
            Some(Stage::Lost { tries, .. }) if tries < AGAIN_MAX => {
                let again = Some(Millis(now.0.saturating_add(AGAIN_MS)));
                self.set(entity, Stage::Lost { asked: false, tries: tries + 1, again });
                Unobserved::Say(None)
            }
            Some(Stage::Lost { .. }) => Unobserved::Say(self.end(entity)),
            Some(Stage::Shown { last, .. }) => {
                self.set(entity, Stage::Shown { last, keyframe_asked: None });
                Unobserved::NoKeyframe(why)
            }
        }
    }

    /// For each Subscribe that is settled with places that are not here: why.
    pub fn drain_refused(&mut self) -> Vec<Unavailable> {
        std::mem::take(&mut self.refused)
    }

    /// What to do with a packet of `entity`, whose name is `handle`.
    pub fn handle_packet(
        &mut self,
        entity: EntityKey,
        handle: u32,
        tick: Tick,
        keyframe: bool,
    ) -> Told {
        let Some(stage) = self.stage(entity) else { return Told::Nothing };
        match stage {
            Stage::Shown { last, keyframe_asked } if handle == self.handle(entity) => {
                let is_next = if keyframe { tick >= last } else { tick > last };
                if !is_next {
                    return Told::Nothing;
                }
                let keyframe_asked = keyframe_asked.filter(|_| !keyframe);
                self.set(entity, Stage::Shown { last: tick, keyframe_asked });
                Told::Packet { begins: None }
            }
            // What it builds on was never shown.
            _ if !keyframe => Told::Nothing,
            stage => {
                if let Stage::Asked { request } = stage {
                    self.settle(request, None);
                }
                // What the client had of the place, it forgets.
                Told::Packet { begins: self.begin(entity, handle, tick) }
            }
        }
    }

    /// How fast the place with this name is from here on; what the client is
    /// told, if it is shown the place. Behind the next keyframe it is said again.
    pub fn handle_pace(
        &mut self,
        entity: EntityKey,
        handle: u32,
        percent: u8,
    ) -> Option<ServerFrame> {
        let Some(Stage::Shown { last, .. }) = self.stage(entity) else { return None };
        let message = ServerMessage::TimeDilation(TimeDilation { percent });
        (handle == self.handle(entity)).then(|| ServerFrame::new(handle, last.0, message))
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

    /// The place has this name now, and a keyframe of `tick` comes next.
    fn begin(&mut self, entity: EntityKey, handle: u32, tick: Tick) -> Option<ServerFrame> {
        self.by_handle.remove(&self.handle(entity));
        self.by_handle.insert(handle, entity);
        let stage = Stage::Shown { last: tick, keyframe_asked: None };
        self.places.insert(entity, Watched { handle, stage });
        let place = Place::of(entity)?;
        let message = ServerMessage::Subscribed(Subscribed { place });
        Some(ServerFrame::new(handle, 0, message))
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
}
