//! Owns the ways from entities to players' connections: which connection is
//! there, and which one is a player's newest session. Never holds a message:
//! a port bounds its own queue. Called by arbiters (deliver) and by gateways
//! (open, close). Invariants: `deliver` never blocks; a session that an entity
//! gives is either told to its connection before that closes, or handed back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::base::{EntityKey, PlayerId, SessionId};
use crate::cluster::core::attaching::Ticket;
use crate::cluster::core::table::{Release, Unavailable};
use crate::entity::effect::{Connected, PlayerEffect};
use crate::entity::input::Left;
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

/// All connections of this node.
#[derive(Default)]
pub struct Ports {
    connections: DashMap<u64, Arc<dyn SessionPort>>,
    /// The connection whose Connect is the newest unanswered one of a player.
    connecting: DashMap<PlayerId, u64>,
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

    /// The Connect of this connection is in the hands of the player's ledger.
    /// One before it that is not answered yet gives way to it whatever comes,
    /// and its connection is told now: the ledger answers the newest only.
    pub fn ask(&self, connection: u64, player: PlayerId) {
        // A connection that closed meanwhile would leave its entry behind.
        let Some(port) = self.connections.get(&connection) else { return };
        let before = self.connecting.insert(player, connection);
        drop(port);
        if let Some(other) = before.filter(|other| *other != connection) {
            self.deliver(other, ToSession::Superseded);
        }
    }

    /// Tells a connection of the session that its player's ledger gave it. One
    /// that has the player's session still, because its client resumed
    /// elsewhere, is told that it ended. Comes back when the connection has
    /// gone.
    fn give(&self, connected: Connected) -> Option<Left> {
        let Connected { connection, player, session, .. } = connected;
        self.connecting.remove_if(&player, |_, newest| *newest == connection);
        // While this is held the connection does not close.
        let Some(port) = self.connections.get(&connection) else {
            return Some(Left { player, session, connection });
        };
        let before = self.sessions.insert(player, (session, connection));
        port.deliver(ToSession::Player(PlayerEffect::Connected(connected)));
        drop(port);
        if let Some((session, other)) = before.filter(|(_, other)| *other != connection) {
            let ended = PlayerEffect::SessionEnded { player, session };
            self.deliver(other, ToSession::Player(ended));
        }
        None
    }

    /// Forgets a connection, and its session if no newer one took over.
    pub fn close(&self, connection: u64, player: Option<PlayerId>) {
        self.connections.remove(&connection);
        if let Some(player) = player {
            self.connecting.remove_if(&player, |_, newest| *newest == connection);
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
            // These go to the view, that one to who asked.
            Release::Scene { .. }
            | Release::Step { .. }
            | Release::Pace { .. }
            | Release::Gone { .. }
            | Release::Summaries(_)
            | Release::Read { .. } => {}
            Release::Player(PlayerEffect::Connected(connected)) => return self.give(connected),
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const PLAYER: PlayerId = PlayerId(7);

    /// Keeps what it is told; does something when it is told anything.
    struct Port<F: Fn()> {
        told: Mutex<Vec<ToSession>>,
        then: F,
    }

    impl<F: Fn() + Send + Sync> SessionPort for Port<F> {
        fn deliver(&self, message: ToSession) {
            self.told.lock().unwrap().push(message);
            (self.then)();
        }
    }

    impl<F: Fn() + Send + Sync + 'static> Port<F> {
        fn open(ports: &Ports, then: F) -> (u64, Arc<Port<F>>) {
            let port = Arc::new(Port { told: Mutex::default(), then });
            (ports.open(port.clone()), port)
        }

        fn sessions(&self) -> Vec<SessionId> {
            let session = |told: &ToSession| match told {
                ToSession::Player(PlayerEffect::Connected(connected)) => Some(connected.session),
                _ => None,
            };
            self.told.lock().unwrap().iter().filter_map(session).collect()
        }
    }

    fn give(ports: &Ports, connection: u64, session: u64) -> Option<Left> {
        let session = SessionId(session);
        let (resumed, presence) = (false, Vec::new());
        let connected = Connected { connection, player: PLAYER, session, resumed, presence };
        ports.release(Release::Player(PlayerEffect::Connected(connected)))
    }

    #[test]
    fn a_session_for_a_connection_that_has_gone_comes_back() {
        let ports = Ports::default();
        let (connection, port) = Port::open(&ports, || {});
        ports.close(connection, Some(PLAYER));
        let left = Left { player: PLAYER, session: SessionId(3), connection };
        assert_eq!(give(&ports, connection, 3), Some(left));
        assert_eq!(port.sessions(), []);
    }

    /// The worst moment to close: in the middle of the release.
    #[test]
    fn a_connection_that_closes_while_it_is_given_a_session_has_heard_of_it() {
        let ports = Arc::new(Ports::default());
        let newer = Arc::new(AtomicU64::new(0));
        let (closing, closes) = (ports.clone(), newer.clone());
        let (older, _) = Port::open(&ports, move || {
            let connection = closes.load(Ordering::Relaxed);
            if connection > 0 {
                closing.close(connection, Some(PLAYER));
            }
        });
        assert_eq!(give(&ports, older, 1), None);
        let (connection, port) = Port::open(&ports, || {});
        newer.store(connection, Ordering::Relaxed);
        let came_back = give(&ports, connection, 2).is_some();
        assert!(came_back || port.sessions() == [SessionId(2)], "nobody has session 2");
        assert!(ports.sessions.is_empty(), "a session is kept for a connection that has gone");
    }

    #[test]
    fn a_closing_connection_never_leaves_a_session_behind() {
        let ports = Ports::default();
        for session in 1..=20_000 {
            let (connection, port) = Port::open(&ports, || {});
            let came_back = std::thread::scope(|scope| {
                let given = scope.spawn(|| give(&ports, connection, session).is_some());
                ports.close(connection, Some(PLAYER));
                given.join().unwrap()
            });
            assert_ne!(came_back, !port.sessions().is_empty(), "session {session}");
            assert!(ports.sessions.is_empty(), "session {session}");
        }
    }

    #[test]
    fn a_connect_that_a_newer_one_overtakes_is_told_at_once() {
        let ports = Ports::default();
        let (first, told) = Port::open(&ports, || {});
        let (second, newer) = Port::open(&ports, || {});
        ports.ask(first, PLAYER);
        ports.ask(second, PLAYER);
        let said = |port: &[ToSession]| matches!(port, [ToSession::Superseded]);
        assert!(said(&told.told.lock().unwrap()));
        assert!(newer.told.lock().unwrap().is_empty());
        assert_eq!(give(&ports, second, 2), None);
        ports.close(first, Some(PLAYER));
        ports.close(second, Some(PLAYER));
        assert!(ports.connecting.is_empty(), "nobody connects any more");
    }
}
