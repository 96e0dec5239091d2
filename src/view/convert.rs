//! Owns the conversion between domain types and wire types, both ways. Never
//! decides anything. Called wherever a message is made or read.

use crate::base::{CompressedPosition, FleetId, Position, SectorId};
use crate::protocol::command::Target as WireTarget;
use crate::protocol::server::TypeCount;
use crate::protocol::{
    Answer, Arrival, Command as WireCommand, Course as WireCourse, Order as WireOrder, Point,
    Recipients as WireRecipients, UnitRecord,
};
use crate::sim::{
    Accepted, Command, Course, Instruction, Invalid, Order, Recipients, Refusal, Refused, Speed,
    Target, Unit, UnitIds, UnitState, UnitTypeId, Waypoint,
};

/// What all who see `unit` are told of it; its order stays its own.
pub fn record(unit: &Unit) -> UnitRecord {
    let Course { velocity: (vx, vy), remaining: steps } = unit.course;
    UnitRecord {
        id: unit.id,
        type_id: unit.type_id.0,
        owner: unit.owner,
        hops: unit.hops,
        position: unit.position.into(),
        course: WireCourse { vx, vy, steps },
        heading: unit.heading,
        health: unit.health,
        state: unit.state.0,
    }
}

/// A unit to predict with: it moves as the server's does, its order, fleet,
/// speed and waypoint are not known.
pub fn unit(record: &UnitRecord) -> Unit {
    let WireCourse { vx, vy, steps } = record.course;
    let position = Position::from(record.position);
    let course = Course { velocity: (vx, vy), remaining: steps };
    Unit {
        id: record.id,
        type_id: UnitTypeId(record.type_id),
        owner: record.owner,
        hops: record.hops,
        position,
        speed: Speed::MIN,
        waypoint: Waypoint::default(),
        course,
        heading: record.heading,
        health: record.health,
        state: UnitState(record.state),
        fleet: FleetId(0),
        patience: 0,
        order: Order::Idle,
    }
}

/// A player's command as the simulation takes it.
///
/// # Errors
/// When its shape is wrong; a decoded message's never is.
pub fn command(command: &WireCommand) -> Result<Command, Invalid> {
    let to = match &command.recipients {
        WireRecipients::Units(units) => Recipients::Units(UnitIds::new(units.clone())?),
        WireRecipients::Fleet(fleet) => Recipients::Fleet(*fleet),
    };
    let what = match command.order {
        WireOrder::MoveFleet { target } => Instruction::Move { target: self::target(target) },
        WireOrder::AttackMove { target } => {
            Instruction::AttackMove { target: self::target(target) }
        }
        WireOrder::Patrol { target } => Instruction::Patrol { target: self::target(target) },
        WireOrder::Warp { target } => Instruction::Warp { target: self::target(target) },
        WireOrder::Stop {} => Instruction::Stop,
        WireOrder::Hold {} => Instruction::Hold,
        WireOrder::JoinFleet { into } => Instruction::Join { fleet: into },
    };
    Ok(Command { to, what, queue: command.queue })
}

/// Where and when the first unit of a command stands.
pub fn effect(accepted: &Accepted) -> (Point, Arrival) {
    let Accepted { position, arrival, steps, .. } = *accepted;
    (position.into(), Arrival { x: arrival.x, y: arrival.y, steps })
}

/// The answer to a command that a rule forbids. A unit that is not in the
/// place is no rule's business: it may be elsewhere.
pub fn refusal(refused: &Refused) -> Answer {
    match refused.rule {
        Refusal::UnknownUnit => Answer::NotHere {},
        rule => Answer::Refused {
            rule: rule.code().into(),
            why: rule.to_string(),
            unit: refused.unit,
            // A unit in transit is nothing else besides.
            state: (rule == Refusal::InTransit).then_some(UnitState::IN_TRANSIT.0),
        },
    }
}

/// The answer to a command of the wrong shape.
pub fn invalid(invalid: &Invalid) -> Answer {
    Answer::invalid(invalid.field, invalid.expected)
}

/// Counts of units by type.
pub fn counts(counts: &[(UnitTypeId, u32)]) -> Vec<TypeCount> {
    counts.iter().map(|&(type_id, count)| TypeCount { type_id: type_id.0, count }).collect()
}

fn target(target: WireTarget) -> Target {
    let WireTarget::Position(place) = target;
    Target {
        sector: SectorId::from(place.sector),
        position: CompressedPosition { x: place.x, y: place.y },
    }
}
