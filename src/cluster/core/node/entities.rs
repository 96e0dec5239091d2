//! Owns which entities run on this node: loads and installs them, and disowns
//! them. Never reads a store.
//! Invariant: nothing is loaded before commit 0 is durable, nor while the
//! clocks differ, nor while a commit may hold a record of it.

use super::handover::{Handed, Part};
use super::routes::HOPS_MAX;
use super::{NodeCore, NodeEffect, Owned, Phase, Waiting};
use crate::base::{EntityKey, Incarnation, Millis, NodeId};
use crate::cluster::core::loading::{Asker, LoadError, Loaded};
use crate::cluster::core::message::{Installed, NodeBody, NodeMessage, ToTable};
use crate::entity::keys;
use crate::entity::replay::ReplayError;

/// An entity is loaded at most so often because a record did not fit it; then
/// it stays as it is until the node starts again.
const MISFITS_MAX: u32 = 3;

/// The store's clock may differ from this node's by so much.
const CLOCKS_DIFFER_MS_MAX: u64 = 2000;

impl NodeCore {
    /// What the store says that this node owned, and which of its incarnations
    /// ended.
    pub(super) fn handle_owned(
        &mut self,
        entities: Vec<(EntityKey, u64)>,
        ended: Vec<Incarnation>,
    ) {
        self.scanned = true;
        // Some may run already: a message came for them before the scan's answer.
        let missing = entities.into_iter().filter(|(key, _)| !self.owned.contains_key(key));
        let (ours, others): (Vec<_>, Vec<_>) = missing.partition(|(key, _)| self.is_ours(*key));
        ours.into_iter().for_each(|(entity, version)| self.loading.want_found(entity, version));
        if let Some(cluster) = &mut self.cluster {
            // Given to others while nobody ran here: they are told.
            cluster.handed.extend(others.into_iter().map(|(entity, _)| (entity, Handed::UNTOLD)));
        }
        self.stale.ended = ended;
    }

    /// Whether it runs here, and in this installation.
    pub(super) fn runs(&self, entity: EntityKey, generation: u64) -> bool {
        self.owned.get(&entity).is_some_and(|owned| owned.generation == generation)
    }

    /// A table threw the entity's state away: the journal has it. It is loaded
    /// with the next tick behind a commit at this one, when no commit is under
    /// way that could hold a record of it: what its steps up to now gave away is
    /// with others already, so the state that is loaded must have made them too.
    pub(super) fn handle_dropped(&mut self, entity: EntityKey, generation: u64) {
        if !self.runs(entity, generation) {
            return;
        }
        self.wanted = self.wanted.max(self.tick);
        let misfits = self.misfits.entry(entity).or_default();
        *misfits += 1;
        let misfits = *misfits;
        if misfits < MISFITS_MAX {
            // Before it is disowned, or who waits for it would have it loaded at once.
            self.loading.want_later(entity);
            self.disown(entity);
        } else {
            self.disown(entity);
            let error = LoadError::Misfits(misfits);
            self.loading.fail(entity);
            self.effects.push(NodeEffect::Unloadable(entity, error));
        }
    }

    /// The entity runs here no more.
    pub(super) fn disown(&mut self, entity: EntityKey) {
        self.owned.remove(&entity);
        self.snapshots.forget(entity);
        self.claiming.remove(&entity);
        self.dilating.remove(&entity);
        self.with_claim.remove(&entity);
        self.setting_aside.remove(&entity);
        if let Some(cluster) = &mut self.cluster {
            cluster.leaving.remove(&entity);
            cluster.ready_to_leave.remove(&entity);
        }
        if self.waiting.remove(&entity).is_some() {
            self.order.retain(|key| *key != entity);
        }
        self.tell(entity, ToTable::Drop(entity));
        self.send_home(entity);
        if self.closing.remove(&entity).is_some() {
            self.loading.let_go(entity);
        }
        self.send_after(entity);
    }

