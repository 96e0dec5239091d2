//! Owns what a tick of the node does to the entities of a table: steps,
//! hashes, updates, timers, messages carried again. Never moves the tick
//! itself (the core does). Invariant: steps only move time; whatever else a
//! tick calls for is submitted as an input.

use super::Table;
use crate::base::{EntityKey, Millis, Tick};
use crate::cluster::core::cell::Cell;
use crate::cluster::core::message::FromTable;
use crate::entity::input::Input;

/// Messages are carried again after this many ticks without acknowledgement.
const CARRY_AGAIN_TICKS: u64 = 20;
/// The state is hashed every so many ticks of the entity's.
const HASH_TICKS: u64 = 100;

impl Table {
    /// The node's tick is now `tick`.
    pub(super) fn step(&mut self, tick: Tick, now: Millis) {
        self.tick = tick;
        self.now = now;
        self.begin_work();
        let active: Vec<EntityKey> = self.active.iter().copied().collect();
        for key in active {
            if self.cells.get(&key).is_some_and(|cell| cell.moves_at(self.tick)) {
                self.step_entity(key);
                self.charge(key);
            }
        }
        self.hash_states();
        self.close_doors();
        self.show_followed();
        self.cast_shadows();
        self.fire_timers();
        self.carry_again();
        self.rest_quiet();
        self.tell_activity();
        self.note_costs();
    }

    /// Brings an entity to its tick now.
    pub(super) fn step_entity(&mut self, key: EntityKey) {
        let (now, mut effects) = (self.tick, Vec::new());
        let stepped = self.guard(key, |cell, world| {
            cell.entity.run_to(cell.tick_at(now), world, &mut effects);
        });
        if stepped.is_none() {
            return;
        }
        self.counts.steps += 1;
        self.unhashed.insert(key);
        self.shade.note_changed(key);
        self.note_busy(key);
        self.run_effects(key, effects);
        self.note_state(key);
    }

    /// Journals the hash of every state that changed since its last one and
    /// whose turn it is; spread over entities by their number.
    fn hash_states(&mut self) {
        let due: Vec<EntityKey> = self
            .unhashed
            .iter()
            .copied()
            .filter(|key| self.cells.get(key).is_some_and(|cell| is_hash_turn(cell, self.tick)))
            .collect();
        self.begin_work();
        for key in due {
            if self.is_full(key) {
                // Its turn comes again.
                continue;
            }
            let now = self.tick;
            let hashed = self.guard(key, |cell, world| {
                let tick = cell.tick_at(now);
                cell.entity.run_to(tick, world, &mut Vec::new());
                (tick, cell.entity.state_hash(world))
            });
            let Some((tick, hash)) = hashed else { continue };
            self.unhashed.remove(&key);
            self.submit(key, Input::Hash { tick, hash });
            self.charge(key);
        }
    }

    fn fire_timers(&mut self) {
        while let Some((due, key)) = self.timers.first().copied() {
            if due > self.now {
                return;
            }
            self.timers.pop_first();
            let Some(cell) = self.cells.get_mut(&key) else { continue };
            cell.set_due(None);
            let is_due = cell.next_due().is_some_and(|due| due <= self.now);
            if !is_due {
                self.note_due(key);
            } else if !cell.is_time_pending() {
                self.submit(key, Input::Time);
            }
        }
    }

    /// Sets the timer for `key`, unless an earlier one is set: that one looks
    /// again when it fires.
    pub(super) fn note_due(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get_mut(&key) else { return };
        let Some(due) = cell.next_due() else { return };
        match cell.due() {
            Some(earlier) if earlier <= due => return,
            Some(later) => self.timers.remove(&(later, key)),
            None => true,
        };
        cell.set_due(Some(due));
        self.timers.insert((due, key));
    }

    /// Carries again what was not acknowledged for a while: whoever had it
    /// may have lost it.
    fn carry_again(&mut self) {
        let mut messages = Vec::new();
        for key in &self.unsettled {
            let Some(cell) = self.cells.get_mut(key) else { continue };
            if self.tick.since(cell.carried) >= CARRY_AGAIN_TICKS {
                cell.carried = self.tick;
                messages.extend(cell.entity.head().outbox.waiting(*key));
            }
        }
        self.to_core.extend(messages.into_iter().map(FromTable::Carry));
    }
}

/// Whether an entity's state is hashed at this tick: (tick + 2 × number) mod 100 = 0.
fn is_hash_turn(cell: &Cell, node_tick: Tick) -> bool {
    let number = match cell.entity.key() {
        EntityKey::Sector(sector) => (sector.morton() % u128::from(HASH_TICKS)) as u64,
        EntityKey::Ledger(n)
        | EntityKey::Market(n)
        | EntityKey::Alliance(n)
        | EntityKey::Board(n)
        | EntityKey::Battle { n, .. } => n % HASH_TICKS,
    };
    // Of a tick that began before, the state has records already.
    cell.moves_at(node_tick)
        && (cell.tick_at(node_tick).0 % HASH_TICKS + 2 * number).is_multiple_of(HASH_TICKS)
}
