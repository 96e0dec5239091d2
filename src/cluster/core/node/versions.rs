//! Owns how entities go between nodes of different versions of the simulation. A
//! node runs one: it can read a state that another version made, and run nothing
//! of it. Never runs anything itself.
//!
//! ```text
//!   owner (version 8)                        the other node (version 9)
//!    │── Offer 8 ───────────────────────────────>│ loads nothing ahead
//!    │<─────────────────────────────── Accept 9 ─│
//!    │ commit: HandOver
//!    │ Retire ─> table: the state behind it
//!    │ commit: that is its snapshot
//!    │── Claim ─────────────────────────────────>│ restores it, adopts it
//!
//!   no node of version 8 ended it so (version 9 finds the tail)
//!    │<──────────────────────────────── Reclaim ─│ to one living node after the other
//!    │ loads, claims, and hands it over as above
//! ```
//!
//! | what goes wrong | what becomes of it |
//! |---|---|
//! | the owner dies before the snapshot | the other finds a tail that it cannot run, and asks |
//! | no living node has the version | the entity waits, and what comes for it is dropped and comes again; it is counted and logged, and asked for again when nodes join |
//! | `Reclaim` is lost | it is said again |
//!
//! Invariant: nothing of another version is replayed here but a state that stands
//! still.

use super::{NodeCore, NodeEffect};
use crate::base::{EntityKey, Millis, NodeId};
use crate::cluster::core::message::{Committed, NodeBody, ToTable};
use crate::cluster::core::snapshots::Made;
use crate::entity::envelope::Logic;

/// Who may have a logic is asked for an entity so often, one after the other.
const ASK_MS: u64 = 1000;
/// After so many times the entity is loaded again: somebody may have ended it.
const ASKS_PER_LOAD: u32 = 4;

/// An entity given to a node of another version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retiring {
    /// Of the record that gave it.
    sequence: u64,
    to: NodeId,
}

/// An entity that needs a logic that is not here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreign {
    needed: Logic,
    next: Millis,
    asked: u32,
}

impl NodeCore {
    /// The version of the simulation that runs here.
    pub(super) fn version(&self) -> u32 {
        self.world.logic().version
    }

    /// Has the state behind the last record become the snapshot, unless whoever gets
    /// the entity can run that record by itself. Whether it does.
    pub(super) fn retire(&mut self, record: &Committed, to: NodeId) -> bool {
        let (own, entity) = (self.version(), record.entity);
        if !self.runs(entity, record.generation) {
            return false;
        }
        let Some(cluster) = &mut self.cluster else { return false };
        // Of who gets it instead of who was asked nothing is known.
        let leaving = cluster.leaving.get(&entity).filter(|leaving| leaving.to == to);
        if leaving.and_then(|leaving| leaving.accepted) == Some(own) {
            return false;
        }
        cluster.retiring.insert(entity, Retiring { sequence: record.header.sequence, to });
        self.tell(entity, ToTable::Retire { record: *record, to });
        true
    }

    /// The state behind the record that gave an entity away.
    pub(super) fn handle_retired(
        &mut self,
        entity: EntityKey,
        sequence: u64,
        bytes: Option<Vec<u8>>,
    ) {
        if !self.retires(entity, sequence) {
            return;
        }
        match bytes {
            Some(bytes) => {
                let logic = self.world.logic();
                let made = Made { entity, logic, sequence, bytes };
                self.snapshots.push_loaded(made, &self.limits);
            }
            // Whoever gets it asks for what it cannot run.
            None => self.note_retired(entity, self.sent),
        }
    }

    /// Whether that snapshot is of an entity that was given away.
    pub(super) fn retires(&self, entity: EntityKey, sequence: u64) -> bool {
        let retiring = self.cluster.as_ref().and_then(|cluster| cluster.retiring.get(&entity));
        retiring.is_some_and(|retiring| retiring.sequence == sequence)
    }

    /// Whether something that was given away is not its snapshot yet.
    pub(super) fn is_retiring(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| !cluster.retiring.is_empty())
    }

    /// It is the entity's snapshot, and can be claimed.
    pub(super) fn note_retired(&mut self, entity: EntityKey, now: Millis) {
        let Some(cluster) = &mut self.cluster else { return };
        if let Some(Retiring { sequence, to }) = cluster.retiring.remove(&entity) {
            self.say_given(entity, sequence, to, now);
        }
        if !self.away && !self.settling {
            self.offer_strays(now);
        }
    }

    /// What was loaded needs a logic that is not here.
    pub(super) fn wait_for_logic(&mut self, entity: EntityKey, needed: Logic) {
        self.loading.hold(entity);
        let Some(cluster) = &mut self.cluster else { return };
        if !cluster.foreign.contains_key(&entity) {
            self.effects.push(NodeEffect::Lacks(entity, needed));
        }
        let foreign = cluster.foreign.entry(entity);
        foreign.or_insert(Foreign { needed, next: Millis(0), asked: 0 }).needed = needed;
        self.counts.foreign = cluster.foreign.len() as u64;
    }

    /// What there is of the entity can be run here, or it is another's.
    pub(super) fn note_logic(&mut self, entity: EntityKey) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.foreign.remove(&entity).is_some() {
            self.counts.foreign = cluster.foreign.len() as u64;
        }
    }

    /// Asks who may have the logic that entities here wait for, some at a time.
    pub(super) fn ask_for_logic(&mut self, now: Millis) {
        let Some(cluster) = &mut self.cluster else { return };
        let others: Vec<NodeId> =
            cluster.members.living().filter(|node| *node != self.node).collect();
        let due = cluster.foreign.iter_mut().filter(|(_, foreign)| foreign.next <= now);
        let mut due: Vec<_> = due.collect();
        // Those that have waited longest, so that each has its turn.
        due.sort_by_key(|(entity, foreign)| (foreign.next, **entity));
        let mut asked = Vec::new();
        for (entity, foreign) in due.into_iter().take(self.limits.loads) {
            foreign.next = Millis(now.0 + ASK_MS);
            foreign.asked = foreign.asked.wrapping_add(1);
            asked.push((*entity, *foreign));
        }
        for (entity, Foreign { needed, asked, .. }) in asked {
            if let Some(node) = others.get(asked as usize % others.len().max(1)) {
                self.say(*node, NodeBody::Reclaim { entity, version: needed.version });
            }
            if asked.is_multiple_of(ASKS_PER_LOAD) {
                self.loading.resume(entity);
            }
        }
    }

    /// Another node cannot run an entity that is its own: it is claimed here, if it
    /// can be, and is then a stray.
    pub(super) fn handle_reclaim(&mut self, entity: EntityKey, version: u32) {
        let runs = self.owned.contains_key(&entity);
        if version == self.version() && self.may_take() && !runs {
            self.loading.want_left(entity);
        }
    }
}
