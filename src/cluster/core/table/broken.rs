//! Owns what a table does when an entity panics: it is thrown away, and the core told,
//! which has it loaded again. Never looks for the reason (the loader does). Called
//! around all that runs an entity's code. Invariant: of a state that a panic left half
//! done nothing is shown, submitted or carried.

use super::Table;
use crate::base::EntityKey;
use crate::cluster::core::cell::Cell;
use crate::cluster::core::message::FromTable;
use crate::entity::World;
use crate::entity::caught::caught;
use crate::entity::workplace;

impl Table {
    /// Has `run` work on an entity that is here; `None`, and then it is here no more,
    /// when that panicked.
    pub(super) fn guard<T>(
        &mut self,
        key: EntityKey,
        run: impl FnOnce(&mut Cell, &World) -> T,
    ) -> Option<T> {
        let cell = self.cells.get_mut(&key)?;
        let world = &*self.world;
        let generation = cell.generation();
        let entered = workplace::enter(key, cell.entity.tick());
        let done = caught(|| run(cell, world));
        drop(entered);
        // What stands still has the tick of its last step.
        let at = cell.tick_at(self.tick);
        if done.is_none() {
            self.counts.broken += 1;
            self.drop_entity(key);
            self.to_core.push(FromTable::Broke { entity: key, generation, at });
        }
        done
    }
}
