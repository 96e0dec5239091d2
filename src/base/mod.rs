//! Owns the words everything else is written in: ids, places, keys, time, the
//! state hash; and how bytes are made shorter. Never does I/O, reads a clock or uses a float. Imported by
//! every other module, imports none. Invariant: every function here is total;
//! the extremes of `i64` and scale 255 are ordinary values.

pub mod deflate;
pub mod draw;
pub mod fixed;
pub mod galaxy_position;
pub mod geometry;
pub mod hash;
pub mod ids;
pub mod key;
pub mod place;
pub mod time;

pub use galaxy_position::GalaxyPosition;
pub use geometry::{Position, SectorId};
pub use hash::StateHash;
pub use ids::{FleetId, Incarnation, NodeId, PlayerId, SessionId, UnitId};
pub use key::{EntityKey, KeyError};
pub use place::CompressedPosition;
pub use time::{Millis, Tick};
