//! Owns the state hash: blake3 over an entity's canonical snapshot bytes, the
//! first 16 bytes kept. Invariant: the same bytes give the same hash on every
//! target and in every profile.

use serde::{Deserialize, Serialize};

/// 16 bytes of blake3.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StateHash(pub [u8; 16]);

impl StateHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> StateHash {
        let mut kept = [0; 16];
        kept.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        StateHash(kept)
    }
}

impl std::fmt::Display for StateHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for StateHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
