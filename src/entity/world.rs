//! Owns what every entity of a galaxy may look up and none may change: the
//! rules, the shape of the galaxy, the number of ledgers. Kept in the store
//! from the galaxy's making on. Never changes while a node runs.

use super::envelope::Logic;
use crate::base::{EntityKey, PlayerId};
use crate::sim::{Galaxy, LOGIC_VERSION, Rules};

/// The world an entity lives in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    pub rules: Rules,
    pub galaxy: Galaxy,
    /// Ledger shards; players are spread over them by id.
    pub ledger_shards: u64,
}

impl World {
    /// What a record made in this world needs to be replayed.
    pub fn logic(&self) -> Logic {
        Logic { version: LOGIC_VERSION, rules: self.rules.hash() }
    }

    /// The ledger that keeps `player`.
    pub fn ledger_of(&self, player: PlayerId) -> EntityKey {
        EntityKey::Ledger(player.0 % self.ledger_shards.max(1))
    }
}
