//! Owns the stages of all sectors that are observed through one gateway
//! process, and who observes them: takes what tables hand out, gives each
//! observer its packets. Never steps a sector and never knows sockets. Called
//! on the view's thread, and by the simulator. Invariants: an observer's first
//! packet of a place is a keyframe, and from then on it is given every packet;
//! a packet is made once for all observers of a group, a codec and a place.
//!
//! A sector is *followed* while it or one beside it is observed: what units
//! near the border see of the other side crosses as masks. Where a sector comes
//! from:
//!
//! ```text
//!            handle_scene                    handle_step
//!   Awaited ──────────────> Running (stage) ────────────┐
//!      ^ │ handle_absent       │   ^  <─────────────────┘
//!      │ └────────> Seed ──────┼───┘ handle_scene
//!      └───────────────────────┘ handle_gone
//! ```
//!
//! A sector without a record runs nowhere: `Seed` shows it as the galaxy was
//! made, without units and at tick 0, by keyframes alone.
//!
//! There are as many observers as sessions have subscriptions, which sessions
//! bound, and at most nine places for each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::aggregates::{Aggregates, is_aggregate};
use super::stage::{BEAT_TICKS, GroupId, Scene, Stage, StepDelta, Thrown};
use crate::base::{SectorId, Tick};
use crate::protocol::CodecKind;
use crate::protocol::blocks::Direction;
use crate::protocol::server::Aggregate;
use crate::sim::Rules;

/// Per cent, of who makes all of its ticks.
const WHOLE: u8 = 100;

/// How an observer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watcher {
    pub group: GroupId,
    pub codec: CodecKind,
}

/// A message for one observer, complete with its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub sector: SectorId,
    /// The name that the place has in all packets since it was last observed
    /// by nobody; never used for another one.
    pub handle: u32,
    /// The place's.
    pub tick: Tick,
    pub keyframe: bool,
    pub bytes: Arc<[u8]>,
}

/// What an observer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    Packet(Packet),
    /// The sector runs here no more; what comes next is a keyframe.
    Gone(SectorId),
    /// The place makes so many per cent of its ticks from here on; behind a
    /// keyframe only if not all.
    Pace {
        sector: SectorId,
        handle: u32,
        percent: u8,
    },
}

impl Shown {
    /// What it is about.
    pub fn sector(&self) -> SectorId {
        match self {
            Shown::Packet(packet) => packet.sector,
            Shown::Gone(sector) | Shown::Pace { sector, .. } => *sector,
        }
    }
}

/// Where a place's units come from.
#[derive(Debug)]
enum Source {
    /// Not known yet.
    Awaited,
    /// It runs.
    Running(Box<Stage>),
    /// It has no record.
    Seed,
}

#[derive(Debug)]
struct Place {
    source: Source,
    /// Of its ticks, those that it makes.
    percent: u8,
    /// 0 while nobody observes it.
    handle: u32,
    observers: BTreeMap<u64, Watcher>,
    /// Observers that want a keyframe with the next step.
    asked: BTreeSet<u64>,
    /// How many observers of each group.
    groups: BTreeMap<GroupId, u32>,
    /// How many observed places need it: itself, and those around it.
    needed: u32,
    /// What its units reveal of the places around it.
    throws: [Thrown; 8],
    /// What those reveal of it, unless that is `stale`.
    thrown: Thrown,
    stale: bool,
    /// Of one without a record: the node's tick at which it was last said.
    told: Tick,
}

/// All that is observed.
#[derive(Debug, Default)]
pub struct Fanout {
    places: BTreeMap<SectorId, Place>,
    /// Sectors that have no units of their own.
    aggregates: Aggregates,
    last_handle: u32,
    follow: Vec<(SectorId, bool)>,
    shown: Vec<(u64, Shown)>,
}

impl Fanout {
    /// How many places are observed, or needed by one that is.
    pub fn len(&self) -> usize {
        self.places.len() + self.aggregates.count()
    }

    /// The first `most` sectors of units that somebody observes, and how many do.
    pub fn observed(&self, most: usize) -> Vec<(SectorId, u32)> {
        let count = |(sector, place): (&SectorId, &Place)| {
            (*sector, u32::try_from(place.observers.len()).unwrap_or(u32::MAX))
        };
        self.places.iter().map(count).filter(|(_, count)| *count > 0).take(most).collect()
    }

