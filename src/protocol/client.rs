//! Owns what a client says. Each message is one struct, whose fields are the
//! fields on the wire; what a client may say when is in `legality`.

use serde::de::{Deserializer, Error, Unexpected};
use serde::{Deserialize, Serialize};

use super::command::{BatchCommand, JoinFleet, TargetCommand, UnitsCommand};
use super::wire::{exact, id};
use super::{MessageType, SUBSCRIBED_SECTORS_MAX, Sector, TOKEN_BYTES_MAX};
use crate::base::SessionId;

/// A message from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    MoveFleet(TargetCommand),
    Stop(UnitsCommand),
    Hold(UnitsCommand),
    AttackMove(TargetCommand),
    Patrol(TargetCommand),
    Warp(TargetCommand),
    JoinFleet(JoinFleet),
    BatchCommand(BatchCommand),
    Ping(Ping),
    /// Answered by Connected or by Error and the end of the connection.
    Connect(Connect),
    /// The connection ends; the session can be resumed.
    Disconnect(Empty),
    /// Answered by Subscribed and a Keyframe for each sector, or by one Error.
    Subscribe(Subscribe),
    /// For the header's handle; answered by Unsubscribed.
    Unsubscribe(Empty),
    /// For the header's handle; answered by a Keyframe.
    KeyframeRequest(Empty),
}

/// The body of a message that says all by its type and header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connect {
    /// The access token that registering, logging in or refreshing returned.
    #[serde(deserialize_with = "token")]
    pub token: String,
    /// The session to go on with; left out, a new one begins and ends the
    /// player's older one.
    #[serde(default, deserialize_with = "session")]
    pub resume: Option<SessionId>,
}

/// Answered by Pong, which returns `time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ping {
    /// The client's, in milliseconds; below 2^53.
    #[serde(deserialize_with = "exact")]
    pub time: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subscribe {
    #[serde(deserialize_with = "area")]
    pub area: Area,
}

/// What a subscription is for: 1 to 25 sectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Area {
    Sectors(Vec<Sector>),
    Rectangle(Rectangle),
}

/// `width` by `height` sectors of one scale, `corner` having the smallest x
/// and y of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rectangle {
    pub corner: Sector,
    pub width: u8,
    pub height: u8,
}

impl Area {
    /// The sectors of it, row by row.
    pub fn sectors(&self) -> Vec<Sector> {
        match self {
            Area::Sectors(sectors) => sectors.clone(),
            Area::Rectangle(r) => (0..i64::from(r.height))
                .flat_map(|dy| (0..i64::from(r.width)).map(move |dx| (dx, dy)))
                .map(|(dx, dy)| Sector {
                    x: r.corner.x.saturating_add(dx),
                    y: r.corner.y.saturating_add(dy),
                    scale: r.corner.scale,
                })
                .collect(),
        }
    }

    fn count(&self) -> usize {
        match self {
            Area::Sectors(sectors) => sectors.len(),
            Area::Rectangle(r) => usize::from(r.width) * usize::from(r.height),
        }
    }
}

impl ClientMessage {
    /// The type that stands in the frame.
    pub const fn kind(&self) -> MessageType {
        match self {
            ClientMessage::MoveFleet(_) => MessageType::MoveFleet,
            ClientMessage::Stop(_) => MessageType::Stop,
            ClientMessage::Hold(_) => MessageType::Hold,
            ClientMessage::AttackMove(_) => MessageType::AttackMove,
            ClientMessage::Patrol(_) => MessageType::Patrol,
            ClientMessage::Warp(_) => MessageType::Warp,
            ClientMessage::JoinFleet(_) => MessageType::JoinFleet,
            ClientMessage::BatchCommand(_) => MessageType::BatchCommand,
            ClientMessage::Ping(_) => MessageType::Ping,
            ClientMessage::Connect(_) => MessageType::Connect,
            ClientMessage::Disconnect(_) => MessageType::Disconnect,
            ClientMessage::Subscribe(_) => MessageType::Subscribe,
            ClientMessage::Unsubscribe(_) => MessageType::Unsubscribe,
            ClientMessage::KeyframeRequest(_) => MessageType::KeyframeRequest,
        }
    }
}

fn token<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let token = String::deserialize(from)?;
    if (1..=TOKEN_BYTES_MAX).contains(&token.len()) {
        return Ok(token);
    }
    Err(D::Error::invalid_length(token.len(), &"a token of 1 to 4096 bytes"))
}

fn session<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SessionId>, D::Error> {
    #[derive(Deserialize)]
    struct Id(#[serde(deserialize_with = "id")] u64);
    Ok(Option::<Id>::deserialize(from)?.map(|Id(number)| SessionId(number)))
}

fn area<'de, D: Deserializer<'de>>(from: D) -> Result<Area, D::Error> {
    let area = Area::deserialize(from)?;
    let count = area.count();
    if (1..=SUBSCRIBED_SECTORS_MAX).contains(&count) {
        return Ok(area);
    }
    Err(D::Error::invalid_value(Unexpected::Unsigned(count as u64), &"1 to 25 sectors"))
}
