//! What the tests of whole nodes share: a node on a store, a player on it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use starmesh::actors::node::Node;
use starmesh::actors::ports::{SessionPort, ToSession};
use starmesh::base::{
    CompressedPosition, EntityKey, NodeId, PlayerId, SectorId, SessionId, UnitId,
};
use starmesh::cluster::core::attaching::{Attachment, Ticket};
use starmesh::cluster::core::table::Unavailable;
use starmesh::config::Config;
use starmesh::entity::commands::{CommandAnswer, PlayerCommand};
use starmesh::entity::effect::{Connected, PlayerEffect};
use starmesh::entity::input::Connect;
use starmesh::protocol::CodecKind;
use starmesh::sim::{Command, Target, UnitIds, rules};
use starmesh::store::Store;
use starmesh::view::CellsView;
use starmesh::view::fanout::{Shown, Watcher};
use starmesh::view::stage::GroupId;
use tokio::sync::Notify;

/// A node with default settings, when it has all that it owned before.
pub async fn start(store: Arc<dyn Store>) -> Node {
    start_with("", store).await
}

/// A node with these settings besides, when it has all that it owned before.
pub async fn start_with(settings: &str, store: Arc<dyn Store>) -> Node {
    let rules = rules::file::built_in().unwrap();
    let node = Node::start(&Config::with(settings).unwrap(), rules, store).unwrap();
    ready(&node).await;
    node
}

/// Waits until the node has all that it owned before.
pub async fn ready(node: &Node) {
    let ready = async {
        while !node.status.ready.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ready).await.expect("the node gets ready");
}

/// The command of `player` that moves one unit to a quarter of the sector.
pub fn move_order(
    player: PlayerId,
    session: SessionId,
    sequence: u32,
    unit: UnitId,
    sector: SectorId,
) -> PlayerCommand {
    let target = Target { sector, position: CompressedPosition { x: 1 << 30, y: 1 << 30 } };
    let units = UnitIds::new(vec![unit]).unwrap();
    PlayerCommand { player, session, sequence, command: Command::go(units, target) }
}

/// A connection that keeps all it is told.
#[derive(Default)]
pub struct Port {
    told: Mutex<Vec<ToSession>>,
    news: Notify,
}

impl SessionPort for Port {
    fn deliver(&self, message: ToSession) {
        self.told.lock().unwrap().push(message);
        self.news.notify_waiters();
    }
}

impl Port {
    /// Whether there was such a message already.
    pub fn has(&self, pick: impl Fn(&ToSession) -> Option<()>) -> bool {
        self.told.lock().unwrap().iter().any(|message| pick(message).is_some())
    }

    /// What `pick` takes of each message so far, in order.
    pub fn all<T>(&self, pick: impl Fn(&ToSession) -> Vec<T>) -> Vec<T> {
        self.told.lock().unwrap().iter().flat_map(pick).collect()
    }

    /// The first message, from now or before, that `pick` takes.
    pub async fn wait_for<T>(&self, pick: impl Fn(&ToSession) -> Option<T>) -> T {
        let found = async {
            loop {
                let news = self.news.notified();
                if let Some(found) = self.told.lock().unwrap().iter().find_map(&pick) {
                    return found;
                }
                news.await;
            }
        };
        let limit = Duration::from_secs(120);
        tokio::time::timeout(limit, found).await.expect("the node answers")
    }
}

pub fn connected(message: &ToSession) -> Option<Connected> {
    match message {
        ToSession::Player(PlayerEffect::Connected(connected)) => Some(connected.clone()),
        _ => None,
    }
}

pub fn answer(message: &ToSession) -> Option<CommandAnswer> {
    match message {
        ToSession::Player(PlayerEffect::Answered(answer)) => Some(answer.clone()),
        _ => None,
    }
}

/// What a player sees of a sector, as [`Player::look`] asks for it.
fn keyframe(message: &ToSession) -> Option<CellsView> {
    let ToSession::Shown(shown) = message else { return None };
    let bytes = shown.iter().find_map(|shown| match shown {
        Shown::Packet(packet) if packet.keyframe => Some(&packet.bytes),
        _ => None,
    })?;
    let (header, packet) = CodecKind::default().codec().decode_packet(bytes).expect("a packet");
    let mut view = CellsView::default();
    view.handle(header.tick, &packet);
    Some(view)
}

pub fn watcher(player: PlayerId) -> Watcher {
    Watcher { group: GroupId::of(player), codec: CodecKind::default() }
}

/// Attaches to what runs, or is about to; the node that has it, and the ticket of
/// the first command.
pub async fn attach(
    node: &Node,
    entity: EntityKey,
    player: PlayerId,
    session: SessionId,
) -> (NodeId, Ticket) {
    let attached = async {
        loop {
            match node.entities.attach(entity, player, session).await {
                Ok(attached) => return attached.expect("there is no newer session"),
                Err(Unavailable::Busy | Unavailable::NotHere) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(why) => panic!("{entity}: {why}"),
            }
        }
    };
    let limit = Duration::from_secs(60);
    let attached = tokio::time::timeout(limit, attached).await.expect("the node answers");
    (attached.at, Ticket::first(attached.attachment))
}

/// A ticket of no attachment, for what is refused before anybody looks at it, at
/// the first node.
pub fn any_ticket() -> (NodeId, Ticket) {
    (NodeId(1), Ticket::first(Attachment(1)))
}

/// A player with one connection.
pub struct Player<'n> {
    node: &'n Node,
    pub id: PlayerId,
    pub port: Arc<Port>,
    pub connection: u64,
}

impl Player<'_> {
    pub fn new(node: &Node, id: PlayerId) -> Player<'_> {
        let port = Arc::new(Port::default());
        let connection = node.entities.ports.open(port.clone());
        Player { node, id, port, connection }
    }

    pub async fn connect(&self, resume: Option<SessionId>) -> Connected {
        self.ask(resume);
        self.port.wait_for(connected).await
    }

    /// Asks for a session and does not wait for the answer.
    pub fn ask(&self, resume: Option<SessionId>) {
        let connect = Connect { player: self.id, connection: self.connection, resume };
        // Its mailbox may be full for a moment.
        while self.node.entities.connect(connect).is_err() {
            std::thread::yield_now();
        }
    }

    pub async fn look(&self, sector: SectorId) -> CellsView {
        let entity = EntityKey::Sector(sector);
        self.node.entities.observe(self.connection, entity, watcher(self.id)).unwrap();
        self.port.wait_for(keyframe).await
    }

    pub async fn order(&self, sector: SectorId, command: PlayerCommand) -> CommandAnswer {
        let entity = EntityKey::Sector(sector);
        let ticket = attach(self.node, entity, command.player, command.session).await;
        let sequence = command.sequence;
        self.node.entities.command(self.connection, entity, ticket, command);
        let its = |found: &CommandAnswer| found.sequence == sequence;
        self.port.wait_for(|message| answer(message).filter(its)).await
    }
}
