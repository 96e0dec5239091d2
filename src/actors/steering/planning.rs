//! Owns how a plan is made because an operator wants one: all nodes are asked what
//! they say of their load, and a strategy weighs it, as the node that plans does by
//! itself. Never commits it.

use super::{SteerError, Steering};
use crate::actors::peers::{PeerAnswer, PeerQuestion};
use crate::base::NodeId;
use crate::cluster::core::balance::{LoadBalanceStrategy, Plan, Settings, Told, plan};
use crate::cluster::core::shares;
use crate::cluster::core::update::TimestampedUpdate;

/// A plan, and what it was made from.
pub struct Planned {
    pub plan: Plan,
    /// Living nodes that did not say what they do: nothing but what must move
    /// does.
    pub silent: Vec<NodeId>,
    /// Sectors that run and were told as a sum, as there are too many.
    pub untold: u64,
}

impl Steering {
    /// What `strategy` would change now, also of what operators moved.
    ///
    /// # Errors
    /// When this node is in no cluster.
    pub async fn plan(&self, strategy: LoadBalanceStrategy) -> Result<Planned, SteerError> {
        let map = self.map()?;
        let answers = self.ask(&map, PeerQuestion::Load).await;
        let (now, mut told) = (self.entities.time().1, Told::default());
        for (node, answer) in answers {
            let standing = map.nodes.get(&node);
            if let (Some(PeerAnswer::Load(data)), Some(standing)) = (answer, standing) {
                let update = TimestampedUpdate { data: *data, timestamp: now, server_id: node };
                told.note(standing.incarnation, update, now);
            }
        }
        let load = told.load(&map, now);
        let untold = load.nodes.iter().map(|node| node.rest.count).sum();
        // An order to balance is newer than one to move something.
        let settings = Settings { heeds_pins: false, ..self.settings(strategy) };
        let plan = plan(&map.directory, &load, &settings);
        Ok(Planned { plan, silent: told.silent(&map, now), untold })
    }

    /// How this galaxy is balanced.
    pub(super) fn settings(&self, strategy: LoadBalanceStrategy) -> Settings {
        let kept_scale = shares::region_scale(&self.entities.world.galaxy);
        Settings { strategy, kept_scale, ..Settings::default() }
    }
}
