//! Owns the server's side of what observers see of one sector: its units in
//! cells, what each group sees, and the packets of the last step. Never steps a
//! sector and never knows sessions. Called on an encoding thread, with what the
//! stepping thread hands out. Invariant: a client that took a keyframe and all
//! packets since has the units of its mask, bit for bit, and was never told
//! those of any other cell.
//!
//! Each cell is encoded once per step and form, each packet put together once
//! per group and form, however many sessions watch.

mod encode;
mod eyes;
mod lists;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use encode::{Encoder, Form};
use eyes::Eyes;
use lists::Lists;
use watch::Watch;

use serde::{Deserialize, Serialize};

use super::fog::Mask;
use super::motion::Mover;
use crate::base::{PlayerId, SectorId, Tick, UnitId};
use crate::protocol::CodecKind;
use crate::protocol::blocks::{Direction, Seen};
use crate::sim::Rules;

pub use watch::{BEAT_TICKS, STAY_TICKS};

/// Who shares what they see: today the units of one player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId(pub u64);

impl GroupId {
    /// The group of an owner's units.
    pub fn of(owner: PlayerId) -> GroupId {
        GroupId(owner.0)
    }
}

/// A sector as a whole, after the step to a tick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scene {
    pub tick: Tick,
    pub units: Vec<Mover>,
}

/// What happened in one step of a sector beyond what courses tell. Units are as
/// they were after all changes, right before they moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDelta {
    /// After the step.
    pub tick: Tick,
    /// New in the sector.
    pub appeared: Vec<Mover>,
    /// Each once.
    pub changed: Vec<Mover>,
    /// Destroyed, or gone to another sector.
    pub left: Vec<UnitId>,
}

/// What units in other sectors reveal of one sector, by group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thrown(BTreeMap<GroupId, Mask>);

impl Thrown {
    /// The cells that `group` sees from elsewhere.
    pub fn of(&self, group: GroupId) -> Mask {
        self.0.get(&group).copied().unwrap_or(Mask::NONE)
    }

    /// `group` sees these cells, too.
    pub fn add(&mut self, group: GroupId, mask: Mask) {
        if mask != Mask::NONE {
            let all = self.0.entry(group).or_default();
            *all = all.with(mask);
        }
    }

    /// Adds what another neighbour throws.
    pub fn merge(&mut self, other: &Thrown) {
        other.0.iter().for_each(|(group, mask)| self.add(*group, *mask));
    }
}

/// One observed sector.
#[derive(Debug)]
pub struct Stage {
    tick: u64,
    lists: Lists,
    eyes: Eyes,
    thrown: Thrown,
    watches: BTreeMap<GroupId, Watch>,
    encoders: [Encoder; Form::COUNT],
    /// Of the last step, by group, form and handle.
    packets: BTreeMap<(GroupId, Form, u32), Arc<[u8]>>,
}

impl Stage {
    /// A sector that is observed from now on.
    pub fn new(sector: SectorId, scene: &Scene, rules: &Rules) -> Stage {
        let (mut eyes, tick) = (Eyes::new(rules), scene.tick.0);
        let mut lists = Lists::new(tick, sector.scale > 0);
        lists.fill(scene.units.iter().map(|mover| mover.seen), &mut eyes);
        eyes.settle();
        Stage {
            tick,
            lists,
            eyes,
            thrown: Thrown::default(),
            watches: BTreeMap::new(),
            encoders: Encoder::all(),
            packets: BTreeMap::new(),
        }
    }

    /// The tick of the last step.
    pub fn tick(&self) -> Tick {
        Tick(self.tick)
    }

    /// One step, with the masks that all neighbours together throw on this
    /// sector. Afterwards `packet` can be asked for each group that watches.
    /// Whether units came into cells or went from them: only then the masks
    /// that this sector throws on others may be new.
    pub fn step(&mut self, delta: &StepDelta, thrown: &Thrown) -> bool {
        let before = std::mem::replace(&mut self.tick, delta.tick.0);
        self.packets.clear();
        self.encoders.iter_mut().for_each(Encoder::clear);
        self.lists.step(delta, before, &mut self.eyes);
        let moved = self.eyes.settle();
        if self.thrown != *thrown {
            self.thrown.clone_from(thrown);
        }
        let news = (0..64)
            .fold(0, |news, cell| news | u64::from(self.lists.cell(cell).log.is_news()) << cell);
        for (group, watch) in &mut self.watches {
            let sees = self.eyes.own(*group).with(self.thrown.of(*group));
            let cloaked = self.lists.has_cloaked_news(*group);
            watch.step(self.tick, sees, cloaked, |held| held.0 & news != 0);
        }
        moved
    }

    /// The masks thrown on this sector, for groups that begin to watch before
    /// the next step.
    pub fn look(&mut self, thrown: &Thrown) {
        self.thrown.clone_from(thrown);
    }

    /// The masks that this sector's units throw on the neighbour there.
    pub fn thrown(&self, to: Direction) -> Thrown {
        self.eyes.thrown(to)
    }

    /// Begins to make packets for a group, from the next step on; one that is
    /// watching already goes on.
    pub fn watch(&mut self, group: GroupId) {
        let sees = self.eyes.own(group).with(self.thrown.of(group));
        self.watches.entry(group).or_insert_with(|| Watch::new(sees, self.tick));
    }

    /// The next step has a packet for the group, whatever happens.
    pub fn beat(&mut self, group: GroupId) {
        if let Some(watch) = self.watches.get_mut(&group) {
            watch.beat();
        }
    }

    /// The last session of the group has left.
    pub fn unwatch(&mut self, group: GroupId) {
        self.watches.remove(&group);
        self.packets.retain(|(of, _, _), _| *of != group);
    }

    /// The cells that a group which watches is shown.
    pub fn mask(&self, group: GroupId) -> Mask {
        self.watches.get(&group).map_or(Mask::NONE, |watch| watch.mask)
    }

    /// All units, cell by cell, then those that only their group sees.
    pub fn units(&self) -> impl Iterator<Item = &Seen> {
        self.lists.all()
    }

    /// The message of the last step for all sessions of a group that have seen
    /// the one before, complete with its header; `None` when there is nothing
    /// to tell, which is never so for longer than [`BEAT_TICKS`].
    pub fn packet(&mut self, group: GroupId, codec: CodecKind, handle: u32) -> Option<Arc<[u8]>> {
        let form = Form::of(codec);
        let watch = self.watches.get(&group).filter(|watch| watch.news)?;
        let key = (group, form, handle);
        if let Some(packet) = self.packets.get(&key) {
            return Some(Arc::clone(packet));
        }
        let encoder = &mut self.encoders[form as usize];
        let packet = encoder.packet(&self.lists, group, watch, self.tick, handle);
        self.packets.insert(key, Arc::clone(&packet));
        Some(packet)
    }

    /// The message with which a session begins, or begins anew, to watch: mask
    /// and units of all cells of its group. Behind the step's packet, if it
    /// gets both.
    pub fn keyframe(&mut self, group: GroupId, codec: CodecKind, handle: u32) -> Arc<[u8]> {
        self.watch(group);
        let encoder = &mut self.encoders[Form::of(codec) as usize];
        encoder.keyframe(&self.lists, group, &self.watches[&group], self.tick, handle)
    }
}
