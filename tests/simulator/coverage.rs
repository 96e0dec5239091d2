//! Owns which of the rare things happened in a run: bounds met, faults. Never
//! judges them. At the end of many seeds each must have happened, so that none
//! silently stops being tested.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, GalaxyPosition, PlayerId, SectorId};
use starmesh::cluster::core::table::Release;
use starmesh::entity::Entity;
use starmesh::entity::channel::WAITING_MAX;
use starmesh::entity::commands::CommandResult;
use starmesh::entity::commit::{Commit, Group};
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::envelope;
use starmesh::entity::input::Input;
use starmesh::entity::keys;
use starmesh::entity::kinds::Kind;
use starmesh::entity::message::{Body, Notice};
use starmesh::entity::pace::Rate;
use starmesh::entity::record::{Record, SnapshotHead, decode_record, encode_input};
use starmesh::sim::{Refusal, Traveller, Unit};

use crate::scene::{Fact, Scene};

/// Everything that must happen in some seed or other.
const RARE: [&str; 59] = [
    "snapshot of several chunks",
    "snapshot over several commits",
    "snapshot deflated",
    "snapshot not deflated",
    "snapshot loaded",
    "full channel",
    "backlog behind a channel",
    "inputs for more than one record",
    "entities for more than one commit",
    "second reservation of ids",
    "command busy",
    "connection busy",
    "proposal dropped while loading",
    "command not here",
    "command of another attachment",
    "command behind a refused one",
    "refused with later ones under way",
    "session ended",
    "power on a board changed",
    "stepped down",
    "hibernated",
    "woken by a message",
    "woken by a command",
    "woken by an observer",
    "woken by a timer",
    "killed while falling asleep",
    "time waited for a table",
    "dilated",
    "told of a dilation",
    "hashed while dilated",
    "loaded while dilated",
    "observed without a record",
    "deleted",
    "woken by a unit",
    "hibernated with units",
    "command for a unit on its way",
    "command for a unit that is not there",
    "unit over a border",
    "unit into warp",
    "unit between warp sectors",
    "unit out of warp",
    "unit passed on",
    "unit held at a full channel",
    "another's unit seen",
    "another's unit seen over a border",
    "cell that nobody reveals any more stays",
    "unit shown on both sides of a border",
    "keyframe after a gap",
    "cells missing after a gap",
    "several units in one message",
    "claimed again after a crash",
    "ready after a restart without faults",
    "claimed for a message in the calm",
    "moved",
    "moved with inputs that waited",
    "moved with outputs behind the barrier",
    "moved while it was watched",
    "moved while a record of it became durable",
    "went home when it ran no more",
];

/// How often each thing happened.
#[derive(Default)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
    reservations: u64,
    /// Entities whose last record was full, and the number of its commit.
    full: BTreeMap<EntityKey, u64>,
    powers: BTreeMap<PlayerId, u64>,
}

