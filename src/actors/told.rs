//! Owns what connections are told from inside, and what of it goes to other
//! nodes. Never brings it; [`Ports`](super::ports) do.

use super::peers::ToGateway;
use crate::base::{EntityKey, PlayerId, SessionId};
use crate::cluster::core::attaching::Ticket;
use crate::cluster::core::table::Unavailable;
use crate::entity::effect::PlayerEffect;
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
    /// What it wants to observe cannot be now.
    Unobserved { entity: EntityKey, why: Unavailable },
    /// A command was not taken; nothing happened.
    Rejected { entity: EntityKey, ticket: Ticket, sequence: u32, why: Unavailable },
    /// This entity cannot be loaded: what was asked of it is not answered.
    Parked { entity: EntityKey },
    /// Time stands still (true), or goes on.
    StoreAway(bool),
    /// The node stops: say so and close.
    ShuttingDown,
}

/// A connection's way in. It bounds what waits in it and says what it drops.
pub trait SessionPort: Send + Sync {
    /// Takes a message without blocking.
    fn deliver(&self, message: ToSession);
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
        | ToSession::Unobserved { .. }
        | ToSession::Parked { .. }
        | ToSession::StoreAway(_)
        | ToSession::ShuttingDown => None,
    }
}
