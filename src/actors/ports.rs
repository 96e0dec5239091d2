//! Owns the ways from entities to players' connections: which connection is
//! there, and which one is a player's newest session. Never holds a message:
//! a port bounds its own queue. Called by arbiters (deliver) and by gateways
//! (open, close). Invariant: `deliver` never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::base::{EntityKey, PlayerId, SessionId};
use crate::cluster::core::table::{Release, Unavailable};
use crate::entity::effect::{Connected, PlayerEffect};
use crate::entity::input::Left;
use crate::view::observer::Update;

/// What a connection is told from inside the node.
#[derive(Clone, Debug)]
pub enum ToSession {
    /// By an entity, durable: an acknowledgement, the session, presence.
    Player(PlayerEffect),
    /// What it observes has changed.
    Update { entity: EntityKey, update: Arc<Update> },
    /// What it observes runs here no more: observe anew.
    Gone { entity: EntityKey },
    /// A command was not taken; nothing happened.
    Rejected { entity: EntityKey, sequence: u32, why: Unavailable },
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

/// All connections of this node.
#[derive(Default)]
pub struct Ports {
    connections: DashMap<u64, Arc<dyn SessionPort>>,
    sessions: DashMap<PlayerId, (SessionId, u64)>,
    last: AtomicU64,
}

impl Ports {
    /// Opens a connection; its number is never used again by this process.
    pub fn open(&self, port: Arc<dyn SessionPort>) -> u64 {
        let connection = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.connections.insert(connection, port);
        connection
    }

    /// The connection has `player`'s session from now on. One that has it
    /// still, because its client resumed elsewhere, is told that it ended.
    pub fn attach(&self, connection: u64, player: PlayerId, session: SessionId) {
        let before = self.sessions.insert(player, (session, connection));
        if let Some((session, other)) = before
            && other != connection
        {
            let ended = PlayerEffect::SessionEnded { player, session };
            self.deliver(other, ToSession::Player(ended));
        }
    }

    /// Forgets a connection, and its session if no newer one took over.
    pub fn close(&self, connection: u64, player: Option<PlayerId>) {
        self.connections.remove(&connection);
        if let Some(player) = player {
            self.sessions.remove_if(&player, |_, (_, holder)| *holder == connection);
        }
    }

    /// Connections that are open.
    pub fn count(&self) -> usize {
        self.connections.len()
    }

    /// To one connection; nothing if it is gone.
    pub fn deliver(&self, connection: u64, message: ToSession) {
        let port = self.connections.get(&connection).map(|port| port.clone());
        if let Some(port) = port {
            port.deliver(message);
        }
    }

    /// To every connection.
    pub fn broadcast(&self, message: &ToSession) {
        let ports: Vec<_> = self.connections.iter().map(|port| port.clone()).collect();
        ports.iter().for_each(|port| port.deliver(message.clone()));
    }

    /// Brings what entities released to the connections it is for. Returns a
    /// session that was given to a connection that has gone: its ledger is to
    /// be told, or it would count as open for ever.
    #[must_use]
    pub fn release(&self, release: Release) -> Option<Left> {
        match release {
            Release::Update { observer, entity, update } => {
                self.deliver(observer, ToSession::Update { entity, update });
            }
            // Its asker waits for it in the ticker.
            Release::Attached { .. } => {}
            Release::Gone { observer, entity } => {
                self.deliver(observer, ToSession::Gone { entity });
            }
            Release::Player(PlayerEffect::Connected(connected)) => {
                let connection = connected.connection;
                if !self.connections.contains_key(&connection) {
                    let Connected { player, session, .. } = connected;
                    return Some(Left { player, session, connection });
                }
                self.attach(connection, connected.player, connected.session);
                let effect = PlayerEffect::Connected(connected);
                self.deliver(connection, ToSession::Player(effect));
            }
            Release::Player(effect) => {
                let (player, session) = match &effect {
                    PlayerEffect::Answered(answer) => (answer.player, answer.session),
                    PlayerEffect::SessionEnded { player, session }
                    | PlayerEffect::Presence { player, session, .. } => (*player, *session),
                    PlayerEffect::Connected(_) => return None,
                };
                let holder = self.sessions.get(&player).map(|entry| *entry);
                if let Some((newest, connection)) = holder
                    && newest == session
                {
                    self.deliver(connection, ToSession::Player(effect));
                }
            }
        }
        None
    }
}
