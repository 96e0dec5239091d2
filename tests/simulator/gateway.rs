//! Owns the gateway inside a process: connections, and which one has a
//! player's newest session. A model of `actors::ports` and of sessions without
//! their queues; it dies with the process.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, PlayerId, SessionId, Tick};
use starmesh::cluster::core::table::{Release, Unavailable};
use starmesh::entity::commands::CommandAnswer;
use starmesh::entity::effect::{Connected, PlayerEffect, SectorPresence};
use starmesh::entity::input::Left;
use starmesh::entity::read::Reading;
use starmesh::protocol::server::{Keyframe, StateDelta};
use starmesh::sim::Command;
use starmesh::view::convert;
use starmesh::view::observer::Update;

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
    Attach(EntityKey),
    Observe(EntityKey),
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
    Rejected {
        sequence: u32,
    },
    Attached(EntityKey, Result<Option<u32>, Unavailable>),
    NotObserved(EntityKey),
    Keyframe(EntityKey, Keyframe),
    Delta {
        entity: EntityKey,
        tick: Tick,
        delta: StateDelta,
    },
    Gone(EntityKey),
    /// The connection has ended.
    Closed,
}

/// A connection as the gateway knows it.
pub struct Connection {
    pub client: usize,
    pub player: PlayerId,
    pub session: Option<SessionId>,
    /// Ticks of the last updates, per place.
    shown: BTreeMap<EntityKey, Tick>,
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
        let fresh = Connection { client, player, session: None, shown: BTreeMap::new() };
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
            Release::Update { observer, entity, update } => {
                let connection = self.connections.get_mut(&observer)?;
                let message = connection.show(entity, &update);
                Some((connection.client, observer, message))
            }
            Release::Read { ask, entity, reading, .. } => {
                let Reading::Applied(last) = reading else { return None };
                let connection = self.connections.get(&ask)?;
                Some((connection.client, ask, ToClient::Attached(entity, Ok(last))))
            }
            Release::Gone { observer, entity } => {
                let connection = self.connections.get(&observer)?;
                Some((connection.client, observer, ToClient::Gone(entity)))
            }
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
        let client = self.connections.get(&connection)?.client;
        (newest == session).then_some((client, connection, message))
    }
}

impl Connection {
    fn show(&mut self, entity: EntityKey, update: &Update) -> ToClient {
        let last = self.shown.insert(entity, update.tick);
        let units = update.units.iter().map(convert::record).collect();
        if update.keyframe {
            return ToClient::Keyframe(entity, Keyframe { full_tick: update.tick.0, units });
        }
        let base = update.tick.since(last.unwrap_or_default());
        let base = u16::try_from(base).unwrap_or(u16::MAX);
        let delta = StateDelta { base, units, removed: update.removed.clone() };
        ToClient::Delta { entity, tick: update.tick, delta }
    }
}
