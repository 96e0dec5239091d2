//! Owns what the gateways of a cluster and the owners of entities do for each
//! other: what comes from another node is done here or refused, never sent on;
//! what this gateway owes to ledgers elsewhere is said, in turns. Never decides
//! where an entity is. Called by the links, and by the node when a link or a
//! node is up, down or dead. Invariants: a connection is spoken for only by the
//! node that has it, a player's session only by the node that has the ledger.

use std::future::Future;
use std::time::Duration;

use actix::prelude::SendError;

use super::calls::News;
use super::entities::Entities;
use super::meta::{Leave, Propose};
use super::owed::Word;
use super::peers::{
    CONNECTION_BITS, PeerAnswer, PeerMessage, PeerQuestion, Place, ToGateway, ToOwner, node_of,
};
use super::ports::{Refused, ToSession};
use super::reading::Elsewhere;
use crate::base::{EntityKey, NodeId, PlayerId};
use crate::cluster::core::table::Unavailable;
use crate::entity::input::{Connect, FromGateway, Input, Left};
use crate::entity::read::Query;
use crate::telemetry::metrics::PEER_REFUSED;

/// How long a turn is, and how many words are said in one: a thousand in a
/// second, so that a ledger that fails over is not flooded.
const TURN: Duration = Duration::from_millis(100);
const WORDS_PER_TURN: usize = 100;
/// So often words are looked for in a turn: those that cannot be said, because a
/// link is down, leave their places to others.
const LOOKS_PER_TURN: usize = 10;
/// An answer to another node takes at most so long: it does not wait longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Entities {
    /// What the gateway of `from` wants of an entity. Called where tokio runs.
    pub fn handle_owner(&self, from: NodeId, message: ToOwner) {
        if connection_of(&message).is_some_and(|connection| node_of(connection) != from) {
            return refuse(from);
        }
        match message {
            ToOwner::Command { connection, entity, ticket, command } => {
                self.ports.routes.note_said(command.player, command.session, connection);
                if self.is_here(entity) {
                    return self.command_here(connection, entity, ticket, command);
                }
                let (sequence, why) = (command.sequence, Unavailable::AttachAgain);
                let rejected = ToSession::Rejected { entity, ticket, sequence, why };
                self.ports.deliver(connection, rejected);
            }
            ToOwner::Connect(connect) => self.connect_from(connect, Input::Connect(connect)),
            ToOwner::ConnectAgain(connect) => {
                let input = Input::Gateway(FromGateway::ConnectAgain(connect));
                self.connect_from(connect, input);
            }
            ToOwner::Held(held) => self.hold(held),
            ToOwner::Left(left) => {
                self.ports.routes.note_left(left.player, left.session, left.connection);
                self.left_from(from, left);
            }
            ToOwner::Began { first } => self.note_began(from, first),
            ToOwner::Wake(entity) => {
                let is_meta = matches!(entity, EntityKey::Ledger(_) | EntityKey::Board(_));
                if is_meta && self.is_here(entity) {
                    // Whoever wants it comes again.
                    let _ = self.propose(entity, Input::Time);
                }
            }
        }
    }

    /// What the node `from` has for this gateway. Called where tokio runs.
    pub fn handle_gateway(&self, from: NodeId, message: ToGateway) {
        if let ToGateway::Missed = message {
            self.ports.calls.note_unsure(from);
        }
        let has_ledger =
            |player| self.place_of_meta(self.world.ledger_of(player)) == Place::There(from);
        match self.ports.take(message, has_ledger) {
            Ok(Some(left)) => self.left(left),
            Ok(None) => {}
            Err(Refused::Misdirected) => refuse(from),
            // It may be that the sender knows first where the ledger is now.
            Err(Refused::NotLedger(player)) => {
                self.ports.calls.note_started(self.world.ledger_of(player));
            }
        }
    }

    /// Answers what `from` asks, within [`ANSWER_WITHIN`]; as many are answered
    /// at once as the links let ask.
    pub fn answer(
        &self,
        from: NodeId,
        question: PeerQuestion,
    ) -> impl Future<Output = PeerAnswer> + Send + 'static {
        let entities = self.clone();
        async move {
            let (entity, query, wake) = match question {
                PeerQuestion::Read { entity, query, wake } => (entity, query, wake),
                PeerQuestion::Report => {
                    return PeerAnswer::Report(Box::new(entities.report().await));
                }
                PeerQuestion::Busiest { most } => {
                    return PeerAnswer::Busiest(entities.busiest(most.into()).await);
                }
                PeerQuestion::Region(region) => {
                    return PeerAnswer::Region(entities.region(region).await);
                }
                PeerQuestion::Runs(entity) => return PeerAnswer::Runs(entities.runs(entity)),
                PeerQuestion::Load => return PeerAnswer::Load(Box::new(entities.load().await)),
                PeerQuestion::Announce(text) => {
                    let told = entities.ports.broadcast(&ToSession::Announced(text));
                    return PeerAnswer::Announced(u32::try_from(told).unwrap_or(u32::MAX));
                }
            };
            if let Query::Applied { player, session } = query {
                entities.ports.routes.note_attached(player, session, from);
            }
            if !entities.is_here(entity) {
                return PeerAnswer::Read(Err(Unavailable::AttachAgain));
            }
            let read = entities.read_here(entity, query, wake);
            let read = tokio::time::timeout(ANSWER_WITHIN, read).await;
            let read = read.unwrap_or(Err(Elsewhere::Unavailable(Unavailable::Busy)));
            PeerAnswer::Read(read.map_err(|elsewhere| match elsewhere {
                Elsewhere::Unavailable(why) => why,
                Elsewhere::At(_) | Elsewhere::Unknown => Unavailable::AttachAgain,
            }))
        }
    }

    /// The link to `node` is up, or down. A short break ends no session: what
    /// it took along is said again when it is up. Called on any thread.
    pub fn handle_link(&self, node: NodeId, up: bool) {
        self.ports.note_link(node);
        if up {
            self.ports.calls.note_up(node);
            self.ports.calls.note_unsure(node);
        }
    }

    /// `node` is dead, and all connections of its gateway are lost. Called on
    /// any thread.
    pub fn handle_dead(&self, node: NodeId) {
        self.ports.note_link(node);
        let first = u64::from(node.0) << CONNECTION_BITS;
        self.ports.calls.note_lost(first, first | ((1 << CONNECTION_BITS) - 1));
    }

    /// Says to ledgers what this gateway owes them, a turn's worth at a time,
    /// until dropped. Once per node.
    pub async fn tend(self) {
        loop {
            tokio::time::sleep(TURN).await;
            self.tend_once();
        }
    }

    /// One turn.
    pub fn tend_once(&self) {
        let news = self.ports.calls.take_news();
        if news != News::default() {
            self.take_news(news);
        }
        self.say_due();
        self.ports.tell_missed();
    }

    fn say_due(&self) {
        let mut said = 0;
        for _ in 0..LOOKS_PER_TURN {
            let words = self.ports.calls.take_due(WORDS_PER_TURN - said);
            if words.is_empty() {
                return;
            }
            for word in words {
                if self.say(&word) {
                    said += 1;
                } else {
                    self.ports.calls.note_unsaid(&word);
                }
            }
        }
    }

    fn take_news(&self, news: News) {
        let News { started, unsure, up, lost } = news;
        for node in up {
            let began = ToOwner::Began { first: self.ports.first() };
            if self.mesh.send(node, PeerMessage::ToOwner(began)).is_err()
                && self.mesh.linked().contains(&node)
            {
                self.ports.calls.note_up(node);
            }
        }
        let is_unsure = |player: PlayerId| {
            let ledger = self.world.ledger_of(player);
            let is_there = |node: &NodeId| self.place_of_meta(ledger) == Place::There(*node);
            started.contains(&ledger) || unsure.iter().any(is_there)
        };
        if !started.is_empty() || !unsure.is_empty() {
            self.ports.calls.say_again(is_unsure);
            self.ports.sessions(is_unsure).into_iter().for_each(|held| self.ports.owe_held(held));
        }
        for (first, end) in lost.into_values() {
            self.say_lost(first, end);
        }
    }

    /// Says `word` to its ledger; false when it is to be said again.
    fn say(&self, word: &Word) -> bool {
        let ledger = self.world.ledger_of(word.player());
        match (self.place_of_meta(ledger), *word) {
            (Place::Nowhere, _) => false,
            (Place::There(node), word) => {
                let message = match word {
                    Word::Connect(connect) => ToOwner::ConnectAgain(connect),
                    Word::Held(held) => ToOwner::Held(held),
                    Word::Left(left) => ToOwner::Left(left),
                };
                self.mesh.send(node, PeerMessage::ToOwner(message)).is_ok()
            }
            (Place::Here, Word::Connect(connect)) => {
                let input = Input::Gateway(FromGateway::ConnectAgain(connect));
                self.propose(ledger, input).is_ok()
            }
            (Place::Here, Word::Held(held)) => {
                self.hold(held);
                true
            }
            (Place::Here, Word::Left(left)) => {
                let _ = self.left_here(left);
                true
            }
        }
    }

    fn connect_from(&self, connect: Connect, input: Input) {
        let ledger = self.world.ledger_of(connect.player);
        let taken = match self.is_here(ledger) && !self.is_stopping() {
            true => self.propose(ledger, input),
            false => Err(Unavailable::Busy),
        };
        if let Err(why) = taken {
            self.ports.deliver(connect.connection, ToSession::ConnectRefused(why));
        }
    }

    /// Tells the ledger if it runs here: its claim, when it comes to run, says
    /// the same. With too many that wait for a full one the gateway is to say
    /// again what it has said.
    fn left_from(&self, from: NodeId, left: Left) {
        let Some(ledger) = self.registry.meta(self.world.ledger_of(left.player)) else { return };
        let Err(SendError::Full(message)) = ledger.try_send(Leave(left)) else { return };
        let Ok(room) = self.turning.clone().try_acquire_owned() else {
            return self.ports.note_missed(from);
        };
        tokio::spawn(async move {
            let _ = ledger.send(message).await;
            drop(room);
        });
    }

    /// When it is not taken the gateway says it again.
    fn hold(&self, held: Left) {
        let ledger = self.world.ledger_of(held.player);
        if self.is_here(ledger) && !self.is_stopping() {
            let _ = self.propose(ledger, Input::Gateway(FromGateway::Held(held)));
        }
    }

    /// A gateway that began anew has lost all connections it had before.
    fn note_began(&self, from: NodeId, first: u64) {
        if node_of(first) != from {
            return refuse(from);
        }
        if self.ports.routes.note_began(from, first) {
            self.ports.calls.note_lost(u64::from(from.0) << CONNECTION_BITS, first);
        }
    }

    /// Ledgers that do not run need no word: their claims say it.
    fn say_lost(&self, first: u64, end: u64) {
        for ledger in self.registry.ledgers() {
            let Some(meta) = self.registry.meta(ledger) else { continue };
            let lost = Propose(Input::Gateway(FromGateway::Lost { first, end }));
            if let Err(SendError::Full(_)) = meta.try_send(lost) {
                // All are told again: it is the same for who knows.
                return self.ports.calls.note_lost(first, end);
            }
        }
    }

    fn is_here(&self, entity: EntityKey) -> bool {
        self.runs(entity) || self.mesh.place_of(entity) == Place::Here
    }
}

fn connection_of(message: &ToOwner) -> Option<u64> {
    match message {
        ToOwner::Command { connection, .. } => Some(*connection),
        ToOwner::Connect(connect) | ToOwner::ConnectAgain(connect) => Some(connect.connection),
        ToOwner::Held(left) | ToOwner::Left(left) => Some(left.connection),
        ToOwner::Began { .. } | ToOwner::Wake(_) => None,
    }
}

fn refuse(from: NodeId) {
    PEER_REFUSED.increment(1);
    tracing::error!(node = from.0, "names a connection that is not its own, or not of this node");
}
