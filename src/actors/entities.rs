//! Owns the gateway's way to entities: commands, attachment, observation,
//! sessions. Never decides anything; the registry says where an entity runs,
//! the entity's table what becomes of a message. Called by sessions.

use std::sync::Arc;

use super::ports::Ports;
use crate::base::{EntityKey, PlayerId, SessionId};
use crate::cluster::core::table::Unavailable;
use crate::entity::World;
use crate::entity::commands::PlayerCommand;
use crate::entity::input::Connect;

/// Entities of the galaxy, as a gateway reaches them; cheap to clone.
#[derive(Clone)]
pub struct Entities {
    pub world: Arc<World>,
    pub ports: Arc<Ports>,
}

impl Entities {
    /// Sends a player's command to its entity. The answer comes to the
    /// session's port ([`ToSession::Player`](super::ports::ToSession)), or
    /// [`Rejected`](super::ports::ToSession::Rejected) to `connection`.
    pub fn command(&self, connection: u64, entity: EntityKey, command: PlayerCommand) {
        let _ = (connection, entity, command);
    }

    /// The last sequence that `entity` applied for a session, 0 for none;
    /// `None` when a newer session has sent it commands.
    ///
    /// # Errors
    /// When the entity is not here or does not answer.
    pub async fn attach(
        &self,
        entity: EntityKey,
        player: PlayerId,
        session: SessionId,
    ) -> Result<Option<u32>, Unavailable> {
        let _ = (entity, player, session);
        Err(Unavailable::NotHere)
    }

    /// Lets a connection see `entity` as `player` does: a keyframe, then what
    /// changes. Again for the same connection: a new keyframe.
    ///
    /// # Errors
    /// When the entity is not here or does not answer.
    pub async fn observe(
        &self,
        connection: u64,
        entity: EntityKey,
        player: PlayerId,
    ) -> Result<(), Unavailable> {
        let _ = (connection, entity, player);
        Err(Unavailable::NotHere)
    }

    /// Ends what [`observe`](Self::observe) began.
    pub fn unobserve(&self, connection: u64, entity: EntityKey) {
        let _ = (connection, entity);
    }

    /// Asks the player's ledger for a session. The answer comes to the port of
    /// `connect.connection` as `Connected`.
    ///
    /// # Errors
    /// [`Unavailable::StoreAway`] or `Busy` when nothing was asked.
    pub fn connect(&self, connect: Connect) -> Result<(), Unavailable> {
        let _ = connect;
        Err(Unavailable::NotHere)
    }

    /// Tells the ledger that a session's connection is lost.
    pub fn left(&self, player: PlayerId, session: SessionId) {
        let _ = (player, session);
    }

    /// The node's tick and clock, for headers and acknowledgements.
    pub fn time(&self) -> (crate::base::Tick, crate::base::Millis) {
        Default::default()
    }
}
