//! Owns the answers about the galaxy over HTTP: maps, units, players, boards.
//! Lists are bounded; a `next` in an answer is the `cursor` that goes on after
//! it.

use serde::{Deserialize, Serialize};

use super::TypeCount;
use crate::protocol::wire::Sector;

/// What anybody may know of a sector of any scale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Map {
    pub sector: Sector,
    /// `core`, `midRim`, `outerRim` and `deepSpace`, those that it has a part
    /// in, from the core outwards.
    pub regions: Vec<String>,
    /// The mean of its scale-0 sectors, 0 to 1000.
    pub resource_density: u16,
    /// Absent for the root, which contains the galaxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Sector>,
    /// Up to four, those that have a part in the galaxy.
    pub children: Vec<Sector>,
    /// Up to eight, those that have a part in the galaxy.
    pub neighbours: Vec<Sector>,
    pub counts: MapCounts,
    /// Up to scale 6 everything that the galaxy was made with, sector by
    /// sector, row after row; from scale 7 on stars only.
    pub features: Vec<Feature>,
    /// Absent when there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What goes on in it; absent until the node has summed up after its start.
    /// Units in warp are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<SectorSummary>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MapCounts {
    pub systems: u64,
    pub planets: u64,
    pub stations: u64,
    pub asteroid_fields: u64,
    /// Counted, up to scale 6; above that it is what the galaxy's settings
    /// lead to expect.
    pub exact: bool,
}

/// How much goes on in a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SectorSummary {
    /// Rounded down to one digit.
    pub unit_count: u64,
    /// Commands and combat events per second of the busiest scale-0 sector,
    /// rounded down to one digit.
    pub activity: u8,
    /// When it was summed up, in milliseconds since the Unix epoch.
    pub as_of: u64,
}

/// Something that the galaxy was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Feature {
    /// `star`, `planet`, `asteroidField` or `station`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of a planet: `terrestrial`, `gasGiant` or `asteroid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planet: Option<String>,
    /// The scale-0 sector that it is in.
    pub sector: Sector,
    /// Its centre in that sector.
    pub position: Fraction,
    /// In 2^-32 of the sector's side, as the position.
    pub radius: u32,
    /// Of a star in a map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
}

/// What belongs to a star.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct System {
    pub planets: u8,
    pub station: bool,
    /// The sectors of the stars that its star lanes lead to, nearest first.
    pub lanes: Vec<Sector>,
}

/// A place as a fraction of its sector's side, in 2^-32 of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Fraction {
    pub x: u32,
    pub y: u32,
}

/// What a player may know of another, or all of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlayerStatistics {
    pub player: u64,
    pub name: String,
    /// When the account was made, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Asked with the player's own token; else all numbers but the rank are
    /// rounded down to one digit.
    pub exact: bool,
    pub units: Vec<TypeCount>,
    /// How many sectors it has units in.
    pub sectors: u64,
    pub power: u64,
    /// In the order of power, from 1; absent when it is not on the board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u64>,
    /// Milliseconds since the Unix epoch; absent when the player never
    /// connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<u64>,
}

/// A part of a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Ranking {
    pub board: String,
    /// How many players are on it.
    pub players: u64,
    /// Best first.
    pub entries: Vec<RankingEntry>,
    /// When the board last heard of a change, in milliseconds since the Unix
    /// epoch; absent when it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RankingEntry {
    /// From 1. Of the same power, the lower id is before.
    pub rank: u64,
    pub player: u64,
    /// Absent when the account is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Exact for the one who asks, else rounded down to one digit.
    pub power: u64,
    /// Since when, in milliseconds since the Unix epoch.
    pub as_of: u64,
}

/// A part of what one player may see of the galaxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Universe {
    pub units: Vec<UniverseUnit>,
    /// What `type` names, if that is public.
    pub features: Vec<Feature>,
    /// The sectors that were asked, and at which tick of theirs.
    pub sectors: Vec<AskedSector>,
    /// Sectors that could not be asked: they have units of the caller and nobody
    /// has them in memory, or they are too busy. What the caller sees there is
    /// missing above.
    pub unavailable: Vec<Sector>,
    /// Absent when there is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AskedSector {
    pub sector: Sector,
    pub as_of: u64,
}

/// A unit as it was at its sector's tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UniverseUnit {
    pub id: u64,
    #[serde(rename = "type")]
    pub type_id: u16,
    pub owner: u64,
    pub sector: Sector,
    pub position: Fraction,
    /// Of 65535.
    pub health: u16,
    /// Bits: moving, attacking, in combat, in transit, cloaked, mining,
    /// building, docked.
    pub state: u8,
}
