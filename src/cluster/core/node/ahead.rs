//! Owns what other nodes offer to this one and is loaded before it is given: the
//! snapshot and the journal so far, so that only the few records since are read
//! when it is to be claimed. Nothing is claimed by it. Called for an
//! [offer](super::handover) and when a load begins.
//!
//! An offer is accepted when its entity is loaded, and not at all when it cannot
//! be: its owner runs it meanwhile and offers it again. Where as many as may be
//! are loaded already it waits its turn. Only what another version of the simulation
//! runs is accepted unseen, because nothing of it can be run here.
//!
//! Invariants: whoever accepts what its own version runs has loaded it; a bounded
//! number is kept, and a bounded number of offers waits, each until it is claimed or
//! has not been offered for a while. What has no place is not answered.

use super::cluster::Cluster;
use super::{NodeCore, NodeEffect, Phase};
use crate::base::{EntityKey, Millis, NodeId};
use crate::cluster::core::loading::{Ahead, LoadError};
use crate::cluster::core::message::NodeBody;

/// What was loaded is kept so long behind the last offer: by then the hand-over
/// is through, or the owner has offered it again several times.
const KEPT_MS: u64 = 5000;

/// An entity that another node offers.
#[derive(Debug)]
pub(super) struct Early {
    from: NodeId,
    offered: Millis,
    /// When its loading began.
    begun: Millis,
    /// `None` while it is loaded.
    state: Option<Box<Ahead>>,
}

impl Early {
    /// One that is being loaded keeps its place until that has ended.
    pub fn is_wanted(&self, now: Millis) -> bool {
        self.state.is_none() || now.since(self.offered) < KEPT_MS
    }
}

/// An offer that waits for a place among what is loaded ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    from: NodeId,
    offered: Millis,
}

impl Waits {
    pub fn is_wanted(&self, now: Millis) -> bool {
        now.since(self.offered) < KEPT_MS
    }
}

impl NodeCore {
    /// Another node wants to give this one an entity that it runs by this version.
    pub(super) fn handle_offer(
        &mut self,
        entity: EntityKey,
        version: u32,
        from: NodeId,
        now: Millis,
    ) {
        let (own, is_same) = (self.version(), version == self.version());
        if !self.may_take() {
            return;
        }
        let is_here = self.owned.contains_key(&entity);
        let Some(cluster) = &mut self.cluster else { return };
        if let Some(early) = cluster.ahead.get_mut(&entity) {
            (early.from, early.offered) = (from, now);
            if early.state.is_none() {
                return;
            }
            if now.since(early.begun) >= KEPT_MS {
                // Its owner did not hear, and has gone on for long.
                (early.state, early.begun) = (None, now);
                self.effects.push(NodeEffect::LoadAhead(entity));
                return;
            }
        } else if !is_here && is_same {
            let has_place = cluster.offers.len() < self.limits.leaving;
            if has_place || cluster.offers.contains_key(&entity) {
                cluster.offers.insert(entity, Waits { from, offered: now });
            }
            return;
        }
        self.say(from, NodeBody::Accept { entity, version: own });
    }

    /// Loads what was offered, as far as there are places.
    pub(super) fn load_offered(&mut self, now: Millis) {
        if !self.may_take() {
            return;
        }
        let Some(cluster) = &mut self.cluster else { return };
        while cluster.ahead.len() < self.limits.loads_ahead
            && let Some((entity, Waits { from, offered })) = cluster.offers.pop_first()
        {
            cluster.ahead.insert(entity, Early { from, offered, begun: now, state: None });
            self.effects.push(NodeEffect::LoadAhead(entity));
        }
    }

    /// What was offered is loaded, or cannot be.
    pub(super) fn handle_loaded_ahead(
        &mut self,
        entity: EntityKey,
        ahead: Result<Box<Ahead>, LoadError>,
    ) {
        let may_take = self.may_take();
        let Some(cluster) = &mut self.cluster else { return };
        let Ok(state) = ahead else {
            cluster.ahead.remove(&entity);
            return self.look_elsewhere(entity);
        };
        let Some(early) = cluster.ahead.get_mut(&entity) else { return };
        early.state = Some(state);
        let from = early.from;
        if may_take {
            self.say(from, NodeBody::Accept { entity, version: self.version() });
        }
    }

    /// The node that runs an entity still and offers it to this one.
    pub(super) fn offered_by(&self, entity: EntityKey) -> Option<NodeId> {
        let Cluster { ahead, offers, .. } = self.cluster.as_ref()?;
        let ahead = ahead.get(&entity).map(|early| early.from);
        ahead.or_else(|| offers.get(&entity).map(|waits| waits.from))
    }

    /// Whether another node offers an entity that somebody here wants to see or
    /// command. It runs there until it is given: who wants it now is sent there as
    /// long as that takes, and then hears of it when it is here.
    pub(super) fn is_offered(&mut self, entity: EntityKey) -> bool {
        let Some(Cluster { ahead, offers, .. }) = &self.cluster else { return false };
        if self.loading.is_wanted(entity) {
            // It is on its way.
            return false;
        }
        match (ahead.get(&entity), offers.get(&entity)) {
            (Some(Early { state: Some(_), .. }), _) => _ = self.sought.insert(entity),
            (Some(Early { from, .. }), _) | (None, Some(Waits { from, .. })) => {
                self.effects.push(NodeEffect::Elsewhere(entity, *from));
            }
            (None, None) => return false,
        }
        true
    }

    /// Forgets what has not been offered for a while.
    pub(super) fn forget_offers(&mut self, now: Millis) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.offers.retain(|_, waits| waits.is_wanted(now));
        let late = cluster.ahead.extract_if(.., |_, early| !early.is_wanted(now));
        let late: Vec<EntityKey> = late.map(|(entity, _)| entity).collect();
        late.into_iter().for_each(|entity| self.look_elsewhere(entity));
    }

    /// It will not be given here: who waited for that is sent to where it is.
    fn look_elsewhere(&mut self, entity: EntityKey) {
        if self.sought.remove(&entity) {
            self.handle_wake(entity);
        }
    }

    /// What was loaded of an entity that is to be claimed now.
    pub(super) fn take_ahead(&mut self, entity: EntityKey) -> Option<Box<Ahead>> {
        let Cluster { ahead, offers, .. } = self.cluster.as_mut()?;
        offers.remove(&entity);
        // One that is being loaded keeps its place, so that no more are than may be.
        ahead.get(&entity)?.state.as_ref()?;
        ahead.remove(&entity)?.state
    }

    /// Whether others may give this node something.
    pub(super) fn may_take(&self) -> bool {
        self.phase == Phase::Running && self.may_claim && !self.settling && !self.away
    }
}