    /// What came of a load.
    pub(super) fn handle_loaded(
        &mut self,
        entity: EntityKey,
        loaded: Result<Box<Loaded>, LoadError>,
        now: Millis,
    ) {
        let is_new = loaded.as_ref().is_ok_and(|loaded| loaded.entity.head().sequence == 0);
        let is_anothers = matches!(loaded, Err(LoadError::Owned { .. }));
        if self.loading.take_given(entity) && (is_new || is_anothers) {
            // It was read before that was durable, and nobody says it again.
            return self.loading.postpone(entity);
        }
        if !matches!(loaded, Err(LoadError::Replay(_) | LoadError::Store(_))) {
            self.note_logic(entity);
        }
        let loaded = match loaded {
            Ok(loaded) => *loaded,
            Err(error) => return self.handle_unloaded(entity, error),
        };
        if !self.may_claim {
            return self.loading.postpone(entity);
        }
        if self.owned.contains_key(&entity) {
            // It came to run here while it was loaded once more.
            return self.pass_here(entity);
        }
        let head = loaded.entity.head();
        let owner = head.claim.map(|open| open.claim.node).or(head.handed);
        // What was parked is nobody's, and when it is resumed its key has it claimed.
        let is_nobodys = owner.is_none() && head.slept.is_none() && head.sequence > 0;
        let is_ours = owner == Some(self.node) || is_nobodys;
        if !is_ours && self.loading.is_only_found(entity) {
            // Its claim was closed, or taken over: the key is all that is left.
            return self.give_up_found(entity);
        }
        if head.sequence == 0 && !self.loading.has_messages(entity) {
            return self.leave_dormant(entity);
        }
        let Some(loaded) = self.unless_condemned(loaded) else { return };
        if let Some(loaded) = self.adopt_behind_snapshot(loaded) {
            self.own(entity, loaded, now);
        }
    }

    /// What was loaded runs here from now on; its next record claims it.
    fn own(&mut self, entity: EntityKey, loaded: Loaded, now: Millis) {
        let head = loaded.entity.head();
        self.stale.keep(&keys::owned(self.node, entity));
        self.note_slept(&loaded.entity);
        self.generations += 1;
        self.counts.ahead += u64::from(loaded.was_ahead);
        let generation = self.generations;
        let owned = Owned {
            generation,
            sequence: head.sequence,
            time: head.time,
            lead: 0,
            pace: None,
            loaded: head.tick,
            slept: head.slept,
            adopts: loaded.adoption.as_ref().map(|adoption| adoption.from),
        };
        if !loaded.set_aside.is_empty() {
            self.setting_aside.insert(entity, loaded.set_aside);
        }
        self.owned.insert(entity, owned);
        // The directory may have changed since it was asked for.
        self.note_stray(entity);
        self.claiming.insert(entity);
        self.note_part(entity, Part::Tail, now);
        self.waiting.insert(entity, Waiting::default());
        self.order.push_back(entity);
        if !loaded.mismatches.is_empty() {
            self.effects.push(NodeEffect::Mismatch(entity, loaded.mismatches));
        }
        let Loaded { entity: state, snapshot_bytes, journal_bytes, .. } = loaded;
        let installed = Installed { entity: state, generation, snapshot_bytes, journal_bytes };
        let install = ToTable::Install(Box::new(installed));
        self.tell(entity, install);
        if self.loading.is_pinned(entity) {
            self.want_snapshot(entity);
        }
        self.pass_here(entity);
    }

    fn handle_unloaded(&mut self, entity: EntityKey, error: LoadError) {
        match error {
            // With the next tick, which comes when the store answers commits.
            LoadError::Store(_) => self.loading.postpone(entity),
            LoadError::Replay(ReplayError::Logic { needed, .. }) if self.cluster.is_some() => {
                self.wait_for_logic(entity, needed);
            }
            LoadError::Owned { node, .. }
                if node != self.node && self.loading.is_only_found(entity) =>
            {
                self.give_up_found(entity);
            }
            LoadError::Owned { node, .. } if self.cluster.is_some() && node != self.node => {
                self.pass_on(entity, node);
            }
            LoadError::Broken(wreck) if self.may_claim => self.handle_wreck(*wreck),
            LoadError::Broken(_) => self.loading.postpone(entity),
            error => self.handle_unloadable(entity, error),
        }
    }

