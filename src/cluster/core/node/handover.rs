//! Owns how an entity goes to another node with its owner's help: the door is
//! closed, all that it took becomes durable, the last record hands it over, and
//! the other node claims it. Never moves state between nodes: the journal has it.
//!
//! ```text
//!   owner                                    the other node
//!    │ the directory names the other
//!    │ Leave ─> table: takes nothing more
//!    │ Leaving <─ table: all is durable
//!    │ commit: HandOver; owned/owner goes, owned/other comes
//!    │── Claim ───────────────────────────────>│ loads, claims
//!    │<───────────────────────────── Claimed ──│
//! ```
//!
//! | what goes wrong | what becomes of it |
//! |---|---|
//! | the owner dies before the commit | nothing happened: its successor finds it |
//! | anything, after it | `owned/other` has it found by the other's restart or successor |
//! | `Claim` or `Claimed` is lost | it is said again until it is answered |
//! | the directory changed meanwhile | whoever has it hands it on |
//!
//! Invariant: what is not answered by `Claimed` is said again, to the node that
//! it belongs to then; so nothing is left without an owner.

use super::routes::Route;
use super::{NodeCore, NodeEffect};
use crate::base::{EntityKey, Millis, NodeId};
use crate::cluster::core::message::{Committed, NodeBody, NodeMessage, ToTable};
use crate::entity::commit::Put;
use crate::entity::keys;

/// Entities that leave at a time.
const LEAVING_MAX: usize = 64;
/// A claim that is not answered is asked for again after so long.
const SAY_AGAIN_MS: u64 = 500;

impl NodeCore {
    /// Begins to hand over what belongs elsewhere, some at a time.
    pub(super) fn hand_over_strays(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        if !cluster.review || self.away || self.settling {
            return;
        }
        let room = LEAVING_MAX.saturating_sub(cluster.leaving.len());
        let is_free = |entity: &EntityKey| {
            !cluster.leaving.contains_key(entity) && !self.closing.contains_key(entity)
        };
        let owned = self.owned.keys().copied().filter(is_free);
        let stray = |entity: EntityKey| match self.route(entity) {
            Route::There(node) => Some((entity, node)),
            Route::Here | Route::Nowhere => None,
        };
        let strays: Vec<(EntityKey, NodeId)> = owned.filter_map(stray).take(room).collect();
        let is_last = strays.len() < room;
        if let Some(cluster) = &mut self.cluster {
            cluster.review = !is_last;
            cluster.leaving.extend(strays.iter().copied());
        }
        for (entity, _) in strays {
            self.tell(entity, ToTable::Leave(entity));
        }
    }

    /// Nothing waits for an entity that leaves any more.
    pub(super) fn handle_leaving(&mut self, entity: EntityKey, generation: u64) {
        let runs = self.runs(entity, generation);
        let Some(cluster) = self.cluster.as_mut().filter(|_| runs) else { return };
        if cluster.leaving.contains_key(&entity) {
            cluster.ready_to_leave.insert(entity);
            self.dilating.remove(&entity);
            self.snapshots.forget(entity);
            self.waiting(entity);
        }
    }

    /// Who gets the entity with its next record.
    pub(super) fn taker(&self, entity: EntityKey) -> Option<NodeId> {
        let cluster = self.cluster.as_ref()?;
        let is_ready = cluster.ready_to_leave.contains(&entity);
        cluster.leaving.get(&entity).copied().filter(|_| is_ready)
    }

    /// The keys that change with the hand-over of `entity`.
    pub(super) fn hand_over_puts(&self, entity: EntityKey, to: NodeId) -> Vec<Put> {
        let ours = Put { key: keys::owned(self.node, entity), value: None };
        vec![ours, Put { key: keys::owned(to, entity), value: Some(Vec::new()) }]
    }

    /// It is durable that the entity of `record` is another node's.
    pub(super) fn handle_handed(&mut self, record: &Committed, to: NodeId, now: Millis) {
        self.counts.records += 1;
        self.counts.record_bytes += record.bytes;
        self.counts.handed_over += 1;
        if self.runs(record.entity, record.generation) {
            self.disown(record.entity);
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.handed.insert(record.entity, now);
        }
        self.say_claim(to, record.entity);
    }

    fn say_claim(&mut self, to: NodeId, entity: EntityKey) {
        let message = NodeMessage { hops: 0, body: NodeBody::Claim(entity) };
        self.effects.push(NodeEffect::ToNode(to, message));
    }

    /// Asks again for what nobody has said to have claimed.
    pub(super) fn say_handed(&mut self, now: Millis) {
        let Some(cluster) = &mut self.cluster else { return };
        let late = |(entity, at): (&EntityKey, &mut Millis)| {
            let is_late = now.since(*at) >= SAY_AGAIN_MS;
            is_late.then(|| std::mem::replace(at, now)).map(|_| *entity)
        };
        let late: Vec<EntityKey> = cluster.handed.iter_mut().filter_map(late).collect();
        for entity in late {
            match self.route(entity) {
                Route::There(node) => self.say_claim(node, entity),
                Route::Here => {
                    self.cluster.iter_mut().for_each(|it| _ = it.handed.remove(&entity));
                    self.loading.want_left(entity);
                }
                Route::Nowhere => {}
            }
        }
    }

    /// Another node says that this entity was given to this one.
    pub(super) fn handle_claim(&mut self, entity: EntityKey, asker: NodeId) {
        let is_claimed = self.owned.contains_key(&entity) && !self.claiming.contains(&entity);
        let Some(cluster) = &mut self.cluster else { return };
        if is_claimed {
            return self.answer_claim(asker, entity);
        }
        if cluster.askers.len() < self.limits.waiting_for_nodes {
            cluster.askers.insert(entity, asker);
        }
        if !self.owned.contains_key(&entity) {
            self.loading.want_left(entity);
        }
    }

    /// The entity is claimed here, or was found to be another's.
    pub(super) fn note_claim_settled(&mut self, entity: EntityKey) {
        let asker = self.cluster.as_mut().and_then(|cluster| cluster.askers.remove(&entity));
        if let Some(asker) = asker {
            self.answer_claim(asker, entity);
        }
    }

    fn answer_claim(&mut self, asker: NodeId, entity: EntityKey) {
        let message = NodeMessage { hops: 0, body: NodeBody::Claimed(entity) };
        self.effects.push(NodeEffect::ToNode(asker, message));
    }
}
