//! Owns what passes between a sector and the world around it: units that leave
//! and arrive, and what a sector must know to step. Never moves anything.
//! Called by sectors' entities. Invariant: a unit is in a sector's state or in
//! a [`Traveller`], never in both.

use serde::{Deserialize, Serialize};

use super::{Galaxy, Order, Rules, Unit};
use crate::base::SectorId;

/// The most orders that wait behind the one a unit carries out.
pub const QUEUE_MAX: usize = 16;
/// Units in warp are in sectors of this scale.
pub const WARP_SCALE: u8 = 4;
/// How many steps a unit stands before it is in warp.
pub const WARP_WAIT: u8 = 25;

/// A unit between two sectors, with the orders that wait. Its position is the
/// destination's, its hops are already raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traveller {
    pub unit: Unit,
    /// At most [`QUEUE_MAX`].
    pub queue: Vec<Order>,
}

/// A unit that has left the state of its sector in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    pub to: SectorId,
    pub traveller: Traveller,
}

/// What a sector needs to know of the world to take commands and to step.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    pub rules: &'a Rules,
    pub galaxy: &'a Galaxy,
    /// Which destinations take units now: neighbours, the ancestor of the warp
    /// scale, from there any sector of scale 0. Units for others wait.
    pub open: &'a dyn Fn(SectorId) -> bool,
    /// The sector's own count of steps, which the next one has. It spreads
    /// steering over steps and decides nothing else.
    pub step: u64,
}

impl Surroundings<'_> {
    /// Whether units can be in `sector`: it has room for some of the galaxy's
    /// scale-0 sectors.
    pub fn exists(&self, sector: SectorId) -> bool {
        let first = |column: i64| column.checked_mul(1 << sector.scale.min(62));
        let corner = first(sector.x).zip(first(sector.y));
        corner.is_some_and(|(x, y)| self.galaxy.contains(SectorId::tactical(x, y)))
    }
}
