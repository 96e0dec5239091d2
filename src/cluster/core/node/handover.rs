//! Owns how an entity goes to another node with its owner's help: the other loads
//! it ahead and says that it takes it, the door is closed, all that it took becomes
//! durable, the last record hands it over, and the other claims it. Never moves
//! state between nodes: the journal has it.
//!
//! ```text
//!   owner                                    the other node
//!    │ the directory names the other
//!    │── Offer ───────────────────────────────>│ may claim, does not stop:
//!    │<────────────────────────────── Accept ──│ loads it (`ahead.rs`)
//!    │ Leave ─> table: takes nothing more from its next tick on
//!    │ Leaving <─ table: all is durable; the state's hash
//!    │ commit: HandOver, Hash; owned/owner goes, owned/other comes
//!    │── Claim ───────────────────────────────>│ reads the records since, compares,
//!    │                                         │ claims
//!    │<───────────────────────────── Claimed ──│
//! ```
//!
//! | what goes wrong | what becomes of it |
//! |---|---|
//! | the other does not answer, may not claim or cannot load it | it stays where it is, and is offered again |
//! | what follows is not what was loaded ahead, or the hash differs | all of it is loaded; the journal wins |
//! | the owner dies before the commit | nothing happened: its successor finds it |
//! | anything, after it | `owned/other` has it found by the other's restart or successor |
//! | `Claim` or `Claimed` is lost | it is said again until it is answered |
//! | the directory changed meanwhile | whoever has it hands it on |
//!
//! Invariant: what is not answered by the `Claimed` of its own hand-over is said
//! again, to the node that it belongs to then; so nothing is left without an owner.

use std::collections::VecDeque;

use super::routes::Route;
use super::{NodeCore, NodeEffect};
use crate::base::{EntityKey, Millis, NodeId, StateHash, Tick};
use crate::cluster::core::message::{Committed, NodeBody, NodeMessage, ToTable};
use crate::entity::commit::Put;
use crate::entity::keys;

/// A claim that is not answered is asked for again after so long.
const SAY_AGAIN_MS: u64 = 500;
/// So long an offer waits for its answer.
const OFFER_MS: u64 = 1000;

/// An entity on its way to another node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    pub to: NodeId,
    /// When that node was asked.
    pub offered: Millis,
    /// It said that it takes it, and of which version of the simulation it is.
    pub accepted: Option<u32>,
    /// When the [part](Part) that it is in began.
    since: Millis,
}

/// An entity that was given away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handed {
    /// Of the record that did it, 0 where that is not known.
    pub sequence: u64,
    /// When it was last said.
    pub said: Millis,
}

impl Handed {
    /// By somebody, and nobody was told yet.
    pub const UNTOLD: Handed = Handed { sequence: 0, said: Millis(0) };
}

/// An entity that this node is to claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    by: NodeId,
    /// Of the record that gave it, as in [`Handed`].
    sequence: u64,
    /// When the [part](Part) that it is in began.
    since: Millis,
}

/// What a hand-over takes its time for, in order. The pause begins within the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// From the offer until the other node has loaded it and takes it.
    Ahead,
    /// Until its tick has moved, with which its door is closed, and all that was taken
    /// before is durable.
    Close,
    /// Until its last record is durable.
    Record,
    /// From the word that it is given until what was missing is loaded.
    Tail,
    /// Until the claim is durable.
    Claim,
}

/// Who gets an entity, and the hash of its state at that tick, which nothing
/// changes any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taker {
    pub to: NodeId,
    pub tick: Tick,
    pub hash: StateHash,
}

