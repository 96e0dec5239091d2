//! Owns what every entity of a galaxy may look up and none may change: the
//! rules, the shape of the galaxy, the number of ledgers. Kept in the store
//! from the galaxy's making on, under [`keys::WORLD`](super::keys::WORLD).
//! Never changes while a node runs.

use serde::{Deserialize, Serialize};

use super::envelope::{self, EnvelopeError, Kind, Logic};
use crate::base::{EntityKey, PlayerId};
use crate::sim::{Galaxy, LOGIC_VERSION, Rules};

/// The world an entity lives in. A stored format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    pub galaxy: Galaxy,
    /// Ledger shards; players are spread over them by id.
    pub ledger_shards: u64,
    pub rules: Rules,
}

/// Why bytes are not a world.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    #[error("not a galaxy's row: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("not a galaxy's row: {0}")]
    Payload(String),
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

    /// The world as it is stored, enveloped.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let at = envelope::start(Kind::Galaxy, Logic::default(), &mut out);
        super::append(self, &mut out);
        envelope::finish(at, &mut out);
        out
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// When `bytes` is no world in a format this build reads, or its rules are
    /// out of range.
    pub fn from_bytes(bytes: &[u8]) -> Result<World, WorldError> {
        let (_, payload) = envelope::open(Kind::Galaxy, bytes)?;
        postcard::from_bytes(payload).map_err(|error| WorldError::Payload(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::rules::sample;

    #[test]
    fn bytes_bring_the_world_back_or_are_refused() {
        let galaxy = Galaxy::new(7, Galaxy::SIDE).unwrap();
        let world = World { galaxy, ledger_shards: 64, rules: sample::rules().unwrap() };
        let bytes = world.to_bytes();
        assert_eq!(World::from_bytes(&bytes), Ok(world));
        for end in 0..bytes.len() {
            assert!(World::from_bytes(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn a_row_of_an_older_form_is_refused_by_its_kind() {
        let galaxy = Galaxy::new(7, Galaxy::SIDE).unwrap();
        let world = World { galaxy, ledger_shards: 64, rules: sample::rules().unwrap() };
        let mut bytes = world.to_bytes();
        for got in [5, 9] {
            bytes[0] = got;
            let expected = EnvelopeError::Kind { expected: Kind::Galaxy, got };
            assert_eq!(World::from_bytes(&bytes), Err(WorldError::Envelope(expected)));
        }
    }
}