    /// Whether nobody observes anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sectors that are to be followed from now on, or no more, in order.
    pub fn drain_follow(&mut self) -> Vec<(SectorId, bool)> {
        std::mem::take(&mut self.follow)
    }

    /// What observers are to be told, in order.
    pub fn drain_shown(&mut self) -> Vec<(u64, Shown)> {
        std::mem::take(&mut self.shown)
    }

    /// Whether the sector is followed: tables are to hand it out.
    pub fn follows(&self, sector: SectorId) -> bool {
        self.places.contains_key(&sector)
    }

    /// `observer` sees `sector` from now on: a keyframe, then what changes.
    /// Again for the same observer: a keyframe with the next step, behind a
    /// packet of its tick, so that the two can be compared.
    pub fn observe(&mut self, sector: SectorId, observer: u64, watcher: Watcher, rules: &Rules) {
        if is_aggregate(sector) {
            if !self.aggregates.has(sector) {
                self.last_handle = self.last_handle.wrapping_add(1).max(1);
            }
            return self.aggregates.observe(sector, observer, watcher.codec, self.last_handle);
        }
        if self.places.get(&sector).is_none_or(|place| place.observers.is_empty()) {
            self.need(sector);
        }
        self.refresh(sector);
        let Some(place) = self.places.get_mut(&sector) else { return };
        if place.handle == 0 {
            // 2^32 places observed are a matter of years.
            self.last_handle = self.last_handle.wrapping_add(1).max(1);
            place.handle = self.last_handle;
        }
        if place.ask(observer, watcher) {
            return;
        }
        if place.admit(observer, watcher)
            && let Source::Running(stage) = &mut place.source
        {
            stage.look(&place.thrown);
        }
        let (packet, percent) = (place.keyframe(sector, watcher, rules), place.percent);
        let shown = packet.into_iter().flat_map(|packet| begin(packet, percent));
        self.shown.extend(shown.map(|shown| (observer, shown)));
    }

    /// Ends what [`observe`](Self::observe) began.
    pub fn unobserve(&mut self, sector: SectorId, observer: u64) {
        self.aggregates.unobserve(sector, observer);
        let Some(place) = self.places.get_mut(&sector) else { return };
        if place.dismiss(observer) && place.observers.is_empty() {
            place.handle = 0;
            self.release(sector);
        }
    }

    /// Large sectors that are observed: what goes on in them is to be told at
    /// [`handle_aggregate`](Self::handle_aggregate) when one of them comes to
    /// be observed, and once a second.
    pub fn aggregates(&self) -> Vec<SectorId> {
        self.aggregates.sectors()
    }

    /// What is known of a large sector at the node's tick; `is_due` once a
    /// second.
    pub fn handle_aggregate(
        &mut self,
        sector: SectorId,
        known: &Aggregate,
        tick: Tick,
        is_due: bool,
    ) {
        self.aggregates.show(sector, known, tick, is_due, &mut self.shown);
    }

    /// The sector runs, and this is all of it. It makes all of its ticks until
    /// [`handle_pace`](Self::handle_pace) says something else.
    pub fn handle_scene(&mut self, sector: SectorId, scene: &Scene, rules: &Rules) {
        self.refresh(sector);
        let Some(place) = self.places.get_mut(&sector) else { return };
        let mut stage = Stage::new(sector, scene, rules);
        stage.look(&place.thrown);
        place.groups.keys().for_each(|group| stage.watch(*group));
        let throws = Direction::ALL.map(|to| stage.thrown(to));
        place.source = Source::Running(Box::new(stage));
        place.percent = WHOLE;
        self.note_throws(sector, throws);
        self.show_keyframes(sector, rules);
    }

    /// One step of a sector that runs. Of one whose scene is missing nothing
    /// can be shown.
    pub fn handle_step(&mut self, sector: SectorId, delta: &StepDelta) {
        let runs = |place: &Place| matches!(place.source, Source::Running(_));
        if !self.places.get(&sector).is_some_and(runs) {
            // What is revealed of it is still news for the one that it becomes.
            return;
        }
        self.refresh(sector);
        let Some(place) = self.places.get_mut(&sector) else { return };
        let Source::Running(stage) = &mut place.source else { return };
        let moved = stage.step(delta, &place.thrown);
        let tick = stage.tick();
        for (observer, Watcher { group, codec }) in &place.observers {
            let Some(bytes) = stage.packet(*group, *codec, place.handle) else { continue };
            let packet = Packet { sector, handle: place.handle, tick, keyframe: false, bytes };
            self.shown.push((*observer, Shown::Packet(packet)));
        }
        for observer in std::mem::take(&mut place.asked) {
            let Some(Watcher { group, codec }) = place.observers.get(&observer) else { continue };
            let bytes = stage.keyframe(*group, *codec, place.handle);
            let packet = Packet { sector, handle: place.handle, tick, keyframe: true, bytes };
            let shown = begin(packet, place.percent);
            self.shown.extend(shown.map(|shown| (observer, shown)));
        }
        if moved {
            let throws = Direction::ALL.map(|to| stage.thrown(to));
            self.note_throws(sector, throws);
        }
    }

