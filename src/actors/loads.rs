//! Owns what this node says of its load, put together from what its threads were
//! measured to do, and what it heard of the other nodes' while it is the one that
//! plans. Never decides what counts (`balance::Told` does) nor when it is said
//! (`steering::balancer` does). Invariant: nothing here is needed to run a sector.

use std::sync::{Mutex, PoisonError};

use super::entities::Entities;
use super::ticker::TableHandle;
use crate::base::{Incarnation, Millis, NodeId};
use crate::cluster::core::balance::{NodeTold, RestLoad, SECTORS_TOLD_MAX, SectorLoad, Told};
use crate::cluster::core::update::TimestampedUpdate;

/// What was heard; bounded by what each node may tell.
#[derive(Default)]
pub struct Loads(Mutex<Told>);

impl Loads {
    /// An incarnation of `node` told its load.
    pub fn note(
        &self,
        (node, incarnation): (NodeId, Incarnation),
        update: TimestampedUpdate<NodeTold>,
        now: Millis,
    ) {
        // Whoever it says it is, it is who the link is with.
        let update = TimestampedUpdate { server_id: node, ..update };
        self.read(|told| told.note(incarnation, update, now));
    }

    /// Lets `look` at what was heard; it must not take long.
    pub fn read<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entities {
    /// What this node says of its load now.
    pub async fn load(&self) -> NodeTold {
        let observed = self.view.observed(SECTORS_TOLD_MAX).await;
        let told = self.computed(Entities::load_now).await;
        NodeTold { observed, round_trips: self.mesh.round_trips(), ..told }.bounded()
    }

    fn load_now(&self) -> NodeTold {
        let (mut sectors, mut rest, mut other_us) = (Vec::new(), RestLoad::default(), 0_u32);
        for (costs, other) in self.about.tables().iter().map(TableHandle::measured) {
            sectors.extend(costs.sectors);
            rest = rest.plus(costs.rest);
            other_us = other_us.saturating_add(other);
        }
        let rank =
            |load: &SectorLoad| (std::cmp::Reverse((load.cost_us, load.players)), load.sector);
        sectors.sort_unstable_by_key(rank);
        NodeTold {
            directory: self.mesh.directory_version(),
            leaving: self.leaving_now(),
            capacity: self.about.capacity(),
            other_us,
            sectors,
            rest,
            ..NodeTold::default()
        }
    }
}
