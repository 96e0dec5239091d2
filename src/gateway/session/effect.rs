//! Owns what a session wants done, and why a connection ends: closed lists.
//! Never does anything; the shell (`gateway::ws`) runs each effect.

use std::sync::Arc;

use crate::base::{EntityKey, NodeId, PlayerId, SessionId};
use crate::cluster::core::attaching::Ticket;
use crate::entity::commands::PlayerCommand;
use crate::entity::input::Connect;
use crate::gateway::queue::Class;
use crate::protocol::http::Secret;
use crate::protocol::{EndReason, ServerFrame};

/// One thing a session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Find out whose token this is. Answered by
    /// [`handle_verified`](super::Session::handle_verified).
    Verify { token: Secret },
    /// Ask the player's ledger for a session. Answered by
    /// [`handle_player`](super::Session::handle_player) with `Connected`, or
    /// by [`handle_connect_refused`](super::Session::handle_connect_refused).
    Connect(Connect),
    /// Attach to an entity. Answered by
    /// [`handle_attached`](super::Session::handle_attached).
    Attach { entity: EntityKey, player: PlayerId, session: SessionId },
    /// See an entity, from a keyframe on. Answered by
    /// [`handle_packet`](super::Session::handle_packet), or by
    /// [`handle_unobserved`](super::Session::handle_unobserved).
    Observe { entity: EntityKey, player: PlayerId },
    /// See it no longer.
    Unobserve { entity: EntityKey },
    /// Send a command to its entity at the node where the session is attached,
    /// after all sent before. Answered by
    /// [`handle_player`](super::Session::handle_player), or by
    /// [`handle_rejected`](super::Session::handle_rejected).
    Command { entity: EntityKey, at: NodeId, ticket: Ticket, command: PlayerCommand },
    /// Tell the ledger that the session's connection is gone.
    Left { player: PlayerId, session: SessionId },
    /// Say something to the client.
    Send { class: Class, frame: ServerFrame },
    /// Give the client a message that others get, too.
    Forward { class: Class, bytes: Arc<[u8]> },
    /// Ask the client for a sign of life.
    Ping,
    /// Say to the client that nothing more comes.
    Close { code: u16, reason: &'static str },
    /// The connection is over, whatever the client still does.
    Finish,
    /// Count this.
    Count(Count),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A session was opened or resumed.
    Opened,
    /// An open session was closed.
    Closed { reason: &'static str },
    /// A command was answered, so long after it came, if that is known.
    Answered { outcome: &'static str, waited_ms: Option<u64> },
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client said so.
    Left,
    /// The socket is gone.
    Lost,
    /// The client said nothing for too long.
    Silent,
    /// Connect was answered with an error.
    ConnectRefused,
    /// Frames that are no WebSocket, or too long for one message.
    BadFrame { too_long: bool },
    /// The node stops.
    ShuttingDown,
    /// The session is over for a reason of the protocol.
    Ended(EndReason),
}

impl Ending {
    /// The code of the WebSocket's close frame (RFC 6455, 7.4.1).
    pub const fn code(self) -> u16 {
        match self {
            Ending::Left => 1000,
            Ending::ShuttingDown => 1001,
            Ending::BadFrame { too_long: false } => 1002,
            Ending::Lost | Ending::Silent | Ending::Ended(_) => 1008,
            Ending::BadFrame { too_long: true } => 1009,
            Ending::ConnectRefused => 1013,
        }
    }

    /// Its name in close frames and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Ending::Left => "left",
            Ending::Lost => "lost",
            Ending::Silent => "silent",
            Ending::ConnectRefused => "connect refused",
            Ending::BadFrame { too_long: false } => "bad frame",
            Ending::BadFrame { too_long: true } => "frame too long",
            Ending::ShuttingDown => "shutting down",
            Ending::Ended(EndReason::Superseded) => "superseded",
            Ending::Ended(EndReason::TokenRefused) => "token refused",
            Ending::Ended(EndReason::GenerationOutdated) => "generation outdated",
            Ending::Ended(EndReason::Violation) => "violation",
            Ending::Ended(EndReason::TooSlow) => "too slow",
        }
    }
}
