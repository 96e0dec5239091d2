//! Owns what other nodes offer to this one and is loaded before it is given: the
//! snapshot and the journal so far, so that only the few records since are read
//! when it is to be claimed. Nothing is claimed by it. Called for an
//! [offer](super::handover) and when a load begins.
//!
//! An offer is accepted when its entity is loaded, and not at all when it cannot
//! be: its owner runs it meanwhile and offers it again. Where as many as may be
//! are loaded already it is accepted at once, and loaded when it is given; and so is
//! one that another version of the simulation runs, of which nothing can be run here.
//!
//! Invariant: a bounded number is kept, each until it is claimed or has not been
//! offered for a while.

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
        } else if !is_here && is_same && cluster.ahead.len() < self.limits.loads_ahead {
            cluster.ahead.insert(entity, Early { from, offered: now, begun: now, state: None });
            self.effects.push(NodeEffect::LoadAhead(entity));
            return;
        }
        self.say(from, NodeBody::Accept { entity, version: own });
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
            return;
        };
        let Some(early) = cluster.ahead.get_mut(&entity) else { return };
        early.state = Some(state);
        let from = early.from;
        if may_take {
            self.say(from, NodeBody::Accept { entity, version: self.version() });
        }
    }

    /// What was loaded of an entity that is to be claimed now.
    pub(super) fn take_ahead(&mut self, entity: EntityKey) -> Option<Box<Ahead>> {
        let ahead = &mut self.cluster.as_mut()?.ahead;
        // One that is being loaded keeps its place, so that no more are than may be.
        ahead.get(&entity)?.state.as_ref()?;
        ahead.remove(&entity)?.state
    }

    /// Whether others may give this node something.
    pub(super) fn may_take(&self) -> bool {
        self.phase == Phase::Running && self.may_claim && !self.settling && !self.away
    }
}
