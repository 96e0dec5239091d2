//! Owns what players can tell their units to do, and what they are answered.
//! Never looks at a sector's units (`sector::commands` does). Made by gateways
//! from messages, journalled, applied by sectors. Invariant: a `Command` that
//! exists is well formed; the shape is checked once, where it is made.

use serde::{Deserialize, Serialize};

use super::Galaxy;
use crate::base::{CompressedPosition, FleetId, Position, SectorId, UnitId};

/// The most units one command can name.
pub const COMMAND_UNITS_MAX: usize = 256;
/// The first id that JSON could not carry exactly.
pub const ID_END: u64 = 1 << 53;

/// An order to units of one player in one sector: all of them take it, or
/// none does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub to: Recipients,
    pub what: Instruction,
    /// Whether it waits behind the orders that a unit has already.
    pub queue: bool,
}

/// Whom a command is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipients {
    Units(UnitIds),
    /// All units of the fleet that are in the sector.
    Fleet(FleetId),
}

/// What units are told to do. Journalled by place in this list: add at the
/// end, never reorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Instruction {
    /// Go there and stand.
    Move { target: Target },
    /// Stand where you are, without an order; what waited is forgotten.
    Stop,
    /// Stand where you are and stay.
    Hold,
    /// Go there, but stand while you are in combat.
    AttackMove { target: Target },
    /// Go there, and then back and forth.
    Patrol { target: Target },
    /// Go there at warp speed.
    Warp { target: Target },
    /// Belong to this fleet from now on; to none with 0.
    Join { fleet: FleetId },
}

impl Instruction {
    /// Where it leads.
    pub fn target(self) -> Option<Target> {
        match self {
            Instruction::Move { target }
            | Instruction::AttackMove { target }
            | Instruction::Patrol { target }
            | Instruction::Warp { target } => Some(target),
            Instruction::Stop | Instruction::Hold | Instruction::Join { .. } => None,
        }
    }

    /// A name for programs, which never changes.
    pub fn code(self) -> &'static str {
        match self {
            Instruction::Move { .. } => "move",
            Instruction::Stop => "stop",
            Instruction::Hold => "hold",
            Instruction::AttackMove { .. } => "attack_move",
            Instruction::Patrol { .. } => "patrol",
            Instruction::Warp { .. } => "warp",
            Instruction::Join { .. } => "join",
        }
    }
}

impl Command {
    /// To some units, at once.
    pub fn new(units: UnitIds, what: Instruction) -> Command {
        Command { to: Recipients::Units(units), what, queue: false }
    }

    /// A move of some units, at once.
    pub fn go(units: UnitIds, target: Target) -> Command {
        Command::new(units, Instruction::Move { target })
    }
}

/// 1 to 256 different unit ids, as the client named them, each from 1 to
/// 2^53 − 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<UnitId>")]
pub struct UnitIds(Vec<UnitId>);

impl UnitIds {
    /// Checks `ids`.
    ///
    /// # Errors
    /// When there are none, more than [`COMMAND_UNITS_MAX`], one out of range,
    /// or one twice.
    pub fn new(ids: Vec<UnitId>) -> Result<UnitIds, Invalid> {
        let invalid = |expected| Err(Invalid { field: "units", expected });
        if ids.is_empty() || ids.len() > COMMAND_UNITS_MAX {
            return invalid("1 to 256 unit ids");
        }
        if ids.iter().any(|id| !(1..ID_END).contains(&id.0)) {
            return invalid("unit ids from 1 to 2^53 - 1");
        }
        if has_doubles(&ids) {
            return invalid("each unit once");
        }
        Ok(UnitIds(ids))
    }

    /// The first unit named; acknowledgements speak of it.
    pub fn first(&self) -> UnitId {
        // Never empty, see `new`.
        self.0.first().copied().unwrap_or_default()
    }

    /// In the client's order.
    pub fn iter(&self) -> impl Iterator<Item = UnitId> {
        self.0.iter().copied()
    }
}

/// Most commands name a few units, which are compared as they are.
fn has_doubles(ids: &[UnitId]) -> bool {
    const FEW: usize = 8;
    if ids.len() <= FEW {
        return (1..ids.len()).any(|n| ids[..n].contains(&ids[n]));
    }
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

impl TryFrom<Vec<UnitId>> for UnitIds {
    type Error = Invalid;

    fn try_from(ids: Vec<UnitId>) -> Result<UnitIds, Invalid> {
        UnitIds::new(ids)
    }
}

impl From<UnitIds> for Vec<UnitId> {
    fn from(units: UnitIds) -> Vec<UnitId> {
        units.0
    }
}

/// A place anywhere in the galaxy, in a sector of any scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub sector: SectorId,
    pub position: CompressedPosition,
}

impl Target {
    /// The scale-0 sector and the place in it that are meant.
    ///
    /// # Errors
    /// [`Refusal::OutsideGalaxy`].
    pub fn locate(self, galaxy: &Galaxy) -> Result<(SectorId, Position), Refusal> {
        self.position
            .locate(self.sector)
            .filter(|(sector, _)| galaxy.contains(*sector))
            .ok_or(Refusal::OutsideGalaxy)
    }
}

