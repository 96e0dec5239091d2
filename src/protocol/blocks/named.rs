//! Owns the named form of a packet, for JSON and MessagePack: every field has
//! a name and says itself what it means, so that a simple client needs neither
//! places in lists nor the rule by which courses are made. Never moves a unit.
//! Called by the stage and by clients. Invariant: all that it says holds at
//! the message's tick, after the step's movement.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::{Block, BlockError, CELL_COUNT, Content, Direction, Happened, Packet, Seen, Update};
use crate::base::{PlayerId, UnitId};
use crate::protocol::wire::{owner, unit_id};
use crate::protocol::{Course, Point, UnitRecord};

/// Bits of [`UnitDelta::changes`].
pub mod bit {
    pub const POSITION: u32 = 1;
    pub const HEALTH: u32 = 1 << 1;
    pub const STATE: u32 = 1 << 2;
    pub const VELOCITY: u32 = 1 << 3;
    pub const HEADING: u32 = 1 << 4;
    pub const OWNER: u32 = 1 << 5;
    /// Kept for a unit's target.
    pub const TARGET: u32 = 1 << 6;
    /// Position and health are whole values.
    pub const ABSOLUTE: u32 = 1 << 7;
}

/// How a unit differs from what a client predicts by its course.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitDelta {
    #[serde(deserialize_with = "unit_id")]
    pub unit_id: UnitId,
    /// Which of the fields are there, see [`bit`].
    pub changes: u32,
    /// Added to the predicted position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_delta: Option<(i16, i16)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Point>,
    /// Added to the health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_delta: Option<i16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<u16>,
    /// Bits that differ from the predicted state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_changes: Option<u8>,
    /// From the message's tick on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub course: Option<Course>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_owner")]
    pub owner: Option<PlayerId>,
}

/// A unit that is not in the block's cell any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Departed {
    #[serde(deserialize_with = "unit_id")]
    pub unit_id: UnitId,
    /// The cell it is in now; none: it is out of the sector, or out of sight.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_cell")]
    pub cell: Option<u8>,
}

