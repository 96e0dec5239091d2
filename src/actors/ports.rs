//! Owns the ways from entities to players' connections, on this node and on
//! others: which connection is here, which one has a player's newest session,
//! which gateway has a session that is not here. Never holds a message: a port
//! bounds its own queue, a link its outbox. Called by arbiters (deliver), by
//! gateways (open, close) and by links ([`take`](Ports::take)). Invariants:
//! nothing here blocks; a session that an entity gives is either told to its
//! connection before that closes, or handed back; what came from another node
//! is never sent on.
//!
//! What a link does not take, or loses, is made good like this:
//!
//! | lost | then |
//! |---|---|
//! | a command's answer, a refusal | the client sends the command again: answered from the entity's state |
//! | `Connected`, `Superseded`, `ConnectRefused` | the gateway asks again, and the ledger answers a connection as before; or the client comes anew after 30 s |
//! | presence, `SessionEnded`, that a session is elsewhere | the gateway is told that it [missed](ToGateway::Missed) something, or its link comes up: it says what sessions it has, and the ledger what became of each |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use dashmap::{DashMap, DashSet};

use super::calls::Calls;
use super::owed::Word;
use super::peers::{Alone, CONNECTION_BITS, Mesh, PeerMessage, ToGateway, node_of};
use super::routes::{Routes, Way};
use super::told::{addressee, by_ledger, must_arrive, to_gateway};
use crate::base::{EntityKey, NodeId, PlayerId, SessionId};
use crate::cluster::core::table::Release;
use crate::entity::effect::{Connected, PlayerEffect};
use crate::entity::input::Left;

pub use super::told::{Refused, SessionPort, ToSession};

/// Connects of other nodes' connections whose answers are waited for. With one
/// more those are forgotten: one that is overtaken comes anew after 30 s.
const CONNECTING_MOST: usize = 1 << 16;

/// All connections of this node, and the ways to those of others.
pub struct Ports {
    mesh: Arc<dyn Mesh>,
    connections: DashMap<u64, Arc<dyn SessionPort>>,
    /// The connection whose Connect is the newest unanswered one of a player.
    connecting: DashMap<PlayerId, u64>,
    /// Sessions of connections that are here.
    sessions: DashMap<PlayerId, (SessionId, u64)>,
    /// Those of other nodes.
    pub(super) routes: Routes,
    /// What this gateway owes to ledgers.
    pub(super) calls: Calls,
    /// Gateways that were not told what they cannot do without.
    missed: DashSet<NodeId>,
    first: u64,
    last: AtomicU64,
}

impl Default for Ports {
    /// Of a node that is alone.
    fn default() -> Ports {
        Ports::new(Arc::new(Alone(NodeId(1))))
    }
}

impl Ports {
    /// Without connections, on the node that `mesh` says.
    pub fn new(mesh: Arc<dyn Mesh>) -> Ports {
        let first = first_number(mesh.me(), SystemTime::now());
        Ports {
            mesh,
            connections: DashMap::new(),
            connecting: DashMap::new(),
            sessions: DashMap::new(),
            routes: Routes::default(),
            calls: Calls::default(),
            missed: DashSet::new(),
            first,
            last: AtomicU64::new(first),
        }
    }

    /// No connection of this process has a lower number, none of an earlier one
    /// a higher one.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Opens a connection; its number is never used again in the cluster, as
    /// long as the node's clock is not put back between two starts.
    pub fn open(&self, port: Arc<dyn SessionPort>) -> u64 {
        let connection = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.connections.insert(connection, port);
        connection
    }

    /// The Connect of this connection is in the hands of the player's ledger.
    /// One before it that is not answered yet gives way to it whatever comes,
    /// and its connection is told now: the ledger answers the newest only.
    pub fn ask(&self, connection: u64, player: PlayerId) {
        let before = if self.is_here(connection) {
            // A connection that closed meanwhile would leave its entry behind.
            let Some(_port) = self.connections.get(&connection) else { return };
            self.connecting.insert(player, connection)
        } else {
            if self.connecting.len() >= CONNECTING_MOST {
                self.connecting.retain(|_, other| self.is_here(*other));
            }
            self.connecting.insert(player, connection)
        };
        if let Some(other) = before.filter(|other| *other != connection) {
            self.deliver(other, ToSession::Superseded);
        }
    }

    /// Tells a connection of the session that its player's ledger gave it, and
    /// every other gateway that it has it. Comes back when the connection was
    /// here and has gone.
    fn give(&self, connected: Connected) -> Option<Left> {
        let Connected { connection, player, session, .. } = connected;
        self.connecting.remove_if(&player, |_, newest| *newest == connection);
        let taken = ToGateway::Taken { player, session, connection };
        let others = self.mesh.linked();
        let others = others.into_iter().filter(|node| *node != node_of(connection));
        others.for_each(|node| self.tell(node, taken.clone()));
        if self.is_here(connection) {
            return self.give_here(connected);
        }
        self.note_taken(player, session, connection);
        let connected = PlayerEffect::Connected(connected);
        self.tell(node_of(connection), ToGateway::Player(connected));
        None
    }

