//! Owns the wire form of what clients see of a sector: packets of blocks, one
//! block per cell, in two forms: bit-packed columns (`columns`, `packet`) and
//! named fields (`named`). Never knows a rule of movement (`view` does).
//! Called by the stage, which writes, and by clients, which read. Invariant:
//! reading never panics and takes memory in proportion to the bytes given;
//! what was read is within the ranges stated here.

pub mod bits;
pub mod columns;
pub mod json;
pub mod msgpack;
pub mod named;
pub mod packet;

use serde::{Deserialize, Serialize};

use super::{Course, UnitRecord};
use crate::base::{PlayerId, UnitId};

/// Cells of a sector.
pub const CELL_COUNT: usize = 64;
/// The most units that one message may hold.
pub const UNITS_MAX: usize = 1 << 17;
/// The most bytes that the deflated blocks of one message may hold together.
pub const INFLATED_MAX: usize = 4 * 1024 * 1024;
/// The side of a cell is 2^17 grid steps.
pub const CELL_BITS: u32 = 17;

/// What observers of a unit know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub unit: UnitRecord,
    /// Grid steps per step at which its next course is flown. Columns only, in
    /// the named form 0: there a course is told, not computed.
    pub speed: u32,
}

/// A point that courses aim at: grid points 2^9 steps apart, 12 bits per axis,
/// the first 1,024 of them before the sector's origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waypoint {
    pub x: u16,
    pub y: u16,
}

/// One of the eight neighbours of a cell or of a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Direction(u8);

/// What happened to one unit of a cell, beyond what its course told. It holds
/// before the step's movement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub course: Option<CourseChange>,
    pub speed: Option<u32>,
    /// Added to the health.
    pub health: Option<i32>,
    /// Bits that are flipped, after the course has set or cleared the lowest.
    pub state: Option<u8>,
    pub owner: Option<PlayerId>,
    /// Where the course does not tell it.
    pub heading: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CourseChange {
    /// It stands.
    Stand,
    /// It flies to the waypoint, at its speed.
    To(Waypoint),
    Exact(Course),
}

/// Where a unit of a cell went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Into the neighbouring cell.
    To(Direction),
    /// Out of the sector, out of sight, or out of the world.
    Gone,
}

/// What a client is told of a place at one tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Set in a keyframe, which begins everything anew.
    pub full_tick: Option<u64>,
    /// Counts, mod 256, how often the mask or the cloaked units were told.
    pub scope: u8,
    /// The cells the client sees, bit 8 y + x, when it changed.
    pub mask: Option<u64>,
    pub blocks: Vec<Block>,
}

/// What a client is told of one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// 8 y + x; 0 for the cloaked units, which are of no cell.
    pub cell: u8,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// What changed since the cell's previous block.
    Update(Update),
    /// All units of the cell, by id.
    Keyframe(Vec<Seen>),
    /// Units that came from the neighbouring cell there, by id.
    Arrivals(Direction, Vec<Seen>),
    /// All cloaked units that the client sees, by id.
    Cloaked(Vec<Seen>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// How many ticks before this message the cell's previous block was.
    pub base: u32,
    pub happened: Happened,
    /// New in the cell, as they are at the message's tick, by id.
    pub appeared: Vec<Seen>,
}

/// What happened to the units that were in the cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// By place in the cell's units in order of ids. Changes hold before the
    /// step's movement, departures after it.
    Columns { changes: Vec<(u32, Change)>, departures: Vec<(u32, Departure)> },
    /// By id; changes hold after the step's movement.
    Named { changes: Vec<named::UnitDelta>, departures: Vec<named::Departed> },
}

/// Bytes that are no packet. Nothing happened to the view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error("a block ends before what it should hold")]
    Short,
    #[error("a block goes on behind what it holds")]
    Trailing,
    #[error("a message of blocks has at most {0} bytes, or units")]
    TooLong(usize),
    #[error("expected {0}")]
    Value(&'static str),
    #[error("a deflated block cannot be inflated")]
    Deflate,
    #[error("not a message of blocks: {0}")]
    Text(String),
}

impl Direction {
    /// Those beside first, then those at the corners, each counted from +x
    /// towards +y.
    pub const ALL: [Direction; 8] = [
        Direction(0),
        Direction(1),
        Direction(2),
        Direction(3),
        Direction(4),
        Direction(5),
        Direction(6),
        Direction(7),
    ];
    const OFFSETS: [(i32, i32); 8] =
        [(1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1), (1, -1)];

    /// The one of this number, 0 to 7.
    pub fn new(number: u8) -> Option<Direction> {
        (number < 8).then_some(Direction(number))
    }

    /// Its place in [`ALL`](Self::ALL).
    pub fn number(self) -> u8 {
        self.0
    }

    /// Columns and rows to go.
    pub fn offset(self) -> (i32, i32) {
        Self::OFFSETS[usize::from(self.0)]
    }

    /// The one with this offset.
    pub fn of_offset(offset: (i32, i32)) -> Option<Direction> {
        Self::ALL.into_iter().find(|direction| direction.offset() == offset)
    }

    #[must_use]
    pub fn opposite(self) -> Direction {
        Direction(self.0 & 4 | (self.0 + 2) & 3)
    }

    /// The neighbour of `cell` there, if the sector has it.
    pub fn from_cell(self, cell: u8) -> Option<u8> {
        let (dx, dy) = self.offset();
        let (x, y) = (i32::from(cell & 7) + dx, i32::from(cell >> 3) + dy);
        let inside = (0..8).contains(&x) && (0..8).contains(&y);
        // Both are 0 to 7.
        inside.then_some((y << 3 | x) as u8)
    }
}

impl Waypoint {
    /// The most per axis.
    pub const MAX: u16 = (1 << 12) - 1;
}

impl Seen {
    pub fn id(&self) -> UnitId {
        self.unit.id
    }
}

impl Packet {
    /// Every whole record in it, with its block's cell.
    pub fn records(&self) -> impl Iterator<Item = (u8, &Seen)> {
        self.blocks.iter().flat_map(|block| block.records().map(|seen| (block.cell, seen)))
    }
}

impl Block {
    /// Every whole record in it.
    pub fn records(&self) -> impl Iterator<Item = &Seen> {
        let records = match &self.content {
            Content::Update(update) => &update.appeared,
            Content::Keyframe(units) | Content::Arrivals(_, units) | Content::Cloaked(units) => {
                units
            }
        };
        records.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_lead_there_and_back() {
        for direction in Direction::ALL {
            let (dx, dy) = direction.offset();
            assert_eq!(direction.opposite().offset(), (-dx, -dy));
            assert_eq!(Direction::of_offset((dx, dy)), Some(direction));
            let there = direction.from_cell(27).unwrap();
            assert_eq!(direction.opposite().from_cell(there), Some(27));
        }
        assert_eq!(Direction::ALL[2].from_cell(8), None);
        assert_eq!(Direction::ALL[5].from_cell(56), None);
    }
}
