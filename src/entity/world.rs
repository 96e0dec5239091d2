//! Owns what every entity of a galaxy may look up and none may change: the
//! rules, the shape of the galaxy, the number of ledgers. Shape and number are
//! kept in the store from the galaxy's making on, under
//! [`keys::WORLD`], with the rules of that day; the rules
//! that any node has had since are each under [`keys::rules`].
//! Never changes while a node runs.

use serde::{Deserialize, Serialize};

use super::commit::{Check, Expect, Group, Put};
use super::envelope::{self, EnvelopeError, Kind, Logic};
use super::keys;
use crate::base::{EntityKey, PlayerId};
use crate::sim::{Galaxy, LOGIC_VERSION, Rules};

/// The world an entity lives in. A stored format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    pub galaxy: Galaxy,
    /// Ledger shards; players are spread over them by id.
    pub ledger_shards: u64,
    pub rules: Rules,
    /// Of the simulation that runs it: every build has one, and stores none.
    #[serde(skip, default = "built")]
    version: u32,
}

fn built() -> u32 {
    LOGIC_VERSION
}

/// Why bytes are not a world.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    #[error("not a galaxy's row: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("not a galaxy's row: {0}")]
    Payload(String),
}

/// Why bytes are not the rules that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    #[error("not a row of rules: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("not a row of rules: {0}")]
    Payload(String),
    #[error("rules with the hash {got:016x} under the name of {expected:016x}")]
    Hash { expected: u64, got: u64 },
}

/// Rules as they are stored, enveloped.
pub fn rules_row(rules: &Rules) -> Vec<u8> {
    envelope::seal(Kind::Rules, Logic::default(), &rules.to_bytes())
}

/// Stores `rules` under their name, unless they are there.
///
/// `last` is the version of [`keys::RULES_LAST`] when all rules before were read, if
/// it was there.
pub fn rules_group(rules: &Rules, last: Option<u64>) -> Group {
    let key = keys::rules(rules.hash());
    let expect = last.map_or(Expect::Absent, Expect::Version);
    let last = keys::RULES_LAST.to_vec();
    let checks = vec![
        Check { key: key.clone(), expect: Expect::Absent },
        Check { key: last.clone(), expect },
    ];
    let hash = rules.hash().to_be_bytes().to_vec();
    let puts =
        vec![Put { key, value: Some(rules_row(rules)) }, Put { key: last, value: Some(hash) }];
    Group { checks, puts, append: None }
}

/// The inverse of [`rules_row`], of the rules with this hash.
///
/// # Errors
/// When `row` holds no rules in a format this build reads, or others.
pub fn read_rules(hash: u64, row: &[u8]) -> Result<Rules, RulesError> {
    let (_, payload) = envelope::open(Kind::Rules, row)?;
    let rules =
        Rules::from_bytes(payload).map_err(|error| RulesError::Payload(error.to_string()))?;
    let got = rules.hash();
    if got == hash { Ok(rules) } else { Err(RulesError::Hash { expected: hash, got }) }
}

impl World {
    /// A galaxy that this build runs by these rules.
    pub fn new(galaxy: Galaxy, ledger_shards: u64, rules: Rules) -> World {
        World { galaxy, ledger_shards, rules, version: LOGIC_VERSION }
    }

    /// The same galaxy by other rules.
    pub fn with_rules(&self, rules: Rules) -> World {
        World { rules, ..self.clone() }
    }

    /// The same as another version of the simulation would name it.
    pub fn of_version(self, version: u32) -> World {
        World { version, ..self }
    }

    /// What a record made in this world needs to be replayed.
    pub fn logic(&self) -> Logic {
        Logic { version: self.version, rules: self.rules.hash() }
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
        let world = World::new(galaxy, 64, sample::rules().unwrap());
        let bytes = world.to_bytes();
        assert_eq!(World::from_bytes(&bytes), Ok(world));
        for end in 0..bytes.len() {
            assert!(World::from_bytes(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn rules_come_back_by_their_hash_and_no_others() {
        let rules = sample::rules().unwrap();
        let (row, hash) = (rules_row(&rules), rules.hash());
        assert_eq!(read_rules(hash, &row), Ok(rules));
        let other = RulesError::Hash { expected: hash ^ 1, got: hash };
        assert_eq!(read_rules(hash ^ 1, &row), Err(other));
        for end in 0..row.len() {
            assert!(read_rules(hash, &row[..end]).is_err());
        }
    }

    #[test]
    fn a_row_of_an_older_form_is_refused_by_its_kind() {
        let galaxy = Galaxy::new(7, Galaxy::SIDE).unwrap();
        let world = World::new(galaxy, 64, sample::rules().unwrap());
        let mut bytes = world.to_bytes();
        for got in [5, 9] {
            bytes[0] = got;
            let expected = EnvelopeError::Kind { expected: Kind::Galaxy, got };
            assert_eq!(World::from_bytes(&bytes), Err(WorldError::Envelope(expected)));
        }
    }
}
