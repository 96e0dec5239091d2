//! Invariant 29: within a place ticks come in order, and an acknowledgement's
//! tick is before the first update that shows its effect.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::base::geometry::SECTOR_STEPS;
use starmesh::base::{EntityKey, PlayerId, SessionId, Tick, UnitId};
use starmesh::entity::commands::{CommandAnswer, CommandResult};
use starmesh::view::{CellsView, convert};

use crate::scene::{Fact, Invariant, Scene, Seen};

#[derive(Default)]
pub struct Order {
    /// The last tick.
    last: BTreeMap<(u64, EntityKey), Tick>,
    /// First tick at which an update told that a unit will stand there. Drawn
    /// targets never meet; the ways out of a sector are few and do.
    told: BTreeMap<(EntityKey, UnitId, (i32, i32)), Tick>,
    /// Commands that wait behind others.
    queued: BTreeSet<(PlayerId, SessionId, u32)>,
}

impl Invariant for Order {
    fn name(&self) -> &'static str {
        "29 ticks in order, acknowledgements before effects"
    }

    fn observe(&mut self, fact: &Fact<'_>, _: &Scene) -> Result<(), String> {
        match fact {
            Fact::Seen { observer, view, .. } => self.seen(observer, view),
            Fact::Commanded { command, .. } if command.command.queue => {
                self.queued.insert((command.player, command.session, command.sequence));
                Ok(())
            }
            Fact::Heard(answer)
                if self.queued.contains(&(answer.player, answer.session, answer.sequence)) =>
            {
                // It is answered with the course that the unit has already.
                Ok(())
            }
            Fact::Heard(answer) => self.heard(answer),
            _ => Ok(()),
        }
    }
}

impl Order {
    fn seen(&mut self, seen: &Seen, view: &CellsView) -> Result<(), String> {
        for unit in seen.told.iter().filter_map(|id| view.unit(*id)).map(convert::unit) {
            if unit.course.is_moving() {
                let stands = unit.course.arrival(unit.position);
                let place = (seen.entity, unit.id, (stands.x, stands.y));
                self.told.entry(place).or_insert(seen.tick);
            }
        }
        let way = (seen.connection, seen.entity);
        let last = self.last.insert(way, seen.tick);
        if seen.is_seed() {
            // Deleted, if it was there before; it comes again at a later tick.
            return Ok(());
        }
        // A keyframe that was asked for comes behind what changed at its tick.
        let is_later =
            last.is_none_or(|tick| seen.tick > tick || (seen.tick == tick && seen.keyframe));
        if is_later {
            return Ok(());
        }
        Err(format!("{} at {:?} after {last:?}", seen.entity, seen.tick))
    }

    fn heard(&mut self, answer: &CommandAnswer) -> Result<(), String> {
        let CommandResult::Done(accepted) = &answer.result else { return Ok(()) };
        let inside = |v: i32| (0..SECTOR_STEPS).contains(&v);
        if !inside(accepted.arrival.x) || !inside(accepted.arrival.y) {
            return Ok(());
        }
        let place = (answer.entity, accepted.unit, (accepted.arrival.x, accepted.arrival.y));
        match self.told.get(&place) {
            Some(tick) if accepted.steps > 0 && *tick <= answer.tick => {
                Err(format!("{answer:?}, but its effect was shown at {tick:?}"))
            }
            _ => Ok(()),
        }
    }
}
