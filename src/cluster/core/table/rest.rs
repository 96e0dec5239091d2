//! Owns when an entity of a table may hibernate: it looks, once it has been
//! quiet for long enough, whether nothing will happen to it by itself, and then
//! tells the core and takes nothing more for it. Never decides what becomes of
//! it: the core says `Drop` when it is durably at rest. Called at every tick.
//!
//! ```text
//!   awake ──(quiet, settled, unobserved)──> resting ──(Close durable: Drop)──> gone
//!     ^                                                                         │
//!     └──────────────(Install: something came for it, or a timer)───────────────┘
//! ```
//!
//! Invariants: what rests is at full rate; a resting entity takes no input, makes none and is shown to
//! nobody, so that its `Close` is the last record of its life.

use super::Table;
use crate::base::{EntityKey, Millis};
use crate::cluster::core::cell::Cell;
use crate::cluster::core::message::{FromTable, Rest};
use crate::entity::pace::Rate;
use crate::entity::summary::Summary;

/// The most entities looked at in a tick: of very many that became quiet at
/// once the others have their turn in the next ones.
const LOOKS_PER_TICK: usize = 512;

impl Table {
    /// Something happens to the entity: it is quiet from now on at the earliest.
    pub(super) fn note_busy(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get_mut(&key) else { return };
        cell.busy = self.now;
        if cell.look.is_none() && matches!(key, EntityKey::Sector(_)) {
            let at = Millis(self.now.0.saturating_add(self.limits.quiet_ms));
            cell.look = Some(at);
            self.looks.insert((at, key));
        }
    }

    /// Lets rest what has been quiet for long enough.
    pub(super) fn rest_quiet(&mut self) {
        for _ in 0..LOOKS_PER_TICK {
            let Some((at, key)) = self.looks.first().copied() else { return };
            if at > self.now {
                return;
            }
            self.looks.pop_first();
            self.look(key);
        }
    }

    fn look(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get_mut(&key) else { return };
        cell.look = None;
        let quiet_at = cell.busy.0.saturating_add(self.limits.quiet_ms);
        let is_quiet = quiet_at <= self.now.0 && may_rest(cell);
        let is_dilated = cell.entity.rate() < Rate::FULL;
        if is_quiet && !is_dilated {
            return self.rest(key);
        }
        // Who only waits for something is looked at after as long again.
        let later = self.now.0.saturating_add(self.limits.quiet_ms.max(1));
        let at = Millis(if quiet_at > self.now.0 { quiet_at } else { later });
        cell.look = Some(at);
        self.looks.insert((at, key));
        if is_quiet {
            // What sleeps goes by the node's ticks, so that nobody need know
            // how fast it was.
            self.dilate(key, Rate::FULL);
        }
    }

    fn rest(&mut self, key: EntityKey) {
        let tick = self.tick;
        let rest = self.guard(key, |cell, world| {
            cell.entity.run_to(cell.tick_at(tick), world, &mut Vec::new());
            cell.rest();
            Rest {
                summary: Summary::at_rest(&cell.entity, world).map(|summary| summary.to_bytes()),
                due: cell.entity.next_due(),
                is_seed: cell.entity.is_seed(),
            }
        });
        let Some((rest, cell)) = rest.zip(self.cells.get_mut(&key)) else { return };
        let generation = cell.generation();
        if let Some(due) = cell.due() {
            self.timers.remove(&(due, key));
            cell.set_due(None);
        }
        self.unhashed.remove(&key);
        self.to_core.push(FromTable::Quiet { entity: key, generation, rest: Box::new(rest) });
    }
}

fn may_rest(cell: &Cell) -> bool {
    cell.is_claimed()
        && !cell.is_closed()
        && !cell.leaves_soon()
        && cell.pending() == 0
        && !cell.is_rate_asked()
        && cell.follower.is_none()
        && !cell.shade.held.is_moving()
        && cell.entity.may_hibernate()
}
