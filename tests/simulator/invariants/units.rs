//! Invariant 13: each unit is in exactly one place (a sector's state, or a
//! message that its receiver has not applied), and those created less those
//! destroyed are those there.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::base::{EntityKey, UnitId};
use starmesh::entity::Entity;
use starmesh::entity::channel::ChannelId;
use starmesh::entity::commands::CommandResult;
use starmesh::entity::effect::{Effect, PlayerEffect};
use starmesh::entity::input::Input;
use starmesh::entity::kinds::Kind;
use starmesh::entity::message::{Body, Notice, Request};
use starmesh::entity::record::Record;
use starmesh::sim::Unit;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Units {
    /// With how many hops a unit was last seen in a sector, and in which.
    seen: BTreeMap<UnitId, (u32, EntityKey)>,
    /// Who was in each sector after its last record.
    here: BTreeMap<EntityKey, BTreeSet<UnitId>>,
    founded: BTreeSet<(ChannelId, u64)>,
    /// Units that all foundings make.
    expected: u64,
}

impl Invariant for Units {
    fn name(&self) -> &'static str {
        "13 each unit in one place, none lost or made up"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        if let Fact::Imported(entity) = fact {
            self.expected += (units(entity).len() + sent(entity).count()) as u64;
            return self.look(entity);
        }
        let Fact::Applied { before, after, record, effects } = fact else { return Ok(()) };
        let mut stepped = (*before).clone();
        stepped.run_to(record.header.tick, &scene.world, &mut Vec::new());
        effects.iter().try_for_each(|effect| is_where_it_says(effect, &stepped, record))?;
        self.found(record);
        self.look(after)?;
        if self.seen.len() as u64 > self.expected {
            return Err(format!("{} units, but {} were made", self.seen.len(), self.expected));
        }
        Ok(())
    }

    /// All sectors at one tick of the node's: every unit made is in one place.
    fn end(&mut self, scene: &Scene) -> Result<(), String> {
        let mut places: BTreeMap<UnitId, EntityKey> = BTreeMap::new();
        for (key, entity) in at_one_tick(scene) {
            let here = units(&entity).iter().map(|unit| unit.id);
            for id in here.chain(on_their_way(&entity, scene)) {
                if let Some(other) = places.insert(id, key) {
                    return Err(format!("unit {id} is in or of {other} and of {key}"));
                }
            }
        }
        if places.len() as u64 == self.expected {
            return Ok(());
        }
        Err(format!("{} units, but {} were made", places.len(), self.expected))
    }
}

impl Units {
    fn found(&mut self, record: &Record) {
        for input in &record.inputs {
            let Input::Message(message) = input else { continue };
            let Body::Request { request: Request::Found { units, .. }, .. } = &message.body else {
                continue;
            };
            if self.founded.insert((message.channel, message.number)) {
                self.expected += units.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
            }
        }
    }

    /// A record's tick is behind every step that was seen before it, so a unit
    /// that was seen elsewhere has left here, with one hop less.
    fn look(&mut self, entity: &Entity) -> Result<(), String> {
        let key = entity.key();
        for unit in units(entity) {
            match self.seen.get(&unit.id) {
                Some((hops, place))
                    if (*hops, *place) != (unit.hops, key) && *hops >= unit.hops =>
                {
                    let (id, now) = (unit.id, unit.hops);
                    return Err(format!(
                        "unit {id} is in {place} (hop {hops}) and in {key} ({now})"
                    ));
                }
                _ => self.seen.insert(unit.id, (unit.hops, key)),
            };
        }
        let now: BTreeSet<UnitId> = units(entity).iter().map(|unit| unit.id).collect();
        let before = self.here.insert(key, now.clone()).unwrap_or_default();
        let sent: BTreeSet<UnitId> = sent(entity).map(|(unit, ..)| unit.id).collect();
        for gone in before.difference(&now).filter(|id| !sent.contains(id)) {
            // Acknowledged already: then it was seen elsewhere since.
            if self.seen.get(gone).is_none_or(|(_, place)| *place == key) {
                return Err(format!("unit {gone} was in {key} and is nowhere"));
            }
        }
        Ok(())
    }
}

/// A unit of which `record` says that it has moved was on its way to that place
/// and to no other before.
fn is_where_it_says(effect: &Effect, before: &Entity, record: &Record) -> Result<(), String> {
    let Effect::Player(PlayerEffect::Answered(answer)) = effect else { return Ok(()) };
    let CommandResult::Moved { unit, place } = answer.result else { return Ok(()) };
    let is_sent = |(sent, message): (Unit, Option<(ChannelId, u64)>)| {
        sent.id == unit && message.is_none_or(|(channel, _)| channel.receiver == place)
    };
    // One that was applied earlier is answered as it was.
    if answer.record < record.header.sequence || sent(before).any(is_sent) {
        return Ok(());
    }
    Err(format!("{answer:?}, but it is not on its way there"))
}

fn units(entity: &Entity) -> &[Unit] {
    match entity.kind() {
        Kind::Sector(sector) => sector.state().units(),
        Kind::Board(_) | Kind::Ledger(_) => &[],
    }
}

/// Units in messages that are not acknowledged, with channel and number where
/// the message found room in one.
fn sent(entity: &Entity) -> impl Iterator<Item = (Unit, Option<(ChannelId, u64)>)> {
    let head = entity.head();
    let waiting = head.outbox.waiting(entity.key());
    let mut sent: Vec<_> =
        waiting.map(|message| (message.body, Some((message.channel, message.number)))).collect();
    sent.extend(head.backlog.values().flatten().map(|body| (body.clone(), None)));
    sent.into_iter().flat_map(|(body, message)| {
        let travellers = match body {
            Body::Notice(Notice::Units { travellers }) => travellers,
            _ => Vec::new(),
        };
        travellers.into_iter().map(move |traveller| (traveller.unit, message))
    })
}

/// Those that their receivers have not applied.
fn on_their_way(entity: &Entity, scene: &Scene) -> Vec<UnitId> {
    let applied = |(channel, number): (ChannelId, u64)| {
        let inbox = scene.shadow(channel.receiver).map(|receiver| &receiver.head().inbox);
        inbox.and_then(|inbox| inbox.applied(channel.sender)).is_some_and(|(opened, last)| {
            opened > channel.opened || (opened == channel.opened && last >= number)
        })
    };
    let waits = sent(entity).filter(|(_, message)| !message.is_some_and(applied));
    waits.map(|(unit, _)| unit.id).collect()
}

/// Every entity as it is at the node's durable tick.
fn at_one_tick(scene: &Scene) -> impl Iterator<Item = (EntityKey, Entity)> {
    scene.shadows.keys().filter_map(|key| Some((*key, scene.now(*key)?)))
}