    /// To a connection of this gateway. One that has the player's session still,
    /// because its client resumed elsewhere, is told that it ended.
    fn give_here(&self, connected: Connected) -> Option<Left> {
        let Connected { connection, player, session, .. } = connected;
        self.calls.note_given(player, connection);
        if self.routes.is_outdated(player, session) {
            let ended = PlayerEffect::SessionEnded { player, session };
            self.deliver(connection, ToSession::Player(PlayerEffect::Connected(connected)));
            self.deliver(connection, ToSession::Player(ended));
            return None;
        }
        // While this is held the connection does not close.
        let Some(port) = self.connections.get(&connection) else {
            return Some(Left { player, session, connection });
        };
        self.routes.note(player, session, connection);
        let before = self.sessions.insert(player, (session, connection));
        port.deliver(ToSession::Player(PlayerEffect::Connected(connected)));
        drop(port);
        if let Some((session, other)) = before.filter(|(_, other)| *other != connection) {
            let ended = PlayerEffect::SessionEnded { player, session };
            self.deliver(other, ToSession::Player(ended));
        }
        None
    }

    /// The player's newest session is at that connection, which is not here:
    /// another one of the player that is here has ended.
    fn note_taken(&self, player: PlayerId, session: SessionId, connection: u64) {
        self.routes.note(player, session, connection);
        let is_older = |_: &PlayerId, (older, _): &(SessionId, u64)| *older <= session;
        if let Some((_, (session, other))) = self.sessions.remove_if(&player, is_older) {
            self.calls.note_answered(other);
            let ended = PlayerEffect::SessionEnded { player, session };
            self.deliver(other, ToSession::Player(ended));
        }
    }

    /// Forgets a connection, and its session if no newer one took over.
    pub fn close(&self, connection: u64, player: Option<PlayerId>) {
        self.connections.remove(&connection);
        self.calls.note_closed(connection);
        if let Some(player) = player {
            self.connecting.remove_if(&player, |_, newest| *newest == connection);
            let held = self.sessions.remove_if(&player, |_, (_, holder)| *holder == connection);
            if let Some((_, (session, _))) = held {
                self.routes.note_left(player, session, connection);
            }
        }
    }

    /// Connections that are open.
    pub fn count(&self) -> usize {
        self.connections.len()
    }

    /// The sessions of this gateway whose player is meant.
    pub fn sessions(&self, is_meant: impl Fn(PlayerId) -> bool) -> Vec<Left> {
        let meant = self.sessions.iter().filter(|entry| is_meant(*entry.key()));
        let held = meant.map(|entry| {
            let (session, connection) = *entry.value();
            Left { player: *entry.key(), session, connection }
        });
        held.collect()
    }

    /// Owes the ledger the word that this session is here. It may have closed
    /// since it was looked up, and who closes it may not have found the word.
    pub fn owe_held(&self, held: Left) {
        self.calls.owe(Word::Held(held), false);
        if !self.connections.contains_key(&held.connection) {
            self.calls.note_closed(held.connection);
        }
    }

    /// To one connection, wherever it is; nothing if it is gone.
    pub fn deliver(&self, connection: u64, message: ToSession) {
        if !self.is_here(connection) {
            // What is left out here goes to connections of this node only.
            if let Some(message) = to_gateway(connection, message) {
                self.tell(node_of(connection), message);
            }
            return;
        }
        if let ToSession::ConnectRefused(_) | ToSession::Superseded = message {
            self.calls.note_answered(connection);
        }
        let port = self.connections.get(&connection).map(|port| port.clone());
        if let Some(port) = port {
            port.deliver(message);
        }
    }

    /// To every connection of this node; how many there are.
    pub fn broadcast(&self, message: &ToSession) -> usize {
        let ports: Vec<_> = self.connections.iter().map(|port| port.clone()).collect();
        ports.iter().for_each(|port| port.deliver(message.clone()));
        ports.len()
    }

