//! Owns what is kept of a process that ended of itself while it ran an entity's code:
//! which entity that was, and how far it had got. A stored format, under
//! [`keys::attempt`](super::keys), a row for each such end: so whoever finds one puts
//! it without reading, and twice is as good as once. Never says what follows from it
//! (`cluster::core::suspects` does). Deleted when the entity has gone on beyond that
//! tick, or is parked.

use serde::{Deserialize, Serialize};

use super::commit::Put;
use super::envelope::{self, Kind};
use super::keys;
use crate::base::{EntityKey, Incarnation, NodeId, Tick};

/// How a process ended. Stored: variants are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// The entity's code did not come back, and the watchdog ended the process.
    Silent,
    /// The entity's code aborted the process: a stack that overflowed, a panic behind
    /// a panic, memory that there was not.
    Aborted,
}

/// An end of a process that is an entity's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub entity: EntityKey,
    /// The process that ended.
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// As far as the entity had got.
    pub tick: Tick,
    pub how: How,
}

impl Attempt {
    /// The process that ended.
    pub fn process(&self) -> (NodeId, Incarnation) {
        (self.node, self.incarnation)
    }

    pub fn key(&self) -> Vec<u8> {
        keys::attempt(self.entity, self.node, self.incarnation)
    }

    /// Has it kept.
    pub fn put(&self) -> Put {
        let row = envelope::seal_row(Kind::Attempt, &(self.tick, self.how));
        Put { key: self.key(), value: Some(row) }
    }

    /// What [`put`](Self::put) put; `None` when it is no such row.
    pub fn from_row(key: &[u8], bytes: &[u8]) -> Option<Attempt> {
        let (entity, node, incarnation) = keys::parse_attempt(key)?;
        let (tick, how) = envelope::open_row(Kind::Attempt, bytes)?;
        Some(Attempt { entity, node, incarnation, tick, how })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_bring_it_back_or_are_refused() {
        let (entity, node, tick) = (EntityKey::Ledger(7), NodeId(3), Tick(1 << 41));
        for how in [How::Silent, How::Aborted] {
            let attempt = Attempt { entity, node, incarnation: Incarnation(9), tick, how };
            let (key, row) = (attempt.key(), attempt.put().value.unwrap());
            assert_eq!(Attempt::from_row(&key, &row), Some(attempt));
            for end in 0..row.len() {
                assert_eq!(Attempt::from_row(&key, &row[..end]), None);
            }
            assert_eq!(Attempt::from_row(&key[..key.len() - 1], &row), None);
        }
    }
}
