//! Owns what is between the load of an entity that has another logic and its
//! claim: its state becomes its snapshot, so that the record with the claim, in
//! which it adopts this node's logic, is directly behind. Never runs anything by
//! the other logic: the loader did. Called where a load has ended, and where a
//! snapshot is durable.
//!
//! ```text
//!   loaded by its own logic ──> snapshot of that logic ──> Adopt, Claim: this one's
//! ```
//!
//! Whoever dies on the way has changed nothing but that the snapshot is newer.
//! Until the claim the entity counts as being loaded: what comes for it waits
//! there, and no more are on the way than may be loaded at a time.
//!
//! Invariant: no record of an entity is of another logic than the one before, but
//! one that adopts, and that is directly behind a snapshot.

use super::NodeCore;
use crate::base::{EntityKey, Millis};
use crate::cluster::core::loading::Loaded;
use crate::cluster::core::snapshots::Made;

impl NodeCore {
    /// `loaded`, if it may be claimed at once: it has this node's logic, or is as
    /// its snapshot is.
    pub(super) fn adopt_behind_snapshot(&mut self, mut loaded: Loaded) -> Option<Loaded> {
        let Some(adoption) = &mut loaded.adoption else { return Some(loaded) };
        let Some(bytes) = adoption.snapshot.take() else { return Some(loaded) };
        let (entity, sequence) = (loaded.entity.key(), loaded.entity.head().sequence);
        (loaded.snapshot_bytes, loaded.journal_bytes) = (bytes.len() as u64, 0);
        let made = Made { entity, logic: adoption.from, sequence, bytes };
        self.snapshots.push_loaded(made, &self.limits);
        self.adopting.insert(entity, Box::new(loaded));
        None
    }

    /// Whether that snapshot is one for an adoption.
    pub(super) fn adopts(&self, entity: EntityKey, sequence: u64) -> bool {
        let loaded = self.adopting.get(&entity);
        loaded.is_some_and(|loaded| loaded.entity.head().sequence == sequence)
    }

    /// The snapshot is durable: what is left is as after any load.
    pub(super) fn go_on_adopting(&mut self, entity: EntityKey, now: Millis) {
        if let Some(loaded) = self.adopting.remove(&entity) {
            self.handle_loaded(entity, Ok(loaded), now);
        }
    }
}
