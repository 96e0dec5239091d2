//! Owns the form of the rule files, and what to say when one is wrong. Never
//! opens a file: it is given their text. Called when a node starts. Invariant:
//! the rules are integers, exactly what the text says.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::{Cost, HullClass, Multiplier, OutOfRange, Rules, UnitType, UnitTypeId};
use crate::base::fixed::Thousandths;
use crate::sim::Speed;

/// A rule file's name, for errors, and its text.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

/// The files that the binary brings.
pub const BUILT_IN: [Source<'static>; 3] = [
    Source {
        name: "config/rules/units.toml",
        text: include_str!("../../../config/rules/units.toml"),
    },
    Source {
        name: "config/rules/hulls.toml",
        text: include_str!("../../../config/rules/hulls.toml"),
    },
    Source {
        name: "config/rules/start.toml",
        text: include_str!("../../../config/rules/start.toml"),
    },
];

/// What is wrong in which line of which file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct RuleFileError {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// Names the field and what was expected.
    pub what: String,
}

/// Reads rules from files, each of which may hold any part of them.
///
/// # Errors
/// At the first line that is no TOML, has an unknown key, a wrong type or a
/// value out of range, names something twice or names an unknown unit.
pub fn read(sources: &[Source<'_>]) -> Result<Rules, RuleFileError> {
    let mut tables = Tables::default();
    for source in sources {
        tables.add(*source)?;
    }
    let types = tables.unit_types()?;
    let start = tables.starting_fleet(&types)?;
    let multipliers = tables.multipliers.iter().map(|(_, multiplier)| *multiplier);
    once(&tables.multipliers, "target", |m| (m.attacker, m.target))?;
    // What is left to be wrong is the number of units at the start.
    let place = tables.start.first().map(|(place, _)| *place);
    let place = place.or(sources.last().map(|source| Place { source: *source, at: 0 }));
    Rules::new(types, multipliers.collect(), start).map_err(|error| match place {
        Some(place) => place.error(error.to_string()),
        None => RuleFileError { file: "no rule files".into(), line: 0, what: error.to_string() },
    })
}

/// The rules that the binary brings.
///
/// # Errors
/// Never, as a test shows.
pub fn built_in() -> Result<Rules, RuleFileError> {
    read(&BUILT_IN)
}

/// Where in a file something stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    source: Source<'a>,
    /// In bytes.
    at: usize,
}

impl Place<'_> {
    fn error(self, what: String) -> RuleFileError {
        let before = self.source.text.as_bytes().iter().take(self.at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        RuleFileError { file: self.source.name.to_string(), line, what }
    }

    /// The line of `field` in the table that begins here, else the table's.
    fn field(self, field: &str) -> Self {
        let table = self.source.text.get(self.at..).unwrap_or("");
        let mut at = self.at;
        for (i, line) in table.split_inclusive('\n').enumerate() {
            if i > 0 && line.starts_with('[') {
                break;
            }
            if line.split('=').next().is_some_and(|key| key.trim() == field) {
                return Place { at, ..self };
            }
            at += line.len();
        }
        self
    }
}