/// What became of a command that was applied, told of its first unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub unit: UnitId,
    /// Where it is.
    pub position: Position,
    /// Where it will stand: its target when that is in the sector and the order
    /// does not wait, else where it leaves.
    pub arrival: Position,
    /// After so many steps of the sector, if nothing is in its way.
    pub steps: u16,
}

/// A message whose shape is wrong, whatever the state: answered `invalid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub struct Invalid {
    pub field: &'static str,
    pub expected: &'static str,
}

/// A command that a rule forbids: answered `refused`. Nothing of it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{rule}")]
pub struct Refused {
    pub rule: Refusal,
    /// The first unit it concerns, if it concerns a unit.
    pub unit: Option<UnitId>,
}

/// The rules that refuse commands. Journalled by place in this list: add at
/// the end, never reorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("the unit belongs to another player")]
    NotYourUnit,
    #[error("there is no such unit in this sector")]
    UnknownUnit,
    #[error("the unit is in transit and takes no commands until it arrives")]
    InTransit,
    #[error("the target lies outside the unit's sector")]
    OutsideSector,
    #[error("the target lies outside the galaxy")]
    OutsideGalaxy,
    #[error("units of this type cannot move")]
    Immobile,
    #[error("the rules do not know the type of this unit")]
    UnknownType,
    #[error("sixteen orders wait already")]
    QueueFull,
    #[error("units in warp take only orders that wait")]
    InWarp,
    #[error("the target is farther than the unit flies in an hour")]
    OutOfReach,
    #[error("the fleet has no units in this sector")]
    NoSuchFleet,
    #[error("stopping and joining a fleet cannot wait")]
    CannotWait,
    #[error("carrying it out broke this place, so it was set aside; nothing else was lost")]
    SetAside,
}

impl Refusal {
    /// A name for programs, which never changes.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::NotYourUnit => "not_your_unit",
            Refusal::UnknownUnit => "unknown_unit",
            Refusal::InTransit => "in_transit",
            Refusal::OutsideSector => "outside_sector",
            Refusal::OutsideGalaxy => "outside_galaxy",
            Refusal::Immobile => "immobile",
            Refusal::UnknownType => "unknown_type",
            Refusal::QueueFull => "queue_full",
            Refusal::InWarp => "in_warp",
            Refusal::OutOfReach => "out_of_reach",
            Refusal::NoSuchFleet => "no_such_fleet",
            Refusal::CannotWait => "cannot_wait",
            Refusal::SetAside => "set_aside",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: impl IntoIterator<Item = u64>) -> Result<UnitIds, Invalid> {
        UnitIds::new(ids.into_iter().map(UnitId).collect())
    }

    #[test]
    fn keeps_the_clients_order_of_units() {
        let units = ids([9, 3, 7]).unwrap();
        assert_eq!(units.first(), UnitId(9));
        assert_eq!(units.iter().collect::<Vec<_>>(), [UnitId(9), UnitId(3), UnitId(7)]);
    }

    #[test]
    fn refuses_no_units_too_many_foreign_ids_and_repetitions() {
        let expected = |wrong: Result<UnitIds, Invalid>| wrong.unwrap_err().expected;
        assert_eq!(expected(ids([])), "1 to 256 unit ids");
        assert_eq!(expected(ids(1..=257)), "1 to 256 unit ids");
        assert_eq!(expected(ids([0])), "unit ids from 1 to 2^53 - 1");
        assert_eq!(expected(ids([ID_END])), "unit ids from 1 to 2^53 - 1");
        assert_eq!(expected(ids([1, 2, 1])), "each unit once");
        assert!(ids(1..=256).is_ok());
    }

    #[test]
    fn a_command_that_is_not_well_formed_cannot_be_read() {
        let none: Vec<UnitId> = Vec::new();
        let bytes = postcard::to_stdvec(&none).unwrap();
        assert!(postcard::from_bytes::<UnitIds>(&bytes).is_err());
    }

    #[test]
    fn a_target_is_located_in_the_galaxy_at_any_scale() {
        let galaxy = Galaxy::new(1, Galaxy::SIDE).unwrap();
        let centre = CompressedPosition { x: 1 << 31, y: 1 << 31 };
        let target = |x, y, scale| Target { sector: SectorId { x, y, scale }, position: centre };
        let half = Position { x: 1 << 19, y: 1 << 19 };
        assert_eq!(target(9_999, 0, 0).locate(&galaxy), Ok((SectorId::tactical(9_999, 0), half)));
        let origin = Position { x: 0, y: 0 };
        assert_eq!(
            target(0, 0, 14).locate(&galaxy),
            Ok((SectorId::tactical(8_192, 8_192), origin))
        );
        for outside in [(10_000, 0, 0), (-1, 0, 0), (1, 0, 14), (0, 0, 64), (i64::MAX, 0, 9)] {
            let target = target(outside.0, outside.1, outside.2);
            assert_eq!(target.locate(&galaxy), Err(Refusal::OutsideGalaxy));
        }
    }
}