impl NodeCore {
    /// Offers what belongs elsewhere, some at a time. All that runs here is looked
    /// at only when the directory or who lives changed.
    pub(super) fn hand_over_strays(&mut self, now: Millis) {
        let Some(cluster) = &mut self.cluster else { return };
        // What nobody took is offered again, behind the others.
        let late = |leaving: &Leaving| {
            leaving.accepted.is_none() && now.since(leaving.offered) >= OFFER_MS
        };
        let unheard = cluster.leaving.extract_if(.., |_, leaving| late(leaving));
        let unheard: Vec<EntityKey> = unheard.map(|(entity, _)| entity).collect();
        cluster.strays.extend(unheard);
        if self.away || self.settling {
            return;
        }
        if std::mem::take(&mut cluster.review) {
            let strays: VecDeque<EntityKey> =
                self.owned.keys().copied().filter(|entity| self.is_stray(*entity)).collect();
            self.cluster.iter_mut().for_each(|cluster| cluster.strays.clone_from(&strays));
        }
        self.offer_strays(now);
    }

    fn is_stray(&self, entity: EntityKey) -> bool {
        matches!(self.route(entity), Route::There(_))
    }

    /// One that was loaded here may belong elsewhere by now.
    pub(super) fn note_stray(&mut self, entity: EntityKey) {
        if self.is_stray(entity)
            && let Some(cluster) = &mut self.cluster
        {
            // Longer than all there is it does not grow: then all are looked at.
            if cluster.strays.len() < self.owned.len() {
                cluster.strays.push_back(entity);
            } else {
                cluster.review = true;
            }
        }
    }

    /// Offers as many of those that are known to belong elsewhere as may leave at
    /// a time.
    pub(super) fn offer_strays(&mut self, now: Millis) {
        while let Some(cluster) = &mut self.cluster
            && cluster.leaving.len() + cluster.retiring.len() < self.limits.leaving
            && let Some(entity) = cluster.strays.pop_front()
        {
            let is_free = !cluster.leaving.contains_key(&entity)
                && self.owned.contains_key(&entity)
                && !self.closing.contains_key(&entity);
            let Route::There(to) = self.route(entity) else { continue };
            if is_free && let Some(cluster) = &mut self.cluster {
                cluster
                    .leaving
                    .insert(entity, Leaving { to, offered: now, accepted: None, since: now });
                self.say(to, NodeBody::Offer { entity, version: self.version() });
            }
        }
    }

    /// The other node, which is of that version, takes an entity: its door is closed.
    pub(super) fn handle_accept(
        &mut self,
        entity: EntityKey,
        version: u32,
        from: NodeId,
        now: Millis,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(leaving) = cluster.leaving.get_mut(&entity) else { return };
        let runs = self.owned.contains_key(&entity) && !self.closing.contains_key(&entity);
        if runs && leaving.to == from && leaving.accepted.replace(version).is_none() {
            let ms = now.since(std::mem::replace(&mut leaving.since, now));
            self.effects.push(NodeEffect::Passed(Part::Ahead, ms));
            self.tell(entity, ToTable::Leave(entity));
        }
    }

    pub(super) fn say(&mut self, to: NodeId, body: NodeBody) {
        self.effects.push(NodeEffect::ToNode(to, NodeMessage { hops: 0, body }));
    }

    /// Nothing waits for an entity that leaves any more.
    pub(super) fn handle_leaving(
        &mut self,
        entity: EntityKey,
        generation: u64,
        (tick, hash): (Tick, StateHash),
        now: Millis,
    ) {
        let runs = self.runs(entity, generation);
        let Some(cluster) = self.cluster.as_mut().filter(|_| runs) else { return };
        if let Some(leaving) = cluster.leaving.get_mut(&entity) {
            let ms = now.since(std::mem::replace(&mut leaving.since, now));
            self.effects.push(NodeEffect::Passed(Part::Close, ms));
            cluster.ready_to_leave.insert(entity, (tick, hash));
            self.dilating.remove(&entity);
            self.snapshots.forget(entity);
            self.waiting(entity);
        }
    }

