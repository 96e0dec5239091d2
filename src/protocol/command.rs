//! Owns commands: their wire structs, and the one form [`Command`] that the
//! session, the entity and the client library work with. A command belongs to
//! one entity for ever; its key is (player, session, sequence).

use serde::de::{Deserializer, Error, Unexpected};
use serde::{Deserialize, Serialize};

use super::client::ClientMessage;
use super::wire::exact;
use super::{COMMAND_UNITS_MAX, ClientFrame, Destination, Place, Point, UNANSWERED_MAX};
use crate::base::UnitId;

/// Type 0x01: the units go to the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveFleet {
    #[serde(deserialize_with = "sequence")]
    pub sequence: u32,
    /// The client's clock, in milliseconds.
    #[serde(deserialize_with = "exact")]
    pub time: u64,
    /// Named here when the header's handle is 0, and only then.
    #[serde(default)]
    pub place: Option<Place>,
    /// Where the client believes the first unit to be.
    #[serde(default)]
    pub predicted: Option<Point>,
    #[serde(deserialize_with = "units")]
    pub units: Vec<UnitId>,
    pub target: Target,
}

/// Types 0x05 and 0x06: an order that needs no target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitsCommand {
    #[serde(deserialize_with = "sequence")]
    pub sequence: u32,
    #[serde(deserialize_with = "exact")]
    pub time: u64,
    #[serde(default)]
    pub place: Option<Place>,
    #[serde(default)]
    pub predicted: Option<Point>,
    #[serde(deserialize_with = "units")]
    pub units: Vec<UnitId>,
}

/// Type 0x0F: up to 32 commands for one place, each answered by its own Ack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchCommand {
    #[serde(deserialize_with = "exact")]
    pub time: u64,
    #[serde(default)]
    pub place: Option<Place>,
    #[serde(deserialize_with = "batch")]
    pub commands: Vec<BatchItem>,
}

/// One command of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchItem {
    #[serde(deserialize_with = "sequence")]
    pub sequence: u32,
    #[serde(default)]
    pub predicted: Option<Point>,
    #[serde(deserialize_with = "units")]
    pub units: Vec<UnitId>,
    pub order: Order,
}

/// What the units shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Order {
    MoveFleet { target: Target },
    Stop {},
    Hold {},
}

/// Where an order leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    Position(Destination),
}

/// Who shall carry a command out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// A place by its handle on this connection, never 0.
    Handle(u32),
    Place(Place),
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
    /// 1 to 256, each once.
    pub units: Vec<UnitId>,
    pub order: Order,
}

/// A command that names its place twice, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a command has either a handle or a place")]
pub struct AddresseeError;

impl Addressee {
    /// Reads the header's handle and the body's place together.
    ///
    /// # Errors
    /// When both or neither is given.
    pub fn parse(handle: u32, place: Option<Place>) -> Result<Addressee, AddresseeError> {
        match (handle, place) {
            (0, Some(place)) => Ok(Addressee::Place(place)),
            (0, None) | (_, Some(_)) => Err(AddresseeError),
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

impl ClientFrame {
    /// The commands in this frame, in the order to apply them; none when it is
    /// of another kind.
    ///
    /// # Errors
    /// When it names its place twice, or not at all; a decoded frame never does.
    pub fn commands(&self) -> Result<Vec<Command>, AddresseeError> {
        let to = |place| Addressee::parse(self.header.handle, place);
        match &self.message {
            ClientMessage::MoveFleet(m) => {
                let order = Order::MoveFleet { target: m.target };
                Ok(vec![m.command(to(m.place)?, order)])
            }
            ClientMessage::Stop(m) => Ok(vec![m.command(to(m.place)?, Order::Stop {})]),
            ClientMessage::Hold(m) => Ok(vec![m.command(to(m.place)?, Order::Hold {})]),
            ClientMessage::BatchCommand(m) => {
                let to = to(m.place)?;
                Ok(m.commands.iter().map(|item| item.command(to, m.time)).collect())
            }
            _ => Ok(Vec::new()),
        }
    }
}

impl MoveFleet {
    fn command(&self, to: Addressee, order: Order) -> Command {
        Command {
            sequence: self.sequence,
            time: self.time,
            to,
            predicted: self.predicted,
            units: self.units.clone(),
            order,
        }
    }
}

impl UnitsCommand {
    fn command(&self, to: Addressee, order: Order) -> Command {
        Command {
            sequence: self.sequence,
            time: self.time,
            to,
            predicted: self.predicted,
            units: self.units.clone(),
            order,
        }
    }
}

impl BatchItem {
    fn command(&self, to: Addressee, time: u64) -> Command {
        Command {
            sequence: self.sequence,
            time,
            to,
            predicted: self.predicted,
            units: self.units.clone(),
            order: self.order,
        }
    }
}

impl Command {
    /// The frame that carries this command alone.
    pub fn frame(&self) -> ClientFrame {
        let (handle, place) = self.to.split();
        let Command { sequence, time, predicted, .. } = *self;
        let units = self.units.clone();
        let plain = |units| UnitsCommand { sequence, time, place, predicted, units };
        let message = match self.order {
            Order::MoveFleet { target } => ClientMessage::MoveFleet(MoveFleet {
                sequence,
                time,
                place,
                predicted,
                units,
                target,
            }),
            Order::Stop {} => ClientMessage::Stop(plain(units)),
            Order::Hold {} => ClientMessage::Hold(plain(units)),
        };
        ClientFrame::new(handle, 0, message)
    }
}

impl From<Command> for BatchItem {
    /// Its time and place are said by the batch.
    fn from(command: Command) -> BatchItem {
        let Command { sequence, predicted, units, order, .. } = command;
        BatchItem { sequence, predicted, units, order }
    }
}

fn sequence<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        0 => Err(D::Error::invalid_value(Unexpected::Unsigned(0), &"a sequence from 1")),
        sequence => Ok(sequence),
    }
}

fn units<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<UnitId>, D::Error> {
    #[derive(Deserialize)]
    struct Id(#[serde(deserialize_with = "super::wire::unit_id")] UnitId);
    let units: Vec<UnitId> = Vec::<Id>::deserialize(from)?.into_iter().map(|Id(id)| id).collect();
    let mut sorted = units.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if (1..=COMMAND_UNITS_MAX).contains(&units.len()) && sorted.len() == units.len() {
        return Ok(units);
    }
    Err(D::Error::invalid_length(units.len(), &"1 to 256 units, each once"))
}

fn batch<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<BatchItem>, D::Error> {
    let commands = Vec::<BatchItem>::deserialize(from)?;
    let rising = commands.windows(2).all(|pair| pair[0].sequence < pair[1].sequence);
    if (1..=UNANSWERED_MAX).contains(&commands.len()) && rising {
        return Ok(commands);
    }
    Err(D::Error::invalid_length(commands.len(), &"1 to 32 commands of rising sequence"))
}
