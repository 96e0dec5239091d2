//! Owns what entities want done: the closed list of effects that applying
//! inputs and stepping give. Never does them; `cluster::core` carries messages
//! and holds back what must not be seen yet.

use serde::{Deserialize, Serialize};

use super::channel::{Acknowledgement, ChannelMessage};
use super::commands::CommandAnswer;
use super::message::Counts;
use crate::base::{PlayerId, SectorId, SessionId, Tick};
use crate::view::stage::StepDelta;

/// One thing an entity wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// To another entity: carry this, and again until it is acknowledged.
    Carry(ChannelMessage),
    /// To another entity: its messages up to here are applied.
    Acknowledge(Acknowledgement),
    /// To the store: a block of ids, as [`Input::Ids`](super::input::Input::Ids).
    NeedIds,
    /// To a player's session.
    Player(PlayerEffect),
    /// To the observers of a sector: what its last step, and the records before
    /// it, changed beyond what courses tell.
    Stepped(StepDelta),
}

/// What a player's session is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlayerEffect {
    /// A command is done with.
    Answered(CommandAnswer),
    /// The answer to [`Connect`](super::input::Connect).
    Connected(Connected),
    /// A newer session took over; this one is told so and closed.
    SessionEnded { player: PlayerId, session: SessionId },
    /// What the player has in a sector changed; empty when nothing is left.
    Presence { player: PlayerId, session: SessionId, presence: SectorPresence },
}

/// A session was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    pub connection: u64,
    pub player: PlayerId,
    pub session: SessionId,
    /// Whether it is the one the gateway asked to resume.
    pub resumed: bool,
    /// Where the player has units, by sector.
    pub presence: Vec<SectorPresence>,
}

/// What a player has in one sector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorPresence {
    pub sector: SectorId,
    pub counts: Counts,
    /// The sector's tick this was true at.
    pub as_of: Tick,
}