    /// The sector makes so many per cent of its ticks from its last step on.
    /// While that is less than all it is said again and again, to everybody: a
    /// slow one has nothing else to say for seconds.
    pub fn handle_pace(&mut self, sector: SectorId, percent: u8) {
        let Some(place) = self.places.get_mut(&sector) else { return };
        let is_known = percent == WHOLE && place.percent == WHOLE;
        if !matches!(place.source, Source::Running(_)) || is_known {
            return;
        }
        place.percent = percent;
        let shown = Shown::Pace { sector, handle: place.handle, percent };
        let observers = place.observers.keys();
        self.shown.extend(observers.map(|observer| (*observer, shown.clone())));
    }

    /// The sector has no record: it is as the galaxy was made.
    pub fn handle_absent(&mut self, sector: SectorId, rules: &Rules) {
        self.refresh(sector);
        let Some(place) = self.places.get_mut(&sector) else { return };
        place.source = Source::Seed;
        self.note_throws(sector, Default::default());
        self.show_keyframes(sector, rules);
    }

    /// The sector ran and does no more.
    pub fn handle_gone(&mut self, sector: SectorId) {
        let Some(place) = self.places.get_mut(&sector) else { return };
        if !matches!(place.source, Source::Running(_)) {
            return;
        }
        (place.source, place.percent) = (Source::Awaited, WHOLE);
        let gone = place.observers.keys().map(|observer| (*observer, Shown::Gone(sector)));
        self.shown.extend(gone);
        self.note_throws(sector, Default::default());
    }

    /// The node's tick, for sectors that have none of their own: what is seen
    /// of them, when it changed or was last said a second of ticks ago. Not each
    /// tick need be said, and one may be said again: while time stands still
    /// nothing is.
    pub fn handle_tick(&mut self, tick: Tick, rules: &Rules) {
        let is_due = |place: &Place| {
            matches!(place.source, Source::Seed)
                && !place.observers.is_empty()
                && (place.stale || tick.since(place.told) >= BEAT_TICKS)
        };
        let due: Vec<SectorId> =
            self.places.iter().filter(|(_, place)| is_due(place)).map(|it| *it.0).collect();
        for sector in due {
            self.refresh(sector);
            self.show_keyframes(sector, rules);
            self.places.entry(sector).and_modify(|place| place.told = tick);
        }
    }

    fn show_keyframes(&mut self, sector: SectorId, rules: &Rules) {
        let Some(place) = self.places.get_mut(&sector) else { return };
        let observers: Vec<(u64, Watcher)> =
            place.observers.iter().map(|(observer, watcher)| (*observer, *watcher)).collect();
        for (observer, watcher) in observers {
            let (packet, percent) = (place.keyframe(sector, watcher, rules), place.percent);
            let shown = packet.into_iter().flat_map(|packet| begin(packet, percent));
            self.shown.extend(shown.map(|shown| (observer, shown)));
        }
    }

    /// `sector` has an observer: it is followed with those around it.
    fn need(&mut self, sector: SectorId) {
        for near in with_neighbours(sector) {
            let follow = &mut self.follow;
            let place = self.places.entry(near).or_insert_with(|| {
                follow.push((near, true));
                Place::new()
            });
            place.needed += 1;
        }
    }

    /// The inverse of [`need`](Self::need).
    fn release(&mut self, sector: SectorId) {
        for near in with_neighbours(sector) {
            let Some(place) = self.places.get_mut(&near) else { continue };
            place.needed -= 1;
            if place.needed == 0 {
                self.places.remove(&near);
                self.follow.push((near, false));
                // What its units reveal around it is not known any more.
                for (beside, _) in neighbours(near) {
                    if let Some(place) = self.places.get_mut(&beside) {
                        place.stale = true;
                    }
                }
            }
        }
    }

