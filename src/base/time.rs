//! Owns the two measures of time that state may contain. Never reads a clock:
//! a tick comes from the ticker, a millisecond from a journalled record.

use serde::{Deserialize, Serialize};

/// Milliseconds between two ticks of a node.
pub const TICK_MS: u64 = 100;

/// A count of ticks of 100 ms: a node's own, or an entity's own. Which of the
/// two is said by the field that holds it; they are never compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick `n` later, saturating at the end of time.
    pub fn after(self, n: u64) -> Tick {
        Tick(self.0.saturating_add(n))
    }

    /// Ticks from `earlier` to this one, 0 if it is not earlier.
    pub fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since the Unix epoch, as the owner of an entity stamped them;
/// within one entity they never decrease.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Millis(pub u64);

impl Millis {
    /// Milliseconds from `earlier` to this one, 0 if it is not earlier.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
