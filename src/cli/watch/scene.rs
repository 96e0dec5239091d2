//! Owns what there is to be drawn, as plain data: one picture is a function of
//! it and of nothing else. Never draws. Made by the shell for each picture, and
//! by tests.

use std::collections::BTreeMap;

use super::atlas::Atlas;
use super::camera::{Extent, Window};
use super::keys::View;
use crate::base::{PlayerId, SectorId};
use crate::protocol::UnitRecord;
use crate::protocol::server::Sum;
use crate::view::fog::Mask;

/// Rows of the screen below the map.
pub const STATUS_ROWS: u16 = 3;

/// Everything a picture is made of.
pub struct Scene<'a> {
    pub view: &'a View,
    pub extent: Extent,
    pub atlas: &'a Atlas,
    pub world: &'a World,
    /// What there is to say below the map, the newest.
    pub said: Option<&'a str>,
}

impl Scene<'_> {
    /// The camera on the part of a screen that shows the map.
    pub fn window(&self, columns: u16, rows: u16) -> Window {
        self.view.camera.window(columns, rows.saturating_sub(STATUS_ROWS))
    }
}

/// What the player's session knows, at one moment.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub name: String,
    pub link: Link,
    /// Known from the first connection on.
    pub player: Option<PlayerId>,
    /// How many own units each sector has.
    pub presence: BTreeMap<SectorId, u32>,
    pub sights: BTreeMap<SectorId, Sight>,
    /// What goes on in large sectors that are watched: of their children.
    pub sums: BTreeMap<SectorId, Vec<Sum>>,
    /// The server said that in all other watched sectors nothing ever was.
    pub empty_told: bool,
    /// The newest tick of a packet.
    pub tick: Option<u64>,
    pub bytes_per_second: u64,
    pub round_trip_ms: Option<u64>,
    /// What the server said last that was no answer: refusals, notices.
    pub said: Option<String>,
}

impl World {
    /// The first of the sectors with own units.
    pub fn home(&self) -> Option<SectorId> {
        self.presence.keys().find(|sector| sector.scale == 0).copied()
    }
}

/// How the connection is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    #[default]
    Connecting,
    Open,
    /// Another attempt is made.
    Lost(String),
    Ended(String),
}

/// What is seen of a sector now.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Cells that the player's units see.
    pub mask: Mask,
    /// Where units are now, by the last packets and their courses.
    pub units: Vec<UnitRecord>,
}

#[cfg(test)]
pub mod samples {
    use super::*;
    use crate::base::UnitId;
    use crate::protocol::http::{Feature, Fraction, Map, MapCounts, System};
    use crate::protocol::{Course, Point};

    pub const GALAXY: Extent = Extent { side: 10_000, scale: 14 };
    pub const PLAYER: PlayerId = PlayerId(7);

    /// A unit at a place in metres.
    pub fn unit(id: u64, owner: PlayerId, x: i32, y: i32) -> UnitRecord {
        let steps = |metres: i32| (metres << 20) / 1000;
        UnitRecord {
            id: UnitId(id),
            type_id: 1,
            owner,
            hops: 0,
            position: Point { x: steps(x), y: steps(y) },
            course: Course::default(),
            heading: 0,
            health: u16::MAX,
            state: 0,
        }
    }

    /// The same, under way.
    pub fn moving(unit: UnitRecord, heading: u16) -> UnitRecord {
        UnitRecord { heading, state: 1, ..unit }
    }

    /// A map with nothing in it.
    pub fn map(sector: SectorId) -> Map {
        Map {
            sector: sector.into(),
            regions: vec!["midRim".to_owned()],
            resource_density: 512,
            parent: None,
            children: Vec::new(),
            neighbours: Vec::new(),
            counts: MapCounts {
                systems: 0,
                planets: 0,
                stations: 0,
                asteroid_fields: 0,
                exact: true,
            },
            features: Vec::new(),
            next: None,
            summary: None,
        }
    }

    /// A feature in the middle of a sector, with a radius in metres.
    pub fn feature(kind: &str, sector: SectorId, radius: u32) -> Feature {
        let lanes = || System { planets: 1, station: false, lanes: Vec::new() };
        Feature {
            kind: kind.to_owned(),
            planet: (kind == "planet").then(|| "terrestrial".to_owned()),
            sector: sector.into(),
            position: Fraction { x: 1 << 31, y: 1 << 31 },
            radius: radius * ((1 << 31) / 500),
            system: (kind == "star").then(lanes),
        }
    }
}
