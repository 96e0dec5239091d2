//! Invariant 5: a recovered entity is at a tick not before any that was seen
//! outside, and not after the last durable one of the incarnation that had it:
//! it is exactly at that one.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, Incarnation, Tick};
use starmesh::cluster::core::table::Release;
use starmesh::entity::Entity;
use starmesh::entity::effect::PlayerEffect;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct RecoveredTick {
    seen: BTreeMap<EntityKey, Tick>,
    /// The last durable tick of each incarnation.
    last: BTreeMap<Incarnation, Tick>,
}

impl Invariant for RecoveredTick {
    fn name(&self) -> &'static str {
        "5 a recovered tick is the last durable one"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Durable { .. } => {
                if let Some(row) = &scene.row {
                    self.last.insert(row.incarnation, row.tick);
                }
                Ok(())
            }
            Fact::Released(Release::Scene { entity, scene }) => {
                self.note(*entity, scene.tick);
                Ok(())
            }
            Fact::Released(Release::Step { entity, delta }) => {
                self.note(*entity, delta.tick);
                Ok(())
            }
            Fact::Released(Release::Player(PlayerEffect::Answered(answer))) => {
                self.note(answer.entity, answer.tick);
                Ok(())
            }
            // Without a record it has no tick before its claim says one.
            Fact::Loaded(loaded) if loaded.entity.head().sequence == 0 => Ok(()),
            Fact::Loaded(loaded) => self.judge(&loaded.entity),
            Fact::Applied { after, record, .. } => self.is_later(after.key(), record.header.tick),
            _ => Ok(()),
        }
    }
}

impl RecoveredTick {
    fn note(&mut self, entity: EntityKey, tick: Tick) {
        let seen = self.seen.entry(entity).or_default();
        *seen = tick.max(*seen);
    }

    fn is_later(&self, key: EntityKey, at: Tick) -> Result<(), String> {
        let seen = self.seen.get(&key).copied().unwrap_or_default();
        if at >= seen {
            return Ok(());
        }
        Err(format!("{key} goes on at {at:?}, but {seen:?} was seen outside"))
    }

    fn judge(&self, entity: &Entity) -> Result<(), String> {
        let (key, at) = (entity.key(), entity.tick());
        self.is_later(key, at)?;
        let Some(claim) = entity.head().claim else { return Ok(()) };
        let last = self.last.get(&claim.claim.incarnation).copied().unwrap_or_default();
        let expected = claim.tick_at(last);
        if at == expected {
            return Ok(());
        }
        Err(format!("{key} comes back at {at:?}, its owner's last durable tick is {expected:?}"))
    }
}
