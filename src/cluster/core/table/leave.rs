//! Owns how an entity of a table gets ready to go to another node. It goes on as
//! always until its tick moves next. Then the hash of its state is made and its door
//! is closed, and the core is told as soon as all that it took is durable: so
//! nobody finds the door closed while only a tick is waited for. Until it is dropped
//! it steps on and is shown. Never decides that one leaves (the core does). Where the
//! other node is of another version of the simulation, the state behind the last
//! record is made here, too.
//!
//! Invariants: behind the word that it is leaving nothing of it is submitted any
//! more; the hash is of its state behind the step to a tick and before the records of
//! that tick, for there a replay compares.

use super::Table;
use crate::base::{EntityKey, NodeId};
use crate::cluster::core::message::{Committed, FromTable};
use crate::entity::input::Input;
use crate::entity::record::Record;

impl Table {
    /// Has an entity leave with its next tick. One that is about to hibernate, or
    /// does not run here, does not answer.
    pub(super) fn leave_node(&mut self, key: EntityKey) {
        self.mark_leaving(key);
        self.close_door(key);
    }

    /// The same, but its door stays open until [`close_door`](Self::close_door).
    pub(super) fn mark_leaving(&mut self, key: EntityKey) {
        let cell = self.cells.get_mut(&key).filter(|cell| !cell.is_closed());
        if let Some(cell) = cell {
            cell.leave_soon();
            self.leaving.insert(key);
        }
    }

    /// Closes the door of one that leaves, if it has no record of its tick yet.
    pub(super) fn close_door(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get_mut(&key) else { return };
        let tick = cell.tick_at(self.tick);
        if !cell.leaves_soon() || !cell.is_claimed() || cell.recorded >= tick {
            return;
        }
        self.leaving.remove(&key);
        // Who is not idle was stepped to it already.
        let hashed = self.guard(key, |cell, world| {
            cell.entity.run_to(tick, world, &mut Vec::new());
            cell.leave(tick, cell.entity.state_hash(world));
        });
        if hashed.is_some() {
            self.note_leaving(key);
        }
    }

    /// Says so of one whose door is closed once nothing of it waits for a commit.
    pub(super) fn note_leaving(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get(&key).filter(|cell| cell.pending() == 0) else { return };
        if let Some((tick, hash)) = cell.left() {
            let generation = cell.generation();
            self.to_core.push(FromTable::Leaving { entity: key, generation, tick, hash });
        }
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
    pub(super) fn close_doors(&mut self) {
        let leaving: Vec<EntityKey> = self.leaving.iter().copied().collect();
        leaving.into_iter().for_each(|key| self.close_door(key));
    }
}
