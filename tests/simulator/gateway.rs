//! Owns the gateway inside a process: connections, and which one has a
//! player's newest session. A model of `actors::ports` and of sessions, with
//! their commands but without their queues; it dies with the process.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::base::{EntityKey, PlayerId, SectorId, SessionId};
use starmesh::cluster::core::table::Release;
use starmesh::entity::commands::CommandAnswer;
use starmesh::entity::effect::{Connected, PlayerEffect, SectorPresence};
use starmesh::entity::input::Left;
use starmesh::gateway::session::commands::CommandTable;
use starmesh::sim::Command;
use starmesh::view::fanout::Shown;

/// What a client asks.
#[derive(Clone, Debug)]
pub enum Request {
    Connect {
        client: usize,
        player: PlayerId,
        resume: Option<SessionId>,
    },
    Command {
        entity: EntityKey,
        sequence: u32,
        command: Command,
    },
    Observe(EntityKey),
    Unobserve(EntityKey),
    /// The connection has ended, whoever ended it.
    Close,
}

/// What a client is told.
#[derive(Clone, Debug)]
pub enum ToClient {
    Connected(Connected),
    Answered(CommandAnswer),
    SessionEnded(SessionId),
    Presence(SectorPresence),
    /// A copy of a command was not taken, because nobody is there (`never`), or
    /// at this moment.
    Rejected {
        sequence: u32,
        never: bool,
    },
    Shown(Shown),
    /// The connection has ended.
    Closed,
}

/// A connection as the gateway knows it.
pub struct Connection {
    pub client: usize,
    pub player: PlayerId,
    pub session: Option<SessionId>,
    pub commands: CommandTable,
    /// What it observes.
    pub places: BTreeSet<SectorId>,
}

/// The connections of one process.
#[derive(Default)]
pub struct Gateway {
    pub connections: BTreeMap<u64, Connection>,
    sessions: BTreeMap<PlayerId, (SessionId, u64)>,
}

impl Gateway {
    /// Whether the connection is new: only its first message may be Connect.
    pub fn open(&mut self, connection: u64, client: usize, player: PlayerId) -> bool {
        let (commands, places) = (CommandTable::default(), BTreeSet::new());
        let fresh = Connection { client, player, session: None, commands, places };
        let is_new = !self.connections.contains_key(&connection);
        self.connections.entry(connection).or_insert(fresh);
        is_new
    }

    /// Forgets a connection; what it was.
    pub fn close(&mut self, connection: u64) -> Option<Connection> {
        let closed = self.connections.remove(&connection)?;
        if self.sessions.get(&closed.player).is_some_and(|(_, holder)| *holder == connection) {
            self.sessions.remove(&closed.player);
        }
        Some(closed)
    }

    /// The session that this gives to a connection that has gone.
    pub fn orphan(&self, release: &Release) -> Option<Left> {
        let Release::Player(PlayerEffect::Connected(connected)) = release else { return None };
        let Connected { player, session, connection, .. } = *connected;
        let known = self.connections.contains_key(&connection);
        (!known).then_some(Left { player, session, connection })
    }

    /// Whom something that left the node's entities is for: client,
    /// connection, message.
    pub fn route(&mut self, release: Release) -> Option<(usize, u64, ToClient)> {
        match release {
            // These go by the fan-out and the roll-up.
            Release::Scene { .. }
            | Release::Step { .. }
            | Release::Pace { .. }
            | Release::Gone { .. }
            | Release::Summaries(_)
            // It is the session's own.
            | Release::Read { .. } => None,
            Release::Player(effect) => self.route_player(effect),
        }
    }

    fn route_player(&mut self, effect: PlayerEffect) -> Option<(usize, u64, ToClient)> {
        let (player, session, message) = match effect {
            PlayerEffect::Connected(connected) => {
                let number = connected.connection;
                let connection = self.connections.get_mut(&number)?;
                connection.session = Some(connected.session);
                self.sessions.insert(connected.player, (connected.session, number));
                return Some((connection.client, number, ToClient::Connected(connected)));
            }
            PlayerEffect::Answered(answer) => {
                (answer.player, answer.session, ToClient::Answered(answer))
            }
            PlayerEffect::SessionEnded { player, session } => {
                (player, session, ToClient::SessionEnded(session))
            }
            PlayerEffect::Presence { player, session, presence } => {
                (player, session, ToClient::Presence(presence))
            }
        };
        let (newest, connection) = *self.sessions.get(&player)?;
        let known = self.connections.get_mut(&connection).filter(|_| newest == session)?;
        if let ToClient::Answered(answer) = &message {
            known.commands.note_answered(answer.entity, answer.sequence);
        }
        Some((known.client, connection, message))
    }
}