    /// Collects what is revealed of `sector` from around it, if that changed.
    fn refresh(&mut self, sector: SectorId) {
        if !self.places.get(&sector).is_some_and(|place| place.stale) {
            return;
        }
        let mut thrown = Thrown::default();
        for (near, direction) in neighbours(sector) {
            let Some(place) = self.places.get(&near) else { continue };
            thrown.merge(&place.throws[usize::from(direction.opposite().number())]);
        }
        if let Some(place) = self.places.get_mut(&sector) {
            (place.thrown, place.stale) = (thrown, false);
        }
    }

    fn note_throws(&mut self, sector: SectorId, throws: [Thrown; 8]) {
        let Some(place) = self.places.get_mut(&sector) else { return };
        let before = std::mem::replace(&mut place.throws, throws);
        let changed = before.iter().zip(&place.throws).map(|(was, is)| was != is);
        let changed: Vec<bool> = changed.collect();
        for (near, direction) in neighbours(sector) {
            if changed[usize::from(direction.number())]
                && let Some(place) = self.places.get_mut(&near)
            {
                place.stale = true;
            }
        }
    }
}

impl Place {
    fn new() -> Place {
        Place {
            source: Source::Awaited,
            percent: WHOLE,
            handle: 0,
            observers: BTreeMap::new(),
            asked: BTreeSet::new(),
            groups: BTreeMap::new(),
            needed: 0,
            throws: Default::default(),
            thrown: Thrown::default(),
            stale: true,
            told: Tick(0),
        }
    }

    /// Puts off the keyframe of one that observes already, if there are steps.
    fn ask(&mut self, observer: u64, watcher: Watcher) -> bool {
        let Source::Running(stage) = &mut self.source else { return false };
        if self.observers.get(&observer) != Some(&watcher) {
            return false;
        }
        stage.beat(watcher.group);
        self.asked.insert(observer);
        true
    }

    /// Whether the observer's group is new here.
    fn admit(&mut self, observer: u64, watcher: Watcher) -> bool {
        self.dismiss(observer);
        self.observers.insert(observer, watcher);
        let count = self.groups.entry(watcher.group).or_insert(0);
        *count += 1;
        *count == 1
    }

    /// Whether it was an observer.
    fn dismiss(&mut self, observer: u64) -> bool {
        let Some(Watcher { group, .. }) = self.observers.remove(&observer) else { return false };
        let count = self.groups.entry(group).or_insert(1);
        *count -= 1;
        if *count == 0 {
            self.groups.remove(&group);
            if let Source::Running(stage) = &mut self.source {
                stage.unwatch(group);
            }
        }
        true
    }

    /// All that `watcher` sees now; `None` while that is not known.
    fn keyframe(&mut self, sector: SectorId, watcher: Watcher, rules: &Rules) -> Option<Packet> {
        let Watcher { group, codec } = watcher;
        let handle = self.handle;
        let (tick, bytes) = match &mut self.source {
            Source::Awaited => return None,
            Source::Running(stage) => (stage.tick(), stage.keyframe(group, codec, handle)),
            Source::Seed => {
                let mut stage = Stage::new(sector, &Scene::default(), rules);
                stage.look(&self.thrown);
                (stage.tick(), stage.keyframe(group, codec, handle))
            }
        };
        Some(Packet { sector, handle, tick, keyframe: true, bytes })
    }
}

/// A keyframe, and how fast the place is if that is to be said.
fn begin(keyframe: Packet, percent: u8) -> impl Iterator<Item = Shown> {
    let Packet { sector, handle, .. } = keyframe;
    let pace = (percent != WHOLE).then_some(Shown::Pace { sector, handle, percent });
    std::iter::once(Shown::Packet(keyframe)).chain(pace)
}

/// The sectors around one, and where they lie. Sight crosses borders at scale
/// 0 only: units in warp are seen by their own.
fn neighbours(sector: SectorId) -> impl Iterator<Item = (SectorId, Direction)> {
    let directions = Direction::ALL.into_iter().filter(move |_| sector.scale == 0);
    directions.filter_map(move |direction| {
        let (dx, dy) = direction.offset();
        let near = sector.neighbour(dx.into(), dy.into())?;
        Some((near, direction))
    })
}

fn with_neighbours(sector: SectorId) -> impl Iterator<Item = SectorId> {
    std::iter::once(sector).chain(neighbours(sector).map(|(near, _)| near))
}

#[cfg(test)]
mod tests;