impl Coverage {
    /// It happened.
    pub fn note(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    /// What happened in both.
    pub fn merge(&mut self, other: &Coverage) {
        other.counts.iter().for_each(|(what, times)| self.note(what, *times));
    }

    /// A line for each thing.
    pub fn table(&self) -> String {
        let line = |(what, times): (&&str, &u64)| format!("{times:>9} x {what}\n");
        self.counts.iter().map(line).collect()
    }

    /// What never happened.
    pub fn missing(&self, faults: &[&'static str]) -> Vec<&'static str> {
        let all = RARE.iter().chain(faults).copied();
        all.filter(|what| self.counts.get(what).is_none_or(|times| *times == 0)).collect()
    }

    pub fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) {
        match fact {
            Fact::Durable { commit, refused } => self.durable(commit, refused, scene),
            Fact::Deleted(_) => self.note("deleted", 1),
            Fact::Applied { before, after, record, .. } => {
                self.board(after);
                self.travel(after, record);
                let is_again = before.head().claim.is_some() && is_claim(record);
                self.note("claimed again after a crash", is_again.into());
                self.hibernation(before, record);
                self.dilation(before, after, record);
                self.note("full channel", (after.head().outbox.fullest() >= WAITING_MAX).into());
                self.note("backlog behind a channel", (!after.head().backlog.is_empty()).into());
            }
            Fact::Loaded(loaded) => {
                self.note("snapshot loaded", (loaded.snapshot_bytes > 0).into());
                let is_dilated = loaded.entity.rate() < Rate::FULL;
                self.note("loaded while dilated", is_dilated.into());
            }
            Fact::Busy(what) => self.note(what, 1),
            Fact::Released(Release::Player(PlayerEffect::Answered(answer))) => {
                match answer.result {
                    CommandResult::NotHere => self.note("command not here", 1),
                    CommandResult::Moved { .. } => self.note("command for a unit on its way", 1),
                    CommandResult::Refused(refused) if refused.rule == Refusal::UnknownUnit => {
                        self.note("command for a unit that is not there", 1);
                    }
                    CommandResult::SessionEnded => self.note("session ended", 1),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// A player that was on the board has another power.
    fn board(&mut self, after: &Entity) {
        let Kind::Board(board) = after.kind() else { return };
        for place in board.top(usize::MAX) {
            let before = self.powers.insert(place.player, place.power);
            let changed = before.is_some_and(|before| before != place.power);
            self.note("power on a board changed", changed.into());
        }
    }

    /// Units that came with a record, and those that cannot go.
    fn travel(&mut self, after: &Entity, record: &Record) {
        let Kind::Sector(sector) = after.kind() else { return };
        let here = sector.state().sector();
        for (from, travellers) in record.inputs.iter().filter_map(units_from) {
            self.note("several units in one message", (travellers.len() > 1).into());
            self.note("woken by a unit", is_claim(record).into());
            let is_outside = |traveller: &&Traveller| {
                GalaxyPosition::of(here, traveller.unit.position).sector(here.scale) != here
            };
            self.note("unit passed on", travellers.iter().filter(is_outside).count() as u64);
            let what = match (from.scale, here.scale) {
                (0, 0) => "unit over a border",
                (0, _) => "unit into warp",
                (_, 0) => "unit out of warp",
                _ => "unit between warp sectors",
            };
            self.note(what, 1);
        }
        let is_held = |unit: &&Unit| {
            let next = GalaxyPosition::of(here, unit.position).sector(here.scale);
            let aims = unit.order.target().is_some_and(|to| to.sector(here.scale) != here);
            let stands = aims && !unit.course.is_moving();
            let beside = [(1, 0), (-1, 0), (0, 1), (0, -1)].map(|(x, y)| here.neighbour(x, y));
            let is_full = |to| !after.head().outbox.has_room(EntityKey::Sector(to));
            stands && (is_full(next) || beside.into_iter().flatten().any(is_full))
        };
        let held = sector.state().units().iter().filter(is_held).count();
        self.note("unit held at a full channel", held as u64);
    }

    fn hibernation(&mut self, before: &Entity, record: &Record) {
        let sleeps = record.inputs.contains(&Input::Close);
        self.note("hibernated", sleeps.into());
        let has_units = |entity: &Entity| match entity.kind() {
            Kind::Sector(sector) => !sector.state().units().is_empty(),
            _ => false,
        };
        self.note("hibernated with units", (sleeps && has_units(before)).into());
        if is_claim(record) && before.head().slept.is_some() {
            let is_message = |input: &Input| matches!(input, Input::Message(_));
            self.note("woken by a message", record.inputs.iter().any(is_message).into());
            let is_due = before.next_due().is_some_and(|due| due <= record.header.time);
            self.note("woken by a timer", is_due.into());
        }
    }

    fn dilation(&mut self, before: &Entity, after: &Entity, record: &Record) {
        let is_slower = after.rate() < before.rate();
        self.note("dilated", is_slower.into());
        let is_hash = |input: &Input| matches!(input, Input::Hash { .. });
        let hashed = before.rate() < Rate::FULL && record.inputs.iter().any(is_hash);
        self.note("hashed while dilated", hashed.into());
    }

    fn durable(&mut self, commit: &Commit, refused: &[u32], scene: &Scene) {
        let groups = (0_u32..).zip(&commit.groups).filter(|(index, _)| !refused.contains(index));
        let mut records = 0;
        for (_, group) in groups {
            self.snapshot(group);
            if group.puts.iter().any(|put| put.key == keys::NEXT_ID) {
                self.reservations += 1;
                self.note("second reservation of ids", (self.reservations > 1).into());
            }
            records += usize::from(group.append.is_some());
            self.record(commit.number, group, scene);
        }
        let is_full = records == scene.limits.records_per_commit;
        self.note("entities for more than one commit", is_full.into());
    }

    fn snapshot(&mut self, group: &Group) {
        let Some(last) = group.puts.last() else { return };
        for put in &group.puts {
            if keys::parse_chunk(&put.key).is_some_and(|(_, _, index)| index == 0) {
                let form = put.value.as_deref().and_then(envelope::form);
                self.note("snapshot deflated", (form == Some(envelope::DEFLATED)).into());
                self.note("snapshot not deflated", (form == Some(envelope::PLAIN)).into());
            }
        }
        if keys::parse_chunk(&last.key).is_some() {
            self.note("snapshot over several commits", 1);
        }
        if let (Some(_), Some(value)) = (keys::parse_head(&last.key), &last.value) {
            let head = SnapshotHead::decode(value);
            let several = head.is_ok_and(|(_, head)| head.chunks > 1);
            self.note("snapshot of several chunks", several.into());
        }
    }

    /// A record that is full, and another of the entity in the next commit.
    fn record(&mut self, number: u64, group: &Group, scene: &Scene) {
        let Some(append) = &group.append else { return };
        if self.full.remove(&append.entity) == Some(number) {
            self.note("inputs for more than one record", 1);
        }
        let mut inputs = Vec::new();
        if let Ok((_, record)) = decode_record(&append.bytes) {
            record.inputs.iter().for_each(|input| encode_input(input, &mut inputs));
        }
        if inputs.len() >= scene.limits.record_bytes {
            self.full.insert(append.entity, number + 1);
        }
    }
}

fn is_claim(record: &Record) -> bool {
    matches!(record.inputs.first(), Some(Input::Claim(_)))
}

/// The sector that units come from with an input, and they.
fn units_from(input: &Input) -> Option<(SectorId, &[Traveller])> {
    let Input::Message(message) = input else { return None };
    let (EntityKey::Sector(from), Body::Notice(Notice::Units { travellers })) =
        (message.channel.sender, &message.body)
    else {
        return None;
    };
    Some((from, travellers))
}