/// What a block says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum NamedContent {
    Update(NamedUpdate),
    Keyframe(Units),
    Arrivals(NamedArrivals),
    Cloaked(Units),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedUpdate {
    pub base: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<UnitDelta>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub departed: Vec<Departed>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub appeared: Vec<UnitRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Units {
    pub units: Vec<UnitRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedArrivals {
    /// The direction of the cell they came from, 0 to 7.
    #[serde(deserialize_with = "direction")]
    pub from: u8,
    pub units: Vec<UnitRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedBlock {
    #[serde(deserialize_with = "cell")]
    pub cell: u8,
    pub content: NamedContent,
}

/// The fields of a StateDelta or Keyframe, beside type, handle and tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedPacket {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_tick: Option<u64>,
    pub scope: u8,
    /// Row by row, the lowest bit for the first cell of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<[u8; 8]>,
    pub blocks: Vec<NamedBlock>,
}

impl NamedContent {
    /// Whole records do not tell speeds: courses are told, not computed.
    pub fn keyframe(units: &[Seen]) -> NamedContent {
        NamedContent::Keyframe(Units { units: records(units) })
    }

    pub fn cloaked(units: &[Seen]) -> NamedContent {
        NamedContent::Cloaked(Units { units: records(units) })
    }

    pub fn arrivals(from: Direction, units: &[Seen]) -> NamedContent {
        NamedContent::Arrivals(NamedArrivals { from: from.number(), units: records(units) })
    }
}

impl UnitDelta {
    /// From what a client `predicted` for the message's tick to what is; `None`
    /// when there is no difference.
    pub fn between(predicted: &UnitRecord, actual: &UnitRecord) -> Option<UnitDelta> {
        let mut delta = UnitDelta { unit_id: actual.id, ..UnitDelta::default() };
        if predicted.position != actual.position {
            delta.changes |= bit::POSITION;
            let small = |to: i32, from: i32| i16::try_from(to.checked_sub(from)?).ok();
            let (to, from) = (actual.position, predicted.position);
            delta.position_delta = small(to.x, from.x).zip(small(to.y, from.y));
        }
        if predicted.health != actual.health {
            delta.changes |= bit::HEALTH;
            let difference = i32::from(actual.health) - i32::from(predicted.health);
            delta.health_delta = i16::try_from(difference).ok();
        }
        let has = |bit: u32, changes: u32| changes & bit != 0;
        let fits = (!has(bit::POSITION, delta.changes) || delta.position_delta.is_some())
            && (!has(bit::HEALTH, delta.changes) || delta.health_delta.is_some());
        if !fits {
            (delta.position_delta, delta.health_delta) = (None, None);
            delta.position = has(bit::POSITION, delta.changes).then_some(actual.position);
            delta.health = has(bit::HEALTH, delta.changes).then_some(actual.health);
            delta.changes |= bit::ABSOLUTE;
        }
        if predicted.state != actual.state {
            delta.changes |= bit::STATE;
            delta.state_changes = Some(predicted.state ^ actual.state);
        }
        if predicted.course != actual.course {
            delta.changes |= bit::VELOCITY;
            delta.course = Some(actual.course);
        }
        if predicted.heading != actual.heading {
            delta.changes |= bit::HEADING;
            delta.heading = Some(actual.heading);
        }
        if predicted.owner != actual.owner {
            delta.changes |= bit::OWNER;
            delta.owner = Some(actual.owner);
        }
        (delta.changes != 0).then_some(delta)
    }

    /// Makes what is of what was predicted.
    pub fn apply(&self, unit: &mut UnitRecord) {
        if let Some((dx, dy)) = self.position_delta {
            unit.position.x = unit.position.x.wrapping_add(dx.into());
            unit.position.y = unit.position.y.wrapping_add(dy.into());
        }
        unit.position = self.position.unwrap_or(unit.position);
        unit.health = unit.health.wrapping_add_signed(self.health_delta.unwrap_or(0));
        unit.health = self.health.unwrap_or(unit.health);
        unit.state ^= self.state_changes.unwrap_or(0);
        unit.course = self.course.unwrap_or(unit.course);
        unit.heading = self.heading.unwrap_or(unit.heading);
        unit.owner = self.owner.unwrap_or(unit.owner);
    }
}

impl TryFrom<NamedPacket> for Packet {
    type Error = BlockError;

    fn try_from(named: NamedPacket) -> Result<Packet, BlockError> {
        if named.blocks.len() > super::packet::BLOCKS_MAX {
            return Err(BlockError::TooLong(super::packet::BLOCKS_MAX));
        }
        let blocks = named.blocks.into_iter().map(Block::try_from).collect::<Result<_, _>>()?;
        let NamedPacket { full_tick, scope, mask, .. } = named;
        Ok(Packet { full_tick, scope, mask: mask.map(u64::from_le_bytes), blocks })
    }
}

impl TryFrom<NamedBlock> for Block {
    type Error = BlockError;

    fn try_from(NamedBlock { cell, content }: NamedBlock) -> Result<Block, BlockError> {
        let content = match content {
            NamedContent::Update(NamedUpdate { base, changed, departed, appeared }) => {
                let happened = Happened::Named { changes: changed, departures: departed };
                Content::Update(Update { base, happened, appeared: seen(appeared)? })
            }
            NamedContent::Keyframe(Units { units }) => Content::Keyframe(seen(units)?),
            NamedContent::Cloaked(Units { units }) => Content::Cloaked(seen(units)?),
            NamedContent::Arrivals(NamedArrivals { from, units }) => {
                let from = Direction::new(from).ok_or(BlockError::Value("a direction"))?;
                Content::Arrivals(from, seen(units)?)
            }
        };
        Ok(Block { cell, content })
    }
}

fn records(units: &[Seen]) -> Vec<UnitRecord> {
    units.iter().map(|seen| seen.unit).collect()
}

fn seen(units: Vec<UnitRecord>) -> Result<Vec<Seen>, BlockError> {
    if !units.is_sorted_by(|a, b| a.id < b.id) {
        return Err(BlockError::Value("units by rising id"));
    }
    Ok(units.into_iter().map(|unit| Seen { unit, speed: 0 }).collect())
}

fn cell<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let cell = u8::deserialize(from)?;
    let known = usize::from(cell) < CELL_COUNT;
    if known { Ok(cell) } else { Err(D::Error::custom("a cell, 0 to 63")) }
}

fn some_cell<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    #[derive(Deserialize)]
    struct Cell(#[serde(deserialize_with = "cell")] u8);
    Ok(Option::<Cell>::deserialize(from)?.map(|Cell(cell)| cell))
}

fn direction<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let number = u8::deserialize(from)?;
    if number < 8 { Ok(number) } else { Err(D::Error::custom("a direction, 0 to 7")) }
}

fn some_owner<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PlayerId>, D::Error> {
    #[derive(Deserialize)]
    struct Owner(#[serde(deserialize_with = "owner")] PlayerId);
    Ok(Option::<Owner>::deserialize(from)?.map(|Owner(owner)| owner))
}