    /// What was to be loaded runs here: what waits for it goes to it.
    fn pass_here(&mut self, entity: EntityKey) {
        let is_asked = self.loading.is_to_be_seen(entity);
        for message in self.loading.finish(entity) {
            self.tell(entity, message);
        }
        if is_asked {
            self.handle_wake(entity);
        }
    }

    /// What was to be loaded here runs on another node: what waits for it goes
    /// there.
    fn pass_on(&mut self, entity: EntityKey, node: NodeId) {
        self.broken.remove(&entity);
        let is_sought = self.sought.remove(&entity);
        if is_sought || self.loading.is_to_be_seen(entity) {
            self.effects.push(NodeEffect::Elsewhere(entity, node));
        }
        for message in self.loading.finish(entity) {
            let body = match message {
                ToTable::Deliver(message) => NodeBody::Deliver(message),
                ToTable::Propose { entity, input } if input.says_lost() => {
                    NodeBody::Lost { entity, input }
                }
                _ => {
                    self.counts.dropped += 1;
                    continue;
                }
            };
            // The journal says so: from there it goes nowhere else.
            self.send_node(node, NodeMessage { hops: HOPS_MAX, body });
        }
        self.note_claim_settled(entity);
    }

    /// An entity without a record, of which nobody has anything to say.
    fn leave_dormant(&mut self, entity: EntityKey) {
        if let Some(due) = self.loading.due(entity) {
            self.stale.delete(keys::due(due, entity), None);
        }
        self.delete_found(entity);
        if self.loading.is_to_be_seen(entity) {
            self.effects.push(NodeEffect::Dormant(entity));
        }
        self.loading.finish(entity);
        self.note_claim_settled(entity);
    }

    /// Only when commit 0 is durable: it is what ends the incarnation before,
    /// whose open claims could not be taken over else.
    pub(super) fn begin_loads(&mut self) {
        let asker = Asker { node: self.node, incarnation: self.incarnation, durable: self.durable };
        while self.phase != Phase::Beginning
            && self.may_claim
            && !self.settling
            && self.knows_its_own()
            && self.knows_suspects()
            && let Some(entity) = self.loading.begin_next(&self.limits)
        {
            if !self.may_load(entity, asker) {
                continue;
            }
            let ahead = self.take_ahead(entity);
            self.effects.push(NodeEffect::Load(entity, asker, ahead));
        }
    }

    /// An entity whose key says that it is this node's, but is not, and nobody
    /// wants it here.
    fn give_up_found(&mut self, entity: EntityKey) {
        self.delete_found(entity);
        self.loading.finish(entity);
        self.note_claim_settled(entity);
    }

    /// The key with which it was found goes, unless the entity was given to this
    /// node since it was read.
    pub(super) fn delete_found(&mut self, entity: EntityKey) {
        if let Some(version) = self.loading.found(entity) {
            self.stale.delete(keys::owned(self.node, entity), Some(version));
        }
    }

    /// Compares the clocks: a commit that was sent at `sent`, and whose answer
    /// came at `now`, was carried out at the store's `store`. While they differ
    /// nothing is claimed, because a claim's time is this node's.
    pub(super) fn compare_clocks(&mut self, sent: Millis, store: Millis, now: Millis) {
        if store == Millis(0) {
            return;
        }
        let off_ms = sent.since(store).max(store.since(now));
        let may_claim = off_ms <= CLOCKS_DIFFER_MS_MAX;
        if self.may_claim == may_claim {
            return;
        }
        self.may_claim = may_claim;
        self.effects.push(NodeEffect::Claiming { may_claim, off_ms });
        let unclaimed = |key: &EntityKey| self.owned.get(key).is_some_and(|o| o.pace.is_none());
        let waiting: Vec<EntityKey> = self.claiming.iter().copied().filter(unclaimed).collect();
        for entity in waiting {
            self.disown(entity);
            self.loading.want_later(entity);
        }
    }
}
