//! Owns what a client knows of the game besides what it sees: the rules, and
//! what lies in the way in sectors whose maps it read. Never fetches anything.
//! Made from the documents that a server serves over HTTP, used to predict.
//! Invariant: rules that were read are the server's, or reading failed.

use std::collections::BTreeMap;

use crate::base::{CompressedPosition, SectorId};
use crate::protocol::http;
use crate::sim::galaxy::{Circle, Parameters, PerRegion};
use crate::sim::rules::{Cost, HullClass, Multiplier, OutOfRange};
use crate::sim::{Galaxy, Invalid, Rules, Speed, UnitType, UnitTypeId};

/// Sectors whose obstacles are kept.
pub const CHARTED_MAX: usize = 256;
/// A fire rate is told in milliseconds; rules count ticks of 100.
const FIRE_TICK_MS: u32 = 100;

/// Rules that cannot be taken over from a server's document. Nothing was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    #[error("rules: {0}")]
    OutOfRange(#[from] OutOfRange),
    #[error("rules: {0}")]
    Galaxy(#[from] Invalid),
    #[error("rules: {field}: expected {expected}, not {found}")]
    Value { field: &'static str, expected: &'static str, found: String },
    #[error("rules: the document is called {told}, what was read of it {read:016x}")]
    Other { told: String, read: u64 },
}

/// What prediction has to know.
#[derive(Clone, Debug)]
pub struct Charts {
    rules: Rules,
    /// As empty and as large as there may be: a client does not know the seed.
    galaxy: Galaxy,
    /// At most [`CHARTED_MAX`] of them.
    obstacles: BTreeMap<SectorId, Vec<Circle>>,
}

impl Charts {
    /// Of a game with these rules, and of sectors without anything in them.
    ///
    /// # Errors
    /// Never, as a test shows.
    pub fn new(rules: Rules) -> Result<Charts, Invalid> {
        let all = |v| PerRegion { core: v, mid_rim: v, outer_rim: v, deep_space: v };
        let sparse = Parameters {
            systems: all(Parameters::SYSTEMS_MIN),
            planets_max: 0,
            stations: 0,
            asteroid_fields: all(0),
            ..Parameters::default()
        };
        let galaxy = Galaxy::generated(0, Galaxy::SIDE_MAX, sparse)?;
        Ok(Charts { rules, galaxy, obstacles: BTreeMap::new() })
    }

    /// As [`new`](Self::new), with the rules as `GET /api/rules` tells them.
    ///
    /// # Errors
    /// When the document says what no rules can say, or does not have the hash
    /// that it names.
    pub fn read(document: &http::Rules) -> Result<Charts, RulesError> {
        Ok(Charts::new(rules(document)?)?)
    }

    /// Learns what lies in `sector`. Beyond [`CHARTED_MAX`] sectors nothing is
    /// learnt: units are predicted straight through what is there.
    pub fn note(&mut self, sector: SectorId, obstacles: Vec<Circle>) {
        if self.obstacles.len() < CHARTED_MAX || self.obstacles.contains_key(&sector) {
            self.obstacles.insert(sector, obstacles);
        }
    }

    /// Learns what lies in `sector`, of scale 0, from its map.
    pub fn note_map(&mut self, sector: SectorId, map: &http::Map) {
        let here = map.features.iter().filter(|feature| SectorId::from(feature.sector) == sector);
        self.note(sector, here.filter_map(circle).collect());
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn galaxy(&self) -> &Galaxy {
        &self.galaxy
    }

    pub(super) fn obstacles(&self, sector: SectorId) -> &[Circle] {
        self.obstacles.get(&sector).map_or(&[], Vec::as_slice)
    }
}

fn circle(feature: &http::Feature) -> Option<Circle> {
    let centre = CompressedPosition { x: feature.position.x, y: feature.position.y };
    let (_, centre) = centre.locate(feature.sector.into())?;
    // A sector's side has 2^20 grid steps, a fraction 2^32 parts.
    let radius = i32::try_from(feature.radius >> 12).ok()?;
    Some(Circle { centre, radius })
}

fn rules(document: &http::Rules) -> Result<Rules, RulesError> {
    let types: Result<Vec<UnitType>, RulesError> =
        document.unit_types.iter().map(unit_type).collect();
    let multipliers: Result<Vec<Multiplier>, RulesError> =
        document.hull_multipliers.iter().map(multiplier).collect();
    let start = document.start.iter().map(|start| (UnitTypeId(start.type_id), start.count));
    let rules = Rules::new(types?, multipliers?, start.collect())?;
    if format!("{:016x}", rules.hash()) != document.hash {
        return Err(RulesError::Other { told: document.hash.clone(), read: rules.hash() });
    }
    Ok(rules)
}

fn unit_type(told: &http::UnitType) -> Result<UnitType, RulesError> {
    let http::Cost { energy, minerals, rare, population } = told.cost;
    let fire_ticks = u16::try_from(told.fire_ms / FIRE_TICK_MS)
        .map_err(|_| wrong("fireMs", "at most 6,553,500", told.fire_ms))?;
    Ok(UnitType {
        id: UnitTypeId(told.id),
        name: told.name.clone(),
        hull: hull(&told.hull)?,
        hit_points: told.hit_points,
        attack: told.attack,
        defence: told.defence,
        range: told.range,
        fire_ticks,
        speed: told.speed.map(|steps| speed("speed", steps)).transpose()?,
        // What cannot move is not told one, and has that of all others.
        warp_speed: told.warp_speed.map_or(Ok(Speed::WARP), |steps| speed("warpSpeed", steps))?,
        sensor: told.sensor,
        cargo: told.cargo,
        cost: Cost { energy, minerals, rare, population },
        build_ms: told.build_ms,
    })
}

fn multiplier(told: &http::HullMultiplier) -> Result<Multiplier, RulesError> {
    let (attacker, target) = (hull(&told.attacker)?, hull(&told.target)?);
    Ok(Multiplier { attacker, target, thousandths: told.thousandths })
}

fn speed(field: &'static str, steps: u32) -> Result<Speed, RulesError> {
    Speed::try_from(steps).map_err(|expected| wrong(field, expected, steps))
}

fn hull(told: &str) -> Result<HullClass, RulesError> {
    Ok(match told {
        "fighter" => HullClass::Fighter,
        "corvette" => HullClass::Corvette,
        "frigate" => HullClass::Frigate,
        "cruiser" => HullClass::Cruiser,
        "battleship" => HullClass::Battleship,
        "carrier" => HullClass::Carrier,
        "civil" => HullClass::Civil,
        "structure" => HullClass::Structure,
        other => return Err(wrong("hull", "one of the eight hull classes", other)),
    })
}

fn wrong(field: &'static str, expected: &'static str, found: impl ToString) -> RulesError {
    RulesError::Value { field, expected, found: found.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::rules::sample;

    /// As a gateway serves the sample rules, for one type.
    fn document() -> http::Rules {
        let cost = http::Cost { energy: 10, minerals: 10, rare: 0, population: 1 };
        let unit_type = |id, name: &str, hull: &str, speed: Option<u32>, warp| http::UnitType {
            id,
            name: name.into(),
            hull: hull.into(),
            hit_points: 100,
            attack: 10,
            defence: 5,
            range: 100,
            fire_ms: 500,
            speed,
            warp_speed: warp,
            sensor: 300,
            cargo: 10,
            cost,
            build_ms: 1000,
        };
        let strong = http::HullMultiplier {
            attacker: "structure".into(),
            target: "fighter".into(),
            thousandths: 1500,
        };
        let start = |type_id, count| http::TypeCount { type_id, count };
        http::Rules {
            hash: format!("{:016x}", sample::rules().unwrap().hash()),
            unit_types: vec![
                unit_type(1, "Fighter", "fighter", Some(12_582), Some(1_048_576)),
                unit_type(2, "Freighter", "civil", Some(2_097), Some(419_430)),
                unit_type(3, "Turret", "structure", None, None),
            ],
            hull_multipliers: vec![strong],
            start: vec![start(1, 2), start(2, 1)],
        }
    }

    #[test]
    fn rules_that_were_read_are_the_servers() {
        assert_eq!(Charts::read(&document()).unwrap().rules(), &sample::rules().unwrap());
    }

    #[test]
    fn refuses_a_document_that_is_not_what_it_is_called() {
        let mut other = document();
        other.unit_types[0].speed = Some(12_583);
        assert!(matches!(Charts::read(&other), Err(RulesError::Other { .. })));
        other.unit_types[0].speed = Some(1);
        assert!(matches!(Charts::read(&other), Err(RulesError::Value { field: "speed", .. })));
        other.unit_types[0].hull = "kite".into();
        assert!(matches!(Charts::read(&other), Err(RulesError::Value { field: "hull", .. })));
    }

    #[test]
    fn learns_so_many_sectors_and_no_more() {
        let mut charts = Charts::read(&document()).unwrap();
        let rock = Circle { centre: crate::base::Position { x: 1, y: 2 }, radius: 3 };
        let sector = |n: usize| SectorId::tactical(n as i64, 0);
        (0..=CHARTED_MAX).for_each(|n| charts.note(sector(n), vec![rock]));
        assert_eq!(charts.obstacles(sector(CHARTED_MAX - 1)), [rock]);
        assert_eq!(charts.obstacles(sector(CHARTED_MAX)), []);
    }
}
