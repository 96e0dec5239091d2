//! Owns what connections are told from inside, and what of it goes to other
//! nodes. Never brings it; [`Ports`](super::ports) do.

use super::peers::ToGateway;
use crate::base::{EntityKey, PlayerId, SessionId};
use crate::cluster::core::attaching::Ticket;
use crate::cluster::core::table::Unavailable;
use crate::entity::effect::PlayerEffect;
use crate::protocol::Announcement;
use crate::view::fanout::Shown;

/// What a connection is told from inside the node.
#[derive(Clone, Debug)]
pub enum ToSession {
    /// By an entity, durable: an acknowledgement, the session, presence.
    Player(PlayerEffect),
    /// A newer Connect of its player was taken before its own was answered,
    /// which it never will be.
    Superseded,
    /// Its Connect was not taken; nothing happened.
    ConnectRefused(Unavailable),
    /// What is new of the places that it observes, in order.
    Shown(Vec<Shown>),
    /// A command was not taken; nothing happened.
    Rejected { entity: EntityKey, ticket: Ticket, sequence: u32, why: Unavailable },
    /// This entity cannot be loaded: what was asked of it is not answered.
    Parked { entity: EntityKey },
    /// Time stands still (true), or goes on.
    StoreAway(bool),
    /// An operator's word to everybody.
    Announced(Announcement),
    /// The node stops: say so and close.
    ShuttingDown,
}

/// A connection's way in. It bounds what waits in it and says what it drops.
pub trait SessionPort: Send + Sync {
    /// Takes a message without blocking.
    fn deliver(&self, message: ToSession);
}

/// Why a message of another node is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it names a connection that is another node's")]
    Misdirected,
    /// Whoever has it is to be asked.
    #[error("it speaks for the session of player {}, whose ledger is not there", .0.0)]
    NotLedger(PlayerId),
}

/// The player of whose session only the ledger can say that.
pub(super) fn by_ledger(message: &ToGateway) -> Option<PlayerId> {
    match message {
        ToGateway::Player(PlayerEffect::Connected(connected)) => Some(connected.player),
        ToGateway::Player(
            PlayerEffect::SessionEnded { player, .. } | PlayerEffect::Presence { player, .. },
        )
        | ToGateway::Taken { player, .. } => Some(*player),
        ToGateway::Player(PlayerEffect::Answered(_))
        | ToGateway::Superseded { .. }
        | ToGateway::ConnectRefused { .. }
        | ToGateway::Rejected { .. }
        | ToGateway::LedgerStarted(_)
        | ToGateway::Missed => None,
    }
}

/// Whose session it is for.
pub(super) fn addressee(effect: &PlayerEffect) -> Option<(PlayerId, SessionId)> {
    match effect {
        PlayerEffect::Answered(answer) => Some((answer.player, answer.session)),
        PlayerEffect::SessionEnded { player, session }
        | PlayerEffect::Presence { player, session, .. } => Some((*player, *session)),
        PlayerEffect::Connected(_) => None,
    }
}

/// Whether nobody asks for it who is not told of it.
pub(super) fn must_arrive(message: &ToGateway) -> bool {
    match message {
        ToGateway::Player(PlayerEffect::Answered(_)) | ToGateway::Rejected { .. } => false,
        ToGateway::Player(_)
        | ToGateway::Superseded { .. }
        | ToGateway::ConnectRefused { .. }
        | ToGateway::Taken { .. }
        | ToGateway::LedgerStarted(_)
        | ToGateway::Missed => true,
    }
}

pub(super) fn to_gateway(connection: u64, message: ToSession) -> Option<ToGateway> {
    match message {
        ToSession::Player(effect) => Some(ToGateway::Player(effect)),
        ToSession::Superseded => Some(ToGateway::Superseded { connection }),
        ToSession::ConnectRefused(why) => Some(ToGateway::ConnectRefused { connection, why }),
        ToSession::Rejected { entity, ticket, sequence, why } => {
            Some(ToGateway::Rejected { connection, entity, ticket, sequence, why })
        }
        ToSession::Shown(_)
        | ToSession::Parked { .. }
        | ToSession::StoreAway(_)
        | ToSession::Announced(_)
        | ToSession::ShuttingDown => None,
    }
}
