//! Owns where what sectors cast beyond their borders goes: to the table of the sector
//! that it falls on, or, when the row says the tick, to the node that this sector belongs
//! to. Has a sector woken that sleeps here when somebody moves just beyond its border, or
//! has come there.
//! Never looks at a unit. Called by the [core](super) for its tables and for other nodes.
//!
//! Invariants: what another node cast goes on only to the node that offers this one the
//! sector, which runs it still; of what waits for the row there is as much as one world
//! tick's, and what is dropped is cast again with the next; a sector is looked for once in
//! [`LOOK_TICKS`], however many pass by, and only while little else is to be loaded.

use std::collections::{BTreeSet, VecDeque};

use super::routes::Route;
use super::{NodeCore, NodeEffect, Phase};
use crate::base::{EntityKey, NodeId, Tick};
use crate::cluster::core::message::ToTable;
use crate::cluster::core::shadows::{Cast, Caster};

/// A sector that does not run is looked for again after so many ticks.
const LOOK_TICKS: u64 = 100;
/// Sectors that were looked for and are remembered: beyond it no more are.
const LOOKED_MAX: usize = 16_384;

/// What the core has to do with shadows.
#[derive(Debug, Default)]
pub(super) struct Casting {
    /// What may leave when the row says that tick.
    outgoing: VecDeque<(Tick, NodeId, Cast)>,
    /// Sectors that do not run and were looked for lately; and when, in order.
    looked: BTreeSet<EntityKey>,
    looks: VecDeque<(Tick, EntityKey)>,
}

impl Casting {
    /// Whether a sector that does not run is to be looked for now.
    fn looks_for(&mut self, entity: EntityKey, now: Tick) -> bool {
        while let Some((_, again)) = self.looks.pop_front_if(|(at, _)| now.since(*at) >= LOOK_TICKS)
        {
            self.looked.remove(&again);
        }
        let is_due = self.looks.len() < LOOKED_MAX && self.looked.insert(entity);
        if is_due {
            self.looks.push_back((now, entity));
        }
        is_due
    }
}

impl NodeCore {
    /// Whose casts those of this node are.
    pub fn caster(&self) -> Caster {
        Caster { node: self.node, incarnation: self.incarnation }
    }

    /// What the sectors of a table cast.
    pub(super) fn handle_casts(&mut self, casts: Vec<Cast>) {
        let mut here = vec![Vec::new(); self.places.tables().count()];
        for cast in casts {
            let Some(to) = cast.to().map(EntityKey::Sector) else { continue };
            if self.owned.contains_key(&to) {
                here[self.places.of(to)].push(cast);
                continue;
            }
            match self.route(to) {
                Route::Here => self.cast_to_sleeper(to, cast),
                Route::There(node) => self.cast_to(node, cast),
                Route::Nowhere => {}
            }
        }
        self.cast_here(here);
    }

    /// What sectors of other nodes cast on some that are to be here. Where a directory
    /// was stale, the next cast goes elsewhere; what an incarnation says that has ended
    /// is not heeded.
    pub(super) fn handle_casts_from(&mut self, casts: Vec<(Caster, Cast)>) {
        let mut here = vec![Vec::new(); self.places.tables().count()];
        for (caster, cast) in casts {
            let members = self.cluster.as_ref().map(|cluster| &cluster.members);
            if !members.is_some_and(|it| it.may_speak(caster.node, caster.incarnation)) {
                self.counts.unheeded += 1;
                continue;
            }
            let Some(to) = cast.to().map(EntityKey::Sector) else { continue };
            if !self.world.galaxy.contains(cast.from) {
                self.counts.unheeded += 1;
            } else if self.owned.contains_key(&to) {
                here[self.places.of(to)].push(cast);
            } else if self.is_ours(to) {
                self.cast_to_sleeper(to, cast);
            }
        }
        self.cast_here(here);
    }

    fn cast_here(&mut self, here: Vec<Vec<Cast>>) {
        for (table, casts) in here.into_iter().enumerate() {
            if !casts.is_empty() {
                self.effects.push(NodeEffect::ToTable(table, ToTable::Shadows(casts)));
            }
        }
    }

    /// On a sector that belongs here and does not run here: who offers it runs it still.
    /// If it sleeps and has a record, what is in it is to see who comes.
    fn cast_to_sleeper(&mut self, sector: EntityKey, cast: Cast) {
        if let Some(node) = self.offered_by(sector) {
            return self.cast_to(node, cast);
        }
        // Half of the places stay free for what a message or a player waits for.
        let is_calm = self.phase == Phase::Running && self.loading.waits() < self.limits.loads / 2;
        if is_calm && cast.wakes() && self.casting.looks_for(sector, self.tick) {
            self.handle_wake(sector);
        }
    }

    /// To another node, when the row says the tick that is now. The row moves by itself:
    /// nobody waits for a shadow.
    fn cast_to(&mut self, node: NodeId, cast: Cast) {
        let casting = &mut self.casting;
        if casting.outgoing.is_empty() && self.durable >= self.tick {
            self.effects.push(NodeEffect::Cast(node, cast));
        } else if casting.outgoing.len() < self.limits.waiting_for_nodes {
            casting.outgoing.push_back((self.tick, node, cast));
        } else {
            self.counts.dropped += 1;
        }
    }

    /// The row says more: what waited for it leaves.
    pub(super) fn cast_waiting(&mut self) {
        while let Some((tick, ..)) = self.casting.outgoing.front()
            && *tick <= self.durable
            && let Some((_, node, cast)) = self.casting.outgoing.pop_front()
        {
            self.effects.push(NodeEffect::Cast(node, cast));
        }
    }
}
