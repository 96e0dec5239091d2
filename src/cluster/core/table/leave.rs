//! Owns how an entity of a table gets ready to go to another node: its door is
//! closed, and when all that it took is durable the core is told. Until it is
//! dropped it goes on, steps and is shown. Never decides that one leaves (the
//! core does). Invariant: behind the word that it is leaving nothing of it is
//! submitted any more.

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

    /// Says so once nothing of it waits for a commit.
    pub(super) fn note_leaving(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get(&key) else { return };
        if cell.is_leaving() && cell.is_claimed() && cell.pending() == 0 {
            let generation = cell.generation();
            self.to_core.push(FromTable::Leaving { entity: key, generation });
        }
    }
}
