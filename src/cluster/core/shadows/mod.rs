//! Owns how sectors know of the units just beyond their borders: what one casts on those
//! around it ([`Cast`]), in which datagrams that goes to another node ([`datagram`]),
//! over which links ([`ways`]), and what a sector holds of it ([`Shadows`]). Never
//! journalled and never acted on: what is to happen because of a shadow must become an
//! input first.
//!
//! ```text
//!   table ──(every world tick)──> core ──> table of the sector beyond, if it runs here
//!                                  │  └──> has it woken, if it sleeps here and somebody comes
//!                                  └─(behind the row)──> its node, or a coordinator for it
//! ```
//!
//! Invariants: a cast says all of the units it covers, so that one that is lost costs
//! nothing but time; of one unit only what has the most hops is seen; what nobody says
//! again for three world ticks is gone.

pub mod datagram;
mod held;
pub mod ways;

use std::sync::Arc;

pub use held::{Seen, Shadows};

use crate::base::{Incarnation, Millis, NodeId, SectorId, Tick, UnitId};
use crate::entity::kinds::sector::TICKS_PER_STEP;
use crate::sim::shadow::{Border, Shadow};

/// All units of a sector near one of its borders whose ids are in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    pub from: SectorId,
    pub border: Border,
    /// The sector's own.
    pub tick: Tick,
    /// Its node's clock.
    pub time: Millis,
    /// Somebody in it has just come, from wherever.
    pub has_news: bool,
    /// The range: ids above this one,
    pub above: UnitId,
    /// and up to this one.
    pub upto: UnitId,
    /// In order of ids.
    pub units: Arc<[Shadow]>,
}

impl Cast {
    /// Of all ids.
    pub fn whole(from: SectorId, border: Border, at: (Tick, Millis), units: Arc<[Shadow]>) -> Cast {
        let (above, upto) = (UnitId(0), UnitId(u64::MAX));
        Cast { from, border, tick: at.0, time: at.1, has_news: false, above, upto, units }
    }

    /// The sector that it falls on, if there is one in that direction.
    pub fn to(&self) -> Option<SectorId> {
        self.from.neighbour(self.border.dx.into(), self.border.dy.into())
    }

    /// Counts world ticks.
    pub fn turn(&self) -> u64 {
        self.tick.0 / TICKS_PER_STEP
    }

    /// Whether who sleeps there is to see that: somebody has come, comes or passes by.
    pub fn wakes(&self) -> bool {
        self.has_news || self.units.iter().any(Shadow::is_moving)
    }
}

/// Whose cast it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caster {
    pub node: NodeId,
    pub incarnation: Incarnation,
}
