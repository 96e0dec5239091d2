//! Owns commands: the one form [`Command`] that the session, the entity and the
//! client library work with; `messages` has the structs on the wire. A command
//! belongs to one entity for ever; its key is (player, session, sequence).

mod messages;

use serde::{Deserialize, Serialize};

pub use self::messages::{BatchCommand, BatchItem, JoinFleet, TargetCommand, UnitsCommand};
use super::client::ClientMessage;
use super::wire::fleet_id;
use super::{ClientFrame, Destination, Place, Point};
use crate::base::{FleetId, UnitId};

/// What the units shall do. On the wire by its number in this list: add at
/// the end, never reorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Order {
    MoveFleet {
        target: Target,
    },
    Stop {},
    Hold {},
    AttackMove {
        target: Target,
    },
    Patrol {
        target: Target,
    },
    Warp {
        target: Target,
    },
    JoinFleet {
        /// 0 for none.
        #[serde(deserialize_with = "fleet_id")]
        into: FleetId,
    },
}

/// Where an order leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    Position(Destination),
}

/// Which entity a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// A place by its handle on this connection, never 0.
    Handle(u32),
    Place(Place),
}

/// Who in the place shall carry a command out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// 1 to 256, each once.
    Units(Vec<UnitId>),
    /// All units of the player's fleet that are in the place; never 0.
    Fleet(FleetId),
}

/// A command, however it came: alone or in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// From 1, raised by one with every command of the session.
    pub sequence: u32,
    /// The client's clock, in milliseconds.
    pub time: u64,
    pub to: Addressee,
    pub predicted: Option<Point>,
    pub recipients: Recipients,
    /// Whether it waits behind the orders that a unit has already.
    pub queue: bool,
    pub order: Order,
}

/// A command that says something twice, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub struct ShapeError {
    /// Its path, as `commands[2].units`.
    pub field: String,
    pub expected: &'static str,
}

impl ShapeError {
    fn new(field: &str, expected: &'static str) -> ShapeError {
        ShapeError { field: field.into(), expected }
    }

    fn in_command(self, n: usize) -> ShapeError {
        ShapeError { field: format!("commands[{n}].{}", self.field), ..self }
    }
}

impl Addressee {
    /// Reads the header's handle and the body's place together.
    ///
    /// # Errors
    /// When both or neither is given.
    pub fn parse(handle: u32, place: Option<Place>) -> Result<Addressee, ShapeError> {
        match (handle, place) {
            (0, Some(place)) => Ok(Addressee::Place(place)),
            (0, None) | (_, Some(_)) => {
                Err(ShapeError::new("handle", "a command has either a handle or a place"))
            }
            (handle, None) => Ok(Addressee::Handle(handle)),
        }
    }

    /// The header's handle and the body's place that say so.
    pub fn split(self) -> (u32, Option<Place>) {
        match self {
            Addressee::Handle(handle) => (handle, None),
            Addressee::Place(place) => (0, Some(place)),
        }
    }
}

impl Recipients {
    fn parse(units: &[UnitId], fleet: Option<FleetId>) -> Result<Recipients, ShapeError> {
        match (units, fleet) {
            ([], Some(fleet)) => Ok(Recipients::Fleet(fleet)),
            ([_, ..], None) => Ok(Recipients::Units(units.to_vec())),
            _ => Err(ShapeError::new("units", "1 to 256 units, or a fleet instead")),
        }
    }

    fn split(self) -> (Vec<UnitId>, Option<FleetId>) {
        match self {
            Recipients::Units(units) => (units, None),
            Recipients::Fleet(fleet) => (Vec::new(), Some(fleet)),
        }
    }

    /// The units named; none for a fleet.
    pub fn units(&self) -> &[UnitId] {
        match self {
            Recipients::Units(units) => units,
            Recipients::Fleet(_) => &[],
        }
    }
}

impl ClientFrame {
    /// The commands in this frame, in the order to apply them; none when it is
    /// of another kind.
    ///
    /// # Errors
    /// When it names its place or its units twice, or not at all; a decoded
    /// frame never does.
    pub fn commands(&self) -> Result<Vec<Command>, ShapeError> {
        let to = |place| Addressee::parse(self.header.handle, place);
        let command = match &self.message {
            ClientMessage::MoveFleet(m) => {
                m.command(to(m.place)?, Order::MoveFleet { target: m.target })
            }
            ClientMessage::AttackMove(m) => {
                m.command(to(m.place)?, Order::AttackMove { target: m.target })
            }
            ClientMessage::Patrol(m) => m.command(to(m.place)?, Order::Patrol { target: m.target }),
            ClientMessage::Warp(m) => m.command(to(m.place)?, Order::Warp { target: m.target }),
            ClientMessage::Stop(m) => m.command(to(m.place)?, Order::Stop {}),
            ClientMessage::Hold(m) => m.command(to(m.place)?, Order::Hold {}),
            ClientMessage::JoinFleet(m) => {
                m.command(to(m.place)?, Order::JoinFleet { into: m.into })
            }
            ClientMessage::BatchCommand(m) => return m.commands(to(m.place)?),
            _ => return Ok(Vec::new()),
        };
        Ok(vec![command?])
    }
}

impl Command {
    /// The frame that carries this command alone.
    pub fn frame(&self) -> ClientFrame {
        let to = |target| TargetCommand::of(self, target);
        let message = match self.order {
            Order::MoveFleet { target } => ClientMessage::MoveFleet(to(target)),
            Order::AttackMove { target } => ClientMessage::AttackMove(to(target)),
            Order::Patrol { target } => ClientMessage::Patrol(to(target)),
            Order::Warp { target } => ClientMessage::Warp(to(target)),
            Order::Stop {} => ClientMessage::Stop(UnitsCommand::of(self)),
            Order::Hold {} => ClientMessage::Hold(UnitsCommand::of(self)),
            Order::JoinFleet { into } => ClientMessage::JoinFleet(JoinFleet::of(self, into)),
        };
        let (handle, _) = self.to.split();
        ClientFrame::new(handle, 0, message)
    }
}
