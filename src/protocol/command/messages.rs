//! Owns the wire structs of commands: one for those without a target, one for
//! those with, one for joining a fleet, and the batch. Never says what they
//! mean (the parent's [`Command`] does). Invariant: each field by itself is in
//! range; that recipients and place are named once is checked with the frame.

use serde::de::{Deserializer, Error, Unexpected};
use serde::{Deserialize, Serialize};

use super::{Addressee, Command, Order, Recipients, ShapeError, Target};
use crate::base::{FleetId, UnitId};
use crate::protocol::wire::{exact, fleet_id};
use crate::protocol::{COMMAND_UNITS_MAX, Place, Point, UNANSWERED_MAX};

/// A command that is a message by itself, with the fields that all of them have.
macro_rules! command_message {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
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
            /// Empty when `fleet` is given, and only then.
            #[serde(default, deserialize_with = "units")]
            pub units: Vec<UnitId>,
            #[serde(default, deserialize_with = "fleet")]
            pub fleet: Option<FleetId>,
            /// Whether it waits behind the orders that a unit has already.
            #[serde(default)]
            pub queue: bool,
            $($(#[$attribute])* pub $field: $type,)*
        }

        impl $name {
            pub(super) fn command(&self, to: Addressee, order: Order) -> Result<Command, ShapeError> {
                Ok(Command {
                    sequence: self.sequence,
                    time: self.time,
                    to,
                    predicted: self.predicted,
                    recipients: Recipients::parse(&self.units, self.fleet)?,
                    queue: self.queue,
                    order,
                })
            }

            pub(super) fn of(command: &Command $(, $field: $type)*) -> $name {
                let Command { sequence, time, predicted, queue, .. } = *command;
                let (_, place) = command.to.split();
                let (units, fleet) = command.recipients.clone().split();
                $name { sequence, time, place, predicted, units, fleet, queue $(, $field)* }
            }
        }
    };
}

command_message! {
    /// Types 0x01 and 0x07 to 0x09: an order that leads to a target.
    TargetCommand { target: Target, }
}

command_message! {
    /// Types 0x05 and 0x06: an order that needs no target.
    UnitsCommand {}
}

command_message! {
    /// Type 0x0A: the units belong to another fleet from now on.
    JoinFleet {
        /// 0 for none.
        #[serde(deserialize_with = "fleet_id")]
        into: FleetId,
    }
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
    #[serde(default, deserialize_with = "units")]
    pub units: Vec<UnitId>,
    #[serde(default, deserialize_with = "fleet")]
    pub fleet: Option<FleetId>,
    #[serde(default)]
    pub queue: bool,
    pub order: Order,
}

impl BatchCommand {
    pub(super) fn commands(&self, to: Addressee) -> Result<Vec<Command>, ShapeError> {
        let command = |(n, item): (usize, &BatchItem)| {
            item.command(to, self.time).map_err(|error| error.in_command(n))
        };
        self.commands.iter().enumerate().map(command).collect()
    }
}

impl BatchItem {
    fn command(&self, to: Addressee, time: u64) -> Result<Command, ShapeError> {
        Ok(Command {
            sequence: self.sequence,
            time,
            to,
            predicted: self.predicted,
            recipients: Recipients::parse(&self.units, self.fleet)?,
            queue: self.queue,
            order: self.order,
        })
    }
}

impl From<Command> for BatchItem {
    /// Its time and place are said by the batch.
    fn from(command: Command) -> BatchItem {
        let Command { sequence, predicted, recipients, queue, order, .. } = command;
        let (units, fleet) = recipients.split();
        BatchItem { sequence, predicted, units, fleet, queue, order }
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
    struct Id(#[serde(deserialize_with = "crate::protocol::wire::unit_id")] UnitId);
    let units: Vec<UnitId> = Vec::<Id>::deserialize(from)?.into_iter().map(|Id(id)| id).collect();
    let mut sorted = units.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if units.len() <= COMMAND_UNITS_MAX && sorted.len() == units.len() {
        return Ok(units);
    }
    Err(D::Error::invalid_length(units.len(), &"1 to 256 units, each once"))
}

fn fleet<'de, D: Deserializer<'de>>(from: D) -> Result<Option<FleetId>, D::Error> {
    #[derive(Deserialize)]
    struct Id(#[serde(deserialize_with = "crate::protocol::wire::id")] u64);
    Ok(Option::<Id>::deserialize(from)?.map(|Id(number)| FleetId(number)))
}

fn batch<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<BatchItem>, D::Error> {
    let commands = Vec::<BatchItem>::deserialize(from)?;
    let rising = commands.windows(2).all(|pair| pair[0].sequence < pair[1].sequence);
    if (1..=UNANSWERED_MAX).contains(&commands.len()) && rising {
        return Ok(commands);
    }
    Err(D::Error::invalid_length(commands.len(), &"1 to 32 commands of rising sequence"))
}
