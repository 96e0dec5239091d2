//! Owns how an entity of a table gets ready to go to another node: its door is
//! closed, and when all that it took is durable the core is told, with the hash of
//! its state. Until it is dropped it goes on, steps and is shown. Never decides
//! that one leaves (the core does). Invariants: behind the word that it is leaving
//! nothing of it is submitted any more; the hash is of a tick at which it has no
//! record, for there alone a replay can compare.

use super::Table;
use crate::base::EntityKey;
use crate::cluster::core::message::FromTable;

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
        cell.entity.run_to(tick, &self.world, &mut Vec::new());
        let hash = cell.entity.state_hash(&self.world);
        self.to_core.push(FromTable::Leaving { entity: key, generation, tick, hash });
    }

    /// The tick moved, for which some that leave waited.
    pub(super) fn note_all_leaving(&mut self) {
        let leaving: Vec<EntityKey> = self.leaving.iter().copied().collect();
        leaving.into_iter().for_each(|key| self.note_leaving(key));
    }
}
