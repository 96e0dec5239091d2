//! Owns the words for what a packet did to a view. Never applies one (`cells`
//! does).

use crate::base::UnitId;
use crate::protocol::UnitRecord;

/// Differences told of one keyframe; more say no more.
pub const DIFFERENCES_MAX: usize = 8;

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The view is now at this tick.
    At(u64),
    /// It is older than the view and told nothing.
    Stale,
    /// Something between the view and it is missing: ask for a keyframe. What
    /// is missing is not known until then.
    Gap,
    /// A keyframe was not what the view said; the view is the keyframe's now.
    Desync { tick: u64, differences: Vec<Difference> },
}

/// One unit that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub unit: UnitId,
    /// What the client had made of earlier packets.
    pub rebuilt: Option<UnitRecord>,
    pub keyframe: Option<UnitRecord>,
}
