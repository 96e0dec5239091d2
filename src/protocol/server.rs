//! Owns what a server says. Each message is one struct, whose fields are the
//! fields on the wire. No field is called `type`, `handle` or `tick`: those
//! are the header's. What is in a place is told by packets (`blocks`).

use serde::{Deserialize, Serialize};

use super::client::Empty;
use super::{Announcement, Answer, Arrival, MessageType, Place, Point, Sector};
use crate::base::{PlayerId, SessionId};

/// A message from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    Pong(Pong),
    Ack(Ack),
    Connected(Connected),
    /// Gives the header's handle its meaning; a Keyframe follows.
    Subscribed(Subscribed),
    /// The header's handle has no meaning any more.
    Unsubscribed(Empty),
    Presence(Presence),
    /// How much goes on in a sector that is not told by cells.
    Aggregate(Aggregate),
    /// The place runs slower, or as fast again.
    TimeDilation(TimeDilation),
    Error(Error),
    Notification(Notification),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connected {
    pub session: SessionId,
    pub player: PlayerId,
    /// Whether the session asked for goes on: sequences go on too.
    pub resumed: bool,
    /// The gateway node's full tick, of 100 ms.
    pub node_tick: u64,
    /// The server's clock, in milliseconds since the Unix epoch.
    pub server_time: u64,
    /// [`FINGERPRINT`](super::FINGERPRINT) of the server's messages.
    pub fingerprint: String,
    /// The sectors that the player has units in.
    pub presence: Vec<PresenceEntry>,
}

/// Only what changed since the last one, or since Connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Presence {
    pub changed: Vec<PresenceEntry>,
}

/// The player's units in one sector. Without counts: the last one left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PresenceEntry {
    pub sector: Sector,
    pub units: Vec<TypeCount>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TypeCount {
    #[serde(rename = "type")]
    pub type_id: u16,
    pub count: u32,
}

/// How much goes on in the sector of the header's handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aggregate {
    /// Rounded down to one digit; units in warp are not counted.
    pub unit_count: u32,
    /// The mean of its scale-0 sectors, 0 to 1,000.
    pub resource_density: u16,
    /// Commands and combat events per second of the busiest scale-0 sector.
    pub activity_level: u8,
    /// About when one of its scale-0 sectors last changed, to the minute, and when
    /// all were summed up, in milliseconds since the Unix epoch.
    pub last_update: u64,
    pub as_of: u64,
    /// Those that have a part in the galaxy.
    pub children: Vec<Sum>,
}

/// How much goes on in a child of the sector that the message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sum {
    pub sector: Sector,
    pub unit_count: u32,
    pub resource_density: u16,
    pub activity_level: u8,
    pub last_update: u64,
}

/// How fast the place of the header's handle is from here on. After a Keyframe
/// it is at 100 per cent until this says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeDilation {
    /// Of the ticks that it makes when its server keeps up: 10, 20, … 100.
    pub percent: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subscribed {
    pub place: Place,
}

/// The answer to one command. A repeated sequence gets its first one again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ack {
    pub sequence: u32,
    pub success: bool,
    /// The server's clock, in milliseconds since the Unix epoch.
    pub server_time: u64,
    /// The entity's sequence of the record that holds the command; 0 when it
    /// was not journalled.
    pub entity_sequence: u64,
    /// The place's full tick after which it was applied: messages of later
    /// ticks show its effect. 0 with an error that no entity gave.
    pub effect_tick: u64,
    /// Where the first unit was at `effect_tick`.
    pub position: Option<Point>,
    /// Where the first unit will stand, counted from `effect_tick`.
    pub arrival: Option<Arrival>,
    /// Why not; set exactly when `success` is not.
    pub error: Option<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pong {
    /// As the Ping said.
    pub time: u64,
    pub server_time: u64,
}

/// The answer to what was no command, or could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Error {
    /// The name of the type of message that is answered, if it had one.
    pub regarding: Option<String>,
    pub answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notification {
    pub notice: Notice,
}

/// What concerns the whole service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Notice {
    /// Time stands still; nothing is lost, nothing to do.
    StoreAway {},
    /// Time goes on.
    StoreBack {},
    /// The connection will end; come back after so long, with resume.
    #[serde(rename_all = "camelCase")]
    ShuttingDown { after_ms: u32 },
    /// An operator says something to everybody who is connected.
    Announcement { text: Announcement },
}

impl Ack {
    /// `sequence` was not carried out.
    pub fn failed(sequence: u32, server_time: u64, error: Answer) -> Ack {
        Ack {
            sequence,
            success: false,
            server_time,
            entity_sequence: 0,
            effect_tick: 0,
            position: None,
            arrival: None,
            error: Some(error),
        }
    }
}

impl ServerMessage {
    /// The type that stands in the frame.
    pub const fn kind(&self) -> MessageType {
        match self {
            ServerMessage::Pong(_) => MessageType::Pong,
            ServerMessage::Ack(_) => MessageType::Ack,
            ServerMessage::Connected(_) => MessageType::Connected,
            ServerMessage::Subscribed(_) => MessageType::Subscribed,
            ServerMessage::Unsubscribed(_) => MessageType::Unsubscribed,
            ServerMessage::Presence(_) => MessageType::Presence,
            ServerMessage::Aggregate(_) => MessageType::Aggregate,
            ServerMessage::TimeDilation(_) => MessageType::TimeDilation,
            ServerMessage::Error(_) => MessageType::Error,
            ServerMessage::Notification(_) => MessageType::Notification,
        }
    }
}
