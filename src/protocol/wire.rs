//! Owns the words that messages are made of: sectors, places, points, units.
//! They are wire types, not domain types: the simulation has its own, and
//! `view::convert` goes between. Invariant: what was deserialised is within
//! the ranges stated here.

use serde::de::{Deserializer, Error, Unexpected};
use serde::{Deserialize, Serialize};

use super::EXACT_BELOW;
use crate::base::{CompressedPosition, EntityKey, FleetId, PlayerId, Position, SectorId, UnitId};

/// A square of space; x and y between -2^53 and 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sector {
    #[serde(deserialize_with = "coordinate")]
    pub x: i64,
    #[serde(deserialize_with = "coordinate")]
    pub y: i64,
    pub scale: u8,
}

impl From<SectorId> for Sector {
    fn from(SectorId { x, y, scale }: SectorId) -> Sector {
        Sector { x, y, scale }
    }
}

impl From<Sector> for SectorId {
    fn from(Sector { x, y, scale }: Sector) -> SectorId {
        SectorId { x, y, scale }
    }
}

/// An entity that has units and can be watched and commanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    Sector(Sector),
    Battle(Battle),
}

/// The n-th battle of the sector that hosts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Battle {
    pub host: Sector,
    #[serde(deserialize_with = "exact")]
    pub n: u64,
}

impl Place {
    /// The place that is this sector.
    pub fn sector(sector: SectorId) -> Place {
        Place::Sector(sector.into())
    }

    /// The entity this place is.
    pub fn key(self) -> EntityKey {
        match self {
            Place::Sector(sector) => EntityKey::Sector(sector.into()),
            Place::Battle(battle) => EntityKey::Battle { host: battle.host.into(), n: battle.n },
        }
    }

    /// The place this entity is, `None` for one without units.
    pub fn of(key: EntityKey) -> Option<Place> {
        match key {
            EntityKey::Sector(sector) => Some(Place::sector(sector)),
            EntityKey::Battle { host, n } => Some(Place::Battle(Battle { host: host.into(), n })),
            _ => None,
        }
    }
}

/// A position in grid steps (2^-20 km) from the origin of the place that the
/// message is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Point {
    pub x: i32,
    pub y: i32,
}

impl From<Position> for Point {
    fn from(Position { x, y }: Position) -> Point {
        Point { x, y }
    }
}

impl From<Point> for Position {
    fn from(Point { x, y }: Point) -> Position {
        Position { x, y }
    }
}

/// Where a unit will stand, after how many more sector steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arrival {
    pub x: i32,
    pub y: i32,
    pub steps: u16,
}

/// A position anywhere in the galaxy: a sector, and fractions of its side in
/// units of 2^-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    pub sector: Sector,
    pub x: u32,
    pub y: u32,
}

impl Destination {
    /// `position` in `sector`, clamped to the sector.
    pub fn at(sector: SectorId, position: Position) -> Destination {
        let CompressedPosition { x, y } = CompressedPosition::of(position, sector.scale);
        Destination { sector: sector.into(), x, y }
    }
}

/// How a unit moves: `vx`, `vy` grid steps at each of the next `steps` sector
/// steps; then it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Course {
    pub vx: i32,
    pub vy: i32,
    pub steps: u16,
}

/// All that is public of a unit, as of its message's tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitRecord {
    #[serde(deserialize_with = "unit_id")]
    pub id: UnitId,
    /// The unit type's id in the rules.
    #[serde(rename = "type")]
    pub type_id: u16,
    /// 0 for nobody's.
    #[serde(deserialize_with = "owner")]
    pub owner: PlayerId,
    /// Raised by every transfer; of two records the one with more is newer.
    pub hops: u32,
    pub position: Point,
    pub course: Course,
    /// Binary angle, 65,536 to the circle, 0 along x, counted towards y.
    pub heading: u16,
    /// Of 65,535, the type's maximum.
    pub health: u16,
    /// Bits: 0 moving, 1 attacking, 2 in combat, 3 in transit, 4 cloaked,
    /// 5 mining, 6 building, 7 docked.
    pub state: u8,
}

/// Deserialises a u64 that JSON carries exactly.
pub(super) fn exact<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    in_range(u64::deserialize(from)?, 0)
}

/// Deserialises an id: from 1, below 2^53.
pub(super) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    in_range(u64::deserialize(from)?, 1)
}

pub(super) fn unit_id<'de, D: Deserializer<'de>>(from: D) -> Result<UnitId, D::Error> {
    id(from).map(UnitId)
}

pub(super) fn fleet_id<'de, D: Deserializer<'de>>(from: D) -> Result<FleetId, D::Error> {
    exact(from).map(FleetId)
}

pub(super) fn owner<'de, D: Deserializer<'de>>(from: D) -> Result<PlayerId, D::Error> {
    exact(from).map(PlayerId)
}

fn in_range<E: Error>(value: u64, least: u64) -> Result<u64, E> {
    if (least..EXACT_BELOW).contains(&value) {
        return Ok(value);
    }
    let expected = if least == 0 { "a number below 2^53" } else { "an id from 1, below 2^53" };
    Err(E::invalid_value(Unexpected::Unsigned(value), &expected))
}

fn coordinate<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let value = i64::deserialize(from)?;
    if value.unsigned_abs() < EXACT_BELOW {
        return Ok(value);
    }
    Err(D::Error::invalid_value(Unexpected::Signed(value), &"a number between -2^53 and 2^53"))
}