    /// Brings what entities released to the connections it is for. Returns a
    /// session that was given to a connection of this node that has gone: its
    /// ledger is to be told, or it would count as open for ever.
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
                let (player, session) = addressee(&effect)?;
                if self.deliver_here(&effect, player, session) {
                    return None;
                }
                match self.routes.way(player, session) {
                    Way::To(node) if node != self.mesh.me() => {
                        self.tell(node, ToGateway::Player(effect));
                    }
                    // Here, and it closes just now.
                    Way::To(_) | Way::Nobody => {}
                    Way::All => self.tell_all(&ToGateway::Player(effect)),
                }
            }
        }
        None
    }

    /// Takes what another node has for this gateway; `has_ledger` says whether
    /// that node has a player's ledger. A session comes back as from
    /// [`release`](Self::release).
    ///
    /// # Errors
    /// When it names a connection that is not of this node, or says of a session
    /// what only its ledger can say; nothing was done.
    pub fn take(
        &self,
        message: ToGateway,
        has_ledger: impl Fn(PlayerId) -> bool,
    ) -> Result<Option<Left>, Refused> {
        if let Some(player) = by_ledger(&message).filter(|player| !has_ledger(*player)) {
            return Err(Refused::NotLedger(player));
        }
        match message {
            ToGateway::Player(PlayerEffect::Connected(connected)) => {
                self.expect_here(connected.connection)?;
                return Ok(self.give_here(connected));
            }
            ToGateway::Player(effect) => {
                if let Some((player, session)) = addressee(&effect) {
                    self.deliver_here(&effect, player, session);
                }
            }
            ToGateway::Superseded { connection } => {
                self.expect_here(connection)?;
                self.deliver(connection, ToSession::Superseded);
            }
            ToGateway::ConnectRefused { connection, why } => {
                self.expect_here(connection)?;
                self.deliver(connection, ToSession::ConnectRefused(why));
            }
            ToGateway::Rejected { connection, entity, ticket, sequence, why } => {
                self.expect_here(connection)?;
                let rejected = ToSession::Rejected { entity, ticket, sequence, why };
                self.deliver(connection, rejected);
            }
            ToGateway::Taken { player, session, connection } => {
                if !self.is_here(connection) {
                    self.note_taken(player, session, connection);
                }
            }
            ToGateway::LedgerStarted(ledger) => self.calls.note_started(ledger),
            // Its sender is meant, which the caller knows.
            ToGateway::Missed => {}
        }
        Ok(None)
    }

    /// A ledger came to run here anew: gateways are to say what sessions of it
    /// they have.
    pub fn note_started(&self, ledger: EntityKey) {
        self.calls.note_started(ledger);
        self.tell_all(&ToGateway::LedgerStarted(ledger));
    }

    /// The link to `node` came up or went down.
    pub fn note_link(&self, node: NodeId) {
        self.routes.forget_node(node);
        self.connecting.retain(|_, connection| node_of(*connection) != node);
        // Whatever it missed, it says what it has when the link is up.
        self.missed.remove(&node);
    }

    /// The gateway of `node` is to say again what it has said.
    pub fn note_missed(&self, node: NodeId) {
        self.missed.insert(node);
    }

    /// Tells gateways that missed something so, if their links take it now.
    pub fn tell_missed(&self) {
        let linked = self.mesh.linked();
        let missed: Vec<NodeId> = self.missed.iter().map(|node| *node).collect();
        for node in missed {
            let message = PeerMessage::ToGateway(ToGateway::Missed);
            if !linked.contains(&node) || self.mesh.send(node, message).is_ok() {
                self.missed.remove(&node);
            }
        }
    }

    fn is_here(&self, connection: u64) -> bool {
        node_of(connection) == self.mesh.me()
    }

    fn expect_here(&self, connection: u64) -> Result<(), Refused> {
        if self.is_here(connection) { Ok(()) } else { Err(Refused::Misdirected) }
    }

    /// Whether this gateway has the session.
    fn deliver_here(&self, effect: &PlayerEffect, player: PlayerId, session: SessionId) -> bool {
        let holder = self.sessions.get(&player).map(|entry| *entry);
        let Some((_, connection)) = holder.filter(|(newest, _)| *newest == session) else {
            return false;
        };
        if let PlayerEffect::SessionEnded { .. } = effect {
            self.calls.note_answered(connection);
        }
        self.deliver(connection, ToSession::Player(effect.clone()));
        true
    }

    fn tell_all(&self, message: &ToGateway) {
        self.mesh.linked().into_iter().for_each(|node| self.tell(node, message.clone()));
    }

    fn tell(&self, node: NodeId, message: ToGateway) {
        let is_missed = must_arrive(&message);
        if self.mesh.send(node, PeerMessage::ToGateway(message)).is_err() && is_missed {
            self.missed.insert(node);
        }
    }
}

/// The number before the first of a process that starts at `now`: a process
/// opens far fewer connections than one in each millisecond, so that none of it
/// has a number that an earlier one of this node gave.
fn first_number(me: NodeId, now: SystemTime) -> u64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    // 40 bits of milliseconds are 34 years.
    (u64::from(me.0) << CONNECTION_BITS) | (ms & ((1 << CONNECTION_BITS) - 1))
}

#[cfg(test)]
mod tests;
