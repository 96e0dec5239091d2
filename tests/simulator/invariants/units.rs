//! Invariant 13: each unit is in exactly one place, and those created less
//! those destroyed are those there.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::base::{EntityKey, UnitId};
use starmesh::entity::Entity;
use starmesh::entity::channel::ChannelId;
use starmesh::entity::input::Input;
use starmesh::entity::kinds::Kind;
use starmesh::entity::message::{Body, Request};
use starmesh::entity::record::Record;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Units {
    places: BTreeMap<UnitId, EntityKey>,
    founded: BTreeSet<(ChannelId, u64)>,
    /// Units that all foundings make.
    expected: u64,
}

impl Invariant for Units {
    fn name(&self) -> &'static str {
        "13 each unit in one place, none lost or made up"
    }

    fn observe(&mut self, fact: &Fact<'_>, _: &Scene) -> Result<(), String> {
        let Fact::Applied { after, record, .. } = fact else { return Ok(()) };
        self.found(record);
        self.look(after)?;
        if self.places.len() as u64 > self.expected {
            return Err(format!("{} units, but {} were made", self.places.len(), self.expected));
        }
        Ok(())
    }

    fn end(&mut self, _: &Scene) -> Result<(), String> {
        if self.places.len() as u64 == self.expected {
            return Ok(());
        }
        Err(format!("{} units, but {} were made", self.places.len(), self.expected))
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

    fn look(&mut self, entity: &Entity) -> Result<(), String> {
        let Kind::Sector(sector) = entity.kind() else { return Ok(()) };
        let key = entity.key();
        let units = sector.state().units();
        for unit in units {
            match self.places.insert(unit.id, key) {
                Some(place) if place != key => {
                    return Err(format!("unit {} is in {place} and in {key}", unit.id));
                }
                _ => {}
            }
        }
        let here = self.places.values().filter(|place| **place == key).count();
        if here == units.len() {
            return Ok(());
        }
        Err(format!("{key} had {here} units and has {}", units.len()))
    }
}
