//! Owns the content of the game as integers: unit types, hull multipliers, the
//! starting fleet. Never reads a file (`file` does, for the server) and never
//! changes once made. Called by everything that applies a rule. Invariant:
//! `Rules` that exist are in range; their hash names them in every record.

pub mod change;
#[cfg(feature = "server")]
pub mod file;
pub mod sample;

use serde::{Deserialize, Serialize};

use super::Speed;

/// The number of a unit type in the rule files.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnitTypeId(pub u16);

impl std::fmt::Display for UnitTypeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How a ship is built, for damage: see [`Rules::multiplier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HullClass {
    Fighter,
    Corvette,
    Frigate,
    Cruiser,
    Battleship,
    Carrier,
    /// Miners, freighters, colony ships.
    Civil,
    /// Outposts and turrets.
    Structure,
}

/// An amount of each resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cost {
    pub energy: u32,
    pub minerals: u32,
    pub rare: u32,
    pub population: u32,
}

/// What all units of a type have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitType {
    pub id: UnitTypeId,
    /// 1 to 32 characters.
    pub name: String,
    pub hull: HullClass,

    /// At most [`HIT_POINTS_MAX`].
    pub hit_points: u32,
    pub attack: u32,
    pub defence: u32,
    /// Metres that its weapons reach.
    pub range: u32,
    /// Battle ticks of 100 ms between two shots, from 1.
    pub fire_ticks: u16,

    /// `None`: it cannot move. At most [`Speed::CRUISE_MAX`].
    pub speed: Option<Speed>,
    /// In warp; of no use to what cannot move.
    pub warp_speed: Speed,
    /// Metres that it sees, at most [`SENSOR_METRES_MAX`].
    pub sensor: u32,
    pub cargo: u32,

    pub cost: Cost,
    /// How long one takes to build.
    pub build_ms: u32,
}

/// The farthest that a unit sees: its own and the eight neighbouring sectors.
pub const SENSOR_METRES_MAX: u32 = 1_000;
/// Products of attacks, multipliers and crowds stay far inside `i64`.
pub const HIT_POINTS_MAX: u32 = 1_000_000;
/// The most units a player starts with: one channel message holds them.
pub const START_UNITS_MAX: u32 = 256;
/// A hull multiplier that changes nothing.
pub const NEUTRAL: u16 = 1000;

/// How much a weapon of one hull class does to another, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multiplier {
    pub attacker: HullClass,
    pub target: HullClass,
    pub thousandths: u16,
}

/// A value that the rules may not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub struct OutOfRange {
    /// As it is called in the rule files.
    pub field: &'static str,
    pub expected: String,
}

impl UnitType {
    /// Whether every value is in range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let in_range = |field, value: u32, low: u32, high: u32| {
            let expected = || format!("a whole number from {low} to {high}");
            (low..=high)
                .contains(&value)
                .then_some(())
                .ok_or_else(|| OutOfRange { field, expected: expected() })
        };
        in_range("id", self.id.0.into(), 1, u16::MAX.into())?;
        if self.name.is_empty() || self.name.chars().count() > 32 {
            let expected = "a name of 1 to 32 characters".into();
            return Err(OutOfRange { field: "name", expected });
        }
        in_range("hit_points", self.hit_points, 1, HIT_POINTS_MAX)?;
        in_range("attack", self.attack, 0, HIT_POINTS_MAX)?;
        in_range("defence", self.defence, 0, HIT_POINTS_MAX)?;
        in_range("range", self.range, 0, SENSOR_METRES_MAX)?;
        in_range("fire_ticks", self.fire_ticks.into(), 1, u16::MAX.into())?;
        if self.speed.is_some_and(|speed| speed > Speed::CRUISE_MAX) {
            let expected = "0 or metres per second from 10 to 1000".into();
            return Err(OutOfRange { field: "speed", expected });
        }
        in_range("sensor", self.sensor, 0, SENSOR_METRES_MAX)
    }
}

/// The content of the game. Made by [`Rules::new`] only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Rules {
    /// In order of ids, each once.
    types: Vec<UnitType>,
    /// In order of (attacker, target), each pair once; others are [`NEUTRAL`].
    multipliers: Vec<Multiplier>,
    /// What a new player gets, in order of types, each once.
    start: Vec<(UnitTypeId, u32)>,
    #[serde(skip)]
    hash: u64,
}

/// [`Rules`] before they are checked.
#[derive(Deserialize)]
struct Parts {
    types: Vec<UnitType>,
    multipliers: Vec<Multiplier>,
    start: Vec<(UnitTypeId, u32)>,
}

impl TryFrom<Parts> for Rules {
    type Error = OutOfRange;

    fn try_from(parts: Parts) -> Result<Rules, OutOfRange> {
        Rules::new(parts.types, parts.multipliers, parts.start)
    }
}

impl Rules {
    /// Rules of these parts, in any order.
    ///
    /// # Errors
    /// When a value is out of range, something is named twice, or the starting
    /// fleet is empty, too large, or of an unknown type.
    pub fn new(
        mut types: Vec<UnitType>,
        mut multipliers: Vec<Multiplier>,
        mut start: Vec<(UnitTypeId, u32)>,
    ) -> Result<Rules, OutOfRange> {
        types.iter().try_for_each(UnitType::check)?;
        types.sort_by_key(|t| t.id);
        multipliers.sort_unstable();
        start.sort_unstable();
        once("id", types.iter().map(|t| t.id))?;
        once("hull", multipliers.iter().map(|m| (m.attacker, m.target)))?;
        once("start", start.iter().map(|s| s.0))?;
        let mut rules = Rules { types, multipliers, start, hash: 0 };
        rules.check_start()?;
        rules.hash = hash(&rules);
        Ok(rules)
    }

    fn check_start(&self) -> Result<(), OutOfRange> {
        let wrong = |expected: String| Err(OutOfRange { field: "start", expected });
        if let Some((id, _)) = self.start.iter().find(|(id, _)| self.unit_type(*id).is_none()) {
            return wrong(format!("unit types of these rules, not {id}"));
        }
        let units = self.start.iter().fold(0_u32, |sum, (_, count)| sum.saturating_add(*count));
        if !(1..=START_UNITS_MAX).contains(&units) {
            return wrong(format!("1 to {START_UNITS_MAX} units, not {units}"));
        }
        Ok(())
    }

    /// The type with this number.
    pub fn unit_type(&self, id: UnitTypeId) -> Option<&UnitType> {
        let at = self.types.binary_search_by_key(&id, |t| t.id).ok()?;
        self.types.get(at)
    }

    /// All types, in order of ids.
    pub fn types(&self) -> &[UnitType] {
        &self.types
    }

    /// What is stronger or weaker than [`NEUTRAL`], in order of (attacker, target).
    pub fn multipliers(&self) -> &[Multiplier] {
        &self.multipliers
    }

    /// What a new player gets, in order of types.
    pub fn start(&self) -> &[(UnitTypeId, u32)] {
        &self.start
    }

    /// How much a weapon of `attacker` does to `target`, in thousandths.
    pub fn multiplier(&self, attacker: HullClass, target: HullClass) -> u16 {
        let key = (attacker, target);
        match self.multipliers.binary_search_by_key(&key, |m| (m.attacker, m.target)) {
            Ok(at) => self.multipliers[at].thousandths,
            Err(_) => NEUTRAL,
        }
    }

    /// The name of these rules: the first 8 bytes of blake3 over
    /// [`to_bytes`](Self::to_bytes).
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The canonical form: postcard, every list in order. It is what a galaxy
    /// keeps in its store.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing integers, strings and vectors into memory cannot fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// When `bytes` are not rules, or some whose values are out of range.
    pub fn from_bytes(bytes: &[u8]) -> Result<Rules, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

fn hash(rules: &Rules) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(&rules.to_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// Whether no key of a sorted list comes twice.
fn once<K: PartialEq>(
    field: &'static str,
    keys: impl Iterator<Item = K>,
) -> Result<(), OutOfRange> {
    let keys: Vec<K> = keys.collect();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(OutOfRange { field, expected: "each at most once".into() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> (Vec<UnitType>, Vec<Multiplier>, Vec<(UnitTypeId, u32)>) {
        let rules = sample::rules().unwrap();
        (rules.types, rules.multipliers, rules.start)
    }

    #[test]
    fn hash_ignores_the_order_of_the_parts() {
        let (mut types, multipliers, mut start) = parts();
        types.reverse();
        start.reverse();
        let turned = Rules::new(types, multipliers, start).unwrap();
        assert_eq!(turned.hash(), sample::rules().unwrap().hash());
    }

    #[test]
    fn hash_changes_with_any_value() {
        let (mut types, multipliers, start) = parts();
        types[0].defence += 1;
        let other = Rules::new(types, multipliers, start).unwrap();
        assert_ne!(other.hash(), sample::rules().unwrap().hash());
    }

    #[test]
    fn hash_of_the_sample_stays_the_same() {
        // Journals name it: what changes it changes what can be replayed.
        assert_eq!(format!("{:016x}", sample::rules().unwrap().hash()), "1ff38c25b1715c30");
    }

    #[test]
    fn bytes_bring_the_rules_back_or_are_refused() {
        let rules = sample::rules().unwrap();
        let bytes = rules.to_bytes();
        assert_eq!(Rules::from_bytes(&bytes), Ok(rules));
        for end in 0..bytes.len() {
            assert!(Rules::from_bytes(&bytes[..end]).is_err());
        }
        let without_start = (parts().0, parts().1, Vec::<(UnitTypeId, u32)>::new());
        assert!(Rules::from_bytes(&postcard::to_stdvec(&without_start).unwrap()).is_err());
    }

    #[test]
    fn hulls_that_are_not_named_are_neutral() {
        let rules = sample::rules().unwrap();
        assert_eq!(rules.multiplier(HullClass::Structure, HullClass::Fighter), 1500);
        assert_eq!(rules.multiplier(HullClass::Fighter, HullClass::Structure), NEUTRAL);
    }

    #[test]
    fn refuses_two_types_with_one_id() {
        let (mut types, multipliers, start) = parts();
        types.push(types[0].clone());
        assert_eq!(Rules::new(types, multipliers, start).unwrap_err().field, "id");
    }

    #[test]
    fn refuses_a_start_without_units_or_with_too_many() {
        for count in [0, START_UNITS_MAX + 1, u32::MAX] {
            let (types, multipliers, _) = parts();
            let start = vec![(sample::FIGHTER, count)];
            assert_eq!(Rules::new(types, multipliers, start).unwrap_err().field, "start");
        }
    }

    #[test]
    fn refuses_a_start_with_an_unknown_type() {
        let (types, multipliers, _) = parts();
        let start = vec![(UnitTypeId(99), 1)];
        assert_eq!(Rules::new(types, multipliers, start).unwrap_err().field, "start");
    }

    #[test]
    fn refuses_sensors_beyond_the_neighbouring_sectors() {
        let (mut types, multipliers, start) = parts();
        types[1].sensor = SENSOR_METRES_MAX + 1;
        assert_eq!(Rules::new(types, multipliers, start).unwrap_err().field, "sensor");
    }
}
