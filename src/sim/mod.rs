//! Owns what happens in the world: units, orders, courses, sectors, the place
//! of things in the galaxy. Never does I/O, reads a clock or knows a message.
//! Called by the entities, and by clients that predict. Invariant: the same
//! inputs give the same bits on every target, in debug and release.

pub mod changes;
pub mod course;
pub mod galaxy;
pub mod golden;
pub mod mesh;
pub mod orders;
pub mod rules;
pub mod sector;
pub mod shadow;
pub mod travel;
pub mod unit;
pub mod waypoint;

pub use changes::Changes;
pub use course::{Course, Speed};
pub use galaxy::Galaxy;
pub use orders::{
    Accepted, Command, Instruction, Invalid, Recipients, Refusal, Refused, Target, UnitIds,
};
pub use rules::{Rules, UnitType, UnitTypeId};
pub use sector::{SectorState, SnapshotError};
pub use travel::{Leaving, Surroundings, Traveller};
pub use unit::{Order, Unit, UnitState};
pub use waypoint::Waypoint;

/// The logic's version, named by every record and snapshot: raised by every
/// change that changes a bit of any state.
pub const LOGIC_VERSION: u32 = 8;

/// Milliseconds that one step of a sector takes.
pub const STEP_MS: u64 = 200;
