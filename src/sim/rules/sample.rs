//! Owns a small fixed set of rules, for tests that must not change when the
//! content does, and that run where no file can be read. Never used by a node.

use super::{Cost, HullClass, Multiplier, OutOfRange, Rules, UnitType, UnitTypeId};
use crate::base::fixed::Thousandths;
use crate::sim::Speed;

/// The fast one: 60 m/s, and 5,000 in warp.
pub const FIGHTER: UnitTypeId = UnitTypeId(1);
/// The slowest that moves: 10 m/s, and 2,000 in warp.
pub const FREIGHTER: UnitTypeId = UnitTypeId(2);
/// Cannot move.
pub const TURRET: UnitTypeId = UnitTypeId(3);

/// Three types; a player starts with two fighters and a freighter.
///
/// # Errors
/// Never, as a test shows.
pub fn rules() -> Result<Rules, OutOfRange> {
    let types = vec![
        unit_type(FIGHTER, "Fighter", HullClass::Fighter, 60),
        unit_type(FREIGHTER, "Freighter", HullClass::Civil, 10),
        unit_type(TURRET, "Turret", HullClass::Structure, 0),
    ];
    let strong = Multiplier {
        attacker: HullClass::Structure,
        target: HullClass::Fighter,
        thousandths: 1500,
    };
    Rules::new(types, vec![strong], vec![(FIGHTER, 2), (FREIGHTER, 1)])
}

/// The sample as it may be later: fighters are faster and cost more.
///
/// # Errors
/// Never, as a test shows.
pub fn later_rules() -> Result<Rules, OutOfRange> {
    let rules = rules()?;
    let mut types = rules.types().to_vec();
    for fighter in types.iter_mut().filter(|kind| kind.id == FIGHTER) {
        fighter.speed = Speed::from_metres_per_second(Thousandths(90_000));
        fighter.cost.rare = 3;
    }
    Rules::new(types, rules.multipliers().to_vec(), rules.start().to_vec())
}

fn unit_type(id: UnitTypeId, name: &str, hull: HullClass, metres_per_second: i64) -> UnitType {
    UnitType {
        id,
        name: name.into(),
        hull,
        hit_points: 100,
        attack: 10,
        defence: 5,
        range: 100,
        fire_ticks: 5,
        speed: Speed::from_metres_per_second(Thousandths(metres_per_second * 1000)),
        warp_speed: if id == FIGHTER { Speed::MAX } else { Speed::WARP },
        sensor: 300,
        cargo: 10,
        cost: Cost { energy: 10, minerals: 10, rare: 0, population: 1 },
        build_ms: 1000,
    }
}