/// The tables of all files, each with its place.
#[derive(Default)]
struct Tables<'a> {
    units: Vec<(Place<'a>, RawUnit)>,
    multipliers: Vec<(Place<'a>, Multiplier)>,
    start: Vec<(Place<'a>, RawStart)>,
}

impl<'a> Tables<'a> {
    fn add(&mut self, source: Source<'a>) -> Result<(), RuleFileError> {
        let file: RawFile = toml::from_str(source.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            Place { source, at }.error(error.message().to_string())
        })?;
        self.units.extend(file.unit.into_iter().map(|table| placed(source, table)));
        self.multipliers.extend(file.multiplier.into_iter().map(|table| placed(source, table)));
        self.start.extend(file.start.into_iter().map(|table| placed(source, table)));
        Ok(())
    }

    fn unit_types(&self) -> Result<Vec<UnitType>, RuleFileError> {
        once(&self.units, "id", |unit| unit.id)?;
        once(&self.units, "name", |unit| unit.name.clone())?;
        self.units.iter().map(|(place, unit)| unit.read(*place)).collect()
    }

    fn starting_fleet(&self, types: &[UnitType]) -> Result<Vec<(UnitTypeId, u32)>, RuleFileError> {
        once(&self.start, "unit", |start| start.unit.clone())?;
        let found = self.start.iter().map(|(place, start)| {
            let named = types.iter().find(|unit_type| unit_type.name == start.unit);
            named.map(|unit_type| (unit_type.id, start.count)).ok_or_else(|| {
                let what = format!("unit: expected the name of a unit, not `{}`", start.unit);
                place.field("unit").error(what)
            })
        });
        found.collect()
    }
}

fn placed<T>(source: Source<'_>, table: Spanned<T>) -> (Place<'_>, T) {
    (Place { source, at: table.span().start }, table.into_inner())
}

/// Refuses a key that a table before has; `field` is where it stands.
fn once<T, K: Ord>(
    tables: &[(Place<'_>, T)],
    field: &str,
    key: impl Fn(&T) -> K,
) -> Result<(), RuleFileError> {
    let mut seen = BTreeSet::new();
    match tables.iter().find(|(_, table)| !seen.insert(key(table))) {
        Some((place, _)) => {
            Err(place.field(field).error(format!("{field}: expected each only once")))
        }
        None => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    unit: Vec<Spanned<RawUnit>>,
    #[serde(default)]
    multiplier: Vec<Spanned<Multiplier>>,
    #[serde(default)]
    start: Vec<Spanned<RawStart>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStart {
    unit: String,
    count: u32,
}

/// A [`UnitType`] as people write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUnit {
    id: u16,
    name: String,
    hull: HullClass,
    hit_points: u32,
    attack: u32,
    defence: u32,
    range: u32,
    fire_ticks: u16,
    /// Where it stands. The TOML reader would make a float of a decimal number,
    /// so the number is read from the text itself.
    speed: Spanned<IgnoredAny>,
    warp_speed: Option<Spanned<IgnoredAny>>,
    sensor: u32,
    cargo: u32,
    cost: Cost,
    build_s: u32,
}

impl RawUnit {
    /// The unit type that the table at `place` says.
    fn read(&self, place: Place<'_>) -> Result<UnitType, RuleFileError> {
        let speed = number("speed", &self.speed, place)?;
        let warp = self.warp_speed.as_ref();
        let warp = warp.map(|warp| number("warp_speed", warp, place)).transpose()?;
        self.convert(speed, warp).map_err(|error| place.field(error.field).error(error.to_string()))
    }

    fn convert(
        &self,
        metres_per_second: Thousandths,
        in_warp: Option<Thousandths>,
    ) -> Result<UnitType, OutOfRange> {
        let unit_type = UnitType {
            id: UnitTypeId(self.id),
            name: self.name.clone(),
            hull: self.hull,
            hit_points: self.hit_points,
            attack: self.attack,
            defence: self.defence,
            range: self.range,
            fire_ticks: self.fire_ticks,
            speed: speed(metres_per_second)?,
            warp_speed: warp_speed(in_warp)?,
            sensor: self.sensor,
            cargo: self.cargo,
            cost: self.cost,
            build_ms: build_ms(self.build_s)?,
        };
        unit_type.check()?;
        Ok(unit_type)
    }
}

/// The decimal number that `field` of the table at `place` is.
fn number(
    field: &str,
    at: &Spanned<IgnoredAny>,
    place: Place<'_>,
) -> Result<Thousandths, RuleFileError> {
    let text = place.source.text.get(at.span()).unwrap_or("");
    let here = Place { at: at.span().start, ..place };
    text.parse().map_err(|error| here.error(format!("{field}: {error}")))
}

fn speed(metres_per_second: Thousandths) -> Result<Option<Speed>, OutOfRange> {
    if metres_per_second == Thousandths(0) {
        return Ok(None);
    }
    let expected = || format!("0 or metres per second from 10 to 1000, not {metres_per_second}");
    match Speed::from_metres_per_second(metres_per_second) {
        Some(speed) if speed <= Speed::CRUISE_MAX => Ok(Some(speed)),
        _ => Err(OutOfRange { field: "speed", expected: expected() }),
    }
}

fn warp_speed(metres_per_second: Option<Thousandths>) -> Result<Speed, OutOfRange> {
    let Some(metres_per_second) = metres_per_second else { return Ok(Speed::WARP) };
    Speed::from_metres_per_second(metres_per_second).ok_or_else(|| {
        let expected = format!("metres per second from 10 to 5000, not {metres_per_second}");
        OutOfRange { field: "warp_speed", expected }
    })
}

fn build_ms(seconds: u32) -> Result<u32, OutOfRange> {
    let expected = || format!("whole seconds up to 4294967, not {seconds}");
    let error = || OutOfRange { field: "build_s", expected: expected() };
    seconds.checked_mul(1000).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = r#"
[[unit]]
id = 1
name = "Scout"
hull = "fighter"
hit_points = 10
attack = 1
defence = 1
range = 50
fire_ticks = 5
speed = 12.125
sensor = 300
cargo = 0
cost = { energy = 5 }
build_s = 3
"#;
    const START: &str = "[[start]]\nunit = \"Scout\"\ncount = 2\n";

    /// What `read` says to the two files, the first with `from` replaced.
    fn error(from: &str, to: &str) -> String {
        let units = UNIT.replace(from, to);
        assert_ne!(units, UNIT, "`{from}` is there to be replaced");
        let units = Source { name: "units.toml", text: &units };
        read(&[units, Source { name: "start.toml", text: START }]).unwrap_err().to_string()
    }

    #[test]
    fn built_in_rules_have_all_the_types_and_the_starting_fleet() {
        let rules = built_in().unwrap();
        let names: Vec<&str> = rules.types().iter().map(|t| t.name.as_str()).collect();
        let expected = [
            "Fighter",
            "Corvette",
            "Frigate",
            "Cruiser",
            "Battleship",
            "Carrier",
            "Miner",
            "Freighter",
            "Colony ship",
            "Outpost",
            "Turret",
        ];
        assert_eq!(names, expected);
        let fleet: Vec<_> = rules.start().iter().map(|(id, count)| (id.0, *count)).collect();
        assert_eq!(fleet, [(1, 4), (2, 2), (7, 1), (8, 1)]);
        assert_eq!(rules.multiplier(HullClass::Fighter, HullClass::Battleship), 1500);
    }

    #[test]
    fn a_decimal_speed_becomes_an_exact_integer() {
        let units = Source { name: "units.toml", text: UNIT };
        let rules = read(&[units, Source { name: "start.toml", text: START }]).unwrap();
        // 12.125 × 2^20 / 5,000 = 2,542.7968, rounded down.
        assert_eq!(rules.types()[0].speed.map(Speed::steps), Some(2542));
    }

    #[test]
    fn warp_is_at_2000_metres_per_second_where_the_file_says_nothing_else() {
        let warp = |text: &str| {
            let units = Source { name: "units.toml", text };
            let rules = read(&[units, Source { name: "start.toml", text: START }]).unwrap();
            rules.types()[0].warp_speed
        };
        assert_eq!(warp(UNIT), Speed::WARP);
        let faster = UNIT.replace("sensor = 300", "sensor = 300\nwarp_speed = 2500.5");
        // 2,500.5 × 2^20 / 5,000 = 524,392.8, rounded down.
        assert_eq!(warp(&faster).steps(), 524_392);
    }

    #[test]
    fn names_file_line_and_what_was_expected() {
        let cases = [
            ("speed = 12.125", "speed = 5", "units.toml:11: speed: expected 0 or metres"),
            (
                "speed = 12.125",
                "speed = 12.1255",
                "units.toml:11: speed: `12.1255` is not a decimal",
            ),
            ("speed = 12.125", "speed = nan", "units.toml:11: speed: `nan` is not a decimal"),
            ("speed = 12.125", "speed = 1001", "units.toml:11: speed: expected 0 or metres"),
            (
                "sensor = 300",
                "sensor = 300\nwarp_speed = 5001",
                "units.toml:13: warp_speed: expected metres per second from 10 to 5000, not 5001",
            ),
            (
                "sensor = 300",
                "sensor = 300\nwarp_speed = 0",
                "units.toml:13: warp_speed: expected metres per second from 10 to 5000, not 0",
            ),
            (
                "sensor = 300",
                "sensor = 300\nwarp_speed = \"high\"",
                "units.toml:13: warp_speed: `\"high\"` is not a decimal",
            ),
            ("speed = 12.125", "speed = \"fast\"", "units.toml:11: speed: `\"fast\"` is not"),
            ("sensor = 300", "sensor = 1001", "units.toml:12: sensor: expected a whole number"),
            ("cargo = 0", "cargo = -1", "units.toml:13: invalid value: integer `-1`"),
            ("cargo = 0", "cargo = ", "units.toml:13: "),
            ("cargo = 0", "freight = 0", "units.toml:13: unknown field `freight`"),
            ("energy", "energie", "units.toml:14: unknown field `energie`"),
            ("hull = \"fighter\"", "hull = \"raft\"", "units.toml:5: unknown variant `raft`"),
            ("build_s = 3", "build_s = 4294968", "units.toml:15: build_s: expected whole seconds"),
            ("cargo = 0\n", "", "units.toml:2: missing field `cargo`"),
            ("[[unit]]", "[[ship]]", "units.toml:2: unknown field `ship`"),
            ("Scout", "Scouts", "start.toml:2: unit: expected the name of a unit, not `Scout`"),
        ];
        for (from, to, expected) in cases {
            let error = error(from, to);
            assert!(error.starts_with(expected), "{to}: {error}");
        }
    }

    #[test]
    fn refuses_what_is_named_twice_where_it_is_named_again() {
        let twice = format!("{UNIT}{}", UNIT.replace("id = 1", "id = 2"));
        let error = error(UNIT, &twice);
        assert_eq!(error, "units.toml:19: name: expected each only once");
    }

    #[test]
    fn refuses_rules_without_a_starting_fleet() {
        let error = read(&[Source { name: "units.toml", text: UNIT }]).unwrap_err().to_string();
        assert_eq!(error, "units.toml:1: start: expected 1 to 256 units, not 0");
        assert!(read(&[]).is_err());
    }
}
