//! Owns how an entity of a table gets ready to go to another node: its door is
//! closed, and when all that it took is durable the core is told, with the hash of
//! its state. Until it is dropped it goes on, steps and is shown. Never decides
//! that one leaves (the core does). Where the other node is of another version of
//! the simulation, the state behind the last record is made here, too. Invariants:
//! behind the word that it is leaving nothing of it is submitted any more; the hash
//! is of a tick at which it has no record, for there alone a replay can compare.

use super::Table;
use crate::base::{EntityKey, NodeId};
use crate::cluster::core::message::{Committed, FromTable};
use crate::entity::input::Input;
use crate::entity::record::Record;

impl Table {
    /// Has an entity take nothing more. One that is about to hibernate, or does
    /// not run here, does not answer.
    pub(super) fn leave_node(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get_mut(&key).filter(|cell| !cell.is_closed()) else { return };
        cell.leave();
        self.note_leaving(key);
    }

    /// Says so once nothing of it waits for a commit and its tick is behind its
    /// last record's.
    pub(super) fn note_leaving(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get_mut(&key) else { return };
        if !cell.is_leaving() || !cell.is_claimed() || cell.pending() > 0 {
            return;
        }
        let (generation, tick) = (cell.generation(), cell.tick_at(self.tick));
        if cell.recorded >= tick {
            self.leaving.insert(key);
            return;
        }
        self.leaving.remove(&key);
        // Who is not idle was stepped to it already.
        let hashed = self.guard(key, |cell, world| {
            cell.entity.run_to(tick, world, &mut Vec::new());
            cell.entity.state_hash(world)
        });
        let Some(hash) = hashed else { return };
        self.to_core.push(FromTable::Leaving { entity: key, generation, tick, hash });
    }

    /// The entity's last record is durable: what is then its state is for a node that
    /// cannot make it by itself.
    pub(super) fn retire(&mut self, last: &Committed, to: NodeId) {
        let (entity, sequence) = (last.entity, last.header.sequence);
        // The hash that is in it too changes nothing.
        let record = Record { header: last.header, inputs: vec![Input::HandOver { to }] };
        let is_it = self.cells.get(&entity).is_some_and(|it| it.generation() == last.generation);
        let bytes = is_it.then(|| {
            self.guard(entity, |cell, world| {
                let fits = cell.entity.apply(&record, world, &mut Vec::new()).is_ok();
                fits.then(|| cell.entity.snapshot(world))
            })
        });
        let bytes = bytes.flatten().flatten();
        self.counts.misfits += u64::from(bytes.is_none());
        self.to_core.push(FromTable::Retired { entity, sequence, bytes });
    }

    /// The tick moved, for which some that leave waited.
    pub(super) fn note_all_leaving(&mut self) {
        let leaving: Vec<EntityKey> = self.leaving.iter().copied().collect();
        leaving.into_iter().for_each(|key| self.note_leaving(key));
    }
}