    /// Who gets the entity with its next record: the node that it belongs to by
    /// then, if that is another.
    pub(super) fn taker(&self, entity: EntityKey) -> Option<Taker> {
        let cluster = self.cluster.as_ref()?;
        let leaving = cluster.leaving.get(&entity)?;
        let (tick, hash) = *cluster.ready_to_leave.get(&entity)?;
        let to = match self.route(entity) {
            Route::There(node) => node,
            Route::Here | Route::Nowhere => leaving.to,
        };
        Some(Taker { to, tick, hash })
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
        let leaving = self.cluster.as_ref().and_then(|it| it.leaving.get(&record.entity));
        let passed = leaving.map(|it| NodeEffect::Passed(Part::Record, now.since(it.since)));
        self.effects.extend(passed);
        let retires = self.retire(record, to);
        if self.runs(record.entity, record.generation) {
            self.disown(record.entity);
        }
        if !retires {
            self.say_given(record.entity, record.header.sequence, to, now);
        }
        if !self.away && !self.settling {
            self.offer_strays(now);
        }
    }

    /// Has the node that an entity was given to claim it.
    pub(super) fn say_given(&mut self, entity: EntityKey, sequence: u64, to: NodeId, now: Millis) {
        if let Some(cluster) = &mut self.cluster {
            cluster.handed.insert(entity, Handed { sequence, said: now });
        }
        self.say(to, NodeBody::Claim { entity, sequence });
    }

    /// Asks again for what nobody has said to have claimed.
    pub(super) fn say_handed(&mut self, now: Millis) {
        let Some(cluster) = &mut self.cluster else { return };
        let late = |(entity, handed): (&EntityKey, &mut Handed)| {
            let is_late = now.since(handed.said) >= SAY_AGAIN_MS;
            handed.said = if is_late { now } else { handed.said };
            is_late.then_some((*entity, handed.sequence))
        };
        let late: Vec<(EntityKey, u64)> = cluster.handed.iter_mut().filter_map(late).collect();
        for (entity, sequence) in late {
            match self.route(entity) {
                Route::There(node) => self.say(node, NodeBody::Claim { entity, sequence }),
                Route::Here => {
                    self.cluster.iter_mut().for_each(|it| _ = it.handed.remove(&entity));
                    if !self.owned.contains_key(&entity) {
                        self.loading.want_left(entity);
                    }
                }
                Route::Nowhere => {}
            }
        }
    }

    /// Another node says that this entity was given to this one.
    pub(super) fn handle_claim(
        &mut self,
        entity: EntityKey,
        sequence: u64,
        by: NodeId,
        now: Millis,
    ) {
        // Was it parked, it was resumed since, or that is found out now.
        self.let_run(entity);
        let is_claimed = self.owned.contains_key(&entity) && !self.claiming.contains(&entity);
        if is_claimed || self.loading.is_unloadable(entity) {
            return self.say(by, NodeBody::Claimed { entity, sequence });
        }
        let Some(cluster) = &mut self.cluster else { return };
        let known = cluster.asked.get(&entity).filter(|known| known.sequence == sequence);
        let (is_news, since) = (known.is_none(), known.map_or(now, |known| known.since));
        if cluster.asked.len() < self.limits.waiting_for_nodes {
            cluster.asked.insert(entity, Asked { by, sequence, since });
        }
        if is_news {
            self.loading.note_given(entity);
        }
        if !self.owned.contains_key(&entity) {
            self.loading.want_left(entity);
            self.loading.resume(entity);
        }
    }

    /// An entity that this node was asked to claim comes to run here: that is its
    /// next part.
    pub(super) fn note_part(&mut self, entity: EntityKey, part: Part, now: Millis) {
        let asked = self.cluster.as_mut().and_then(|cluster| cluster.asked.get_mut(&entity));
        if let Some(asked) = asked {
            let ms = now.since(std::mem::replace(&mut asked.since, now));
            self.effects.push(NodeEffect::Passed(part, ms));
        }
    }

    /// The entity is claimed here, or was found to be another's or nobody's.
    pub(super) fn note_claim_settled(&mut self, entity: EntityKey) {
        let Some(cluster) = &mut self.cluster else { return };
        if self.owned.contains_key(&entity) {
            cluster.handed.remove(&entity);
            cluster.retiring.remove(&entity);
        }
        if let Some(Asked { by, sequence, .. }) = cluster.asked.remove(&entity) {
            self.say(by, NodeBody::Claimed { entity, sequence });
        }
    }
}
