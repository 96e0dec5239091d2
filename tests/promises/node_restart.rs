//! A node that is stopped and started again goes on where it stopped: players
//! keep session, units and what was acknowledged.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use starmesh::actors::node::Node;
use starmesh::actors::ports::{SessionPort, ToSession};
use starmesh::base::{CompressedPosition, EntityKey, PlayerId, SectorId, SessionId};
use starmesh::config::Config;
use starmesh::entity::commands::{CommandAnswer, CommandResult, PlayerCommand};
use starmesh::entity::effect::{Connected, PlayerEffect};
use starmesh::entity::input::Connect;
use starmesh::sim::{Command, Target, UnitIds, rules};
use starmesh::store::Store;
use starmesh::store::memory::Memory;
use starmesh::view::observer::Update;
use tokio::sync::Notify;

const PLAYER: PlayerId = PlayerId(7);

/// A connection that keeps all it is told.
#[derive(Default)]
struct Port {
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
    /// The first message, from now or before, that `pick` takes.
    async fn wait_for<T>(&self, pick: impl Fn(&ToSession) -> Option<T>) -> T {
        let found = async {
            loop {
                let news = self.news.notified();
                if let Some(found) = self.told.lock().unwrap().iter().find_map(&pick) {
                    return found;
                }
                news.await;
            }
        };
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, found).await.expect("the node answers")
    }
}

fn connected(message: &ToSession) -> Option<Connected> {
    match message {
        ToSession::Player(PlayerEffect::Connected(connected)) => Some(connected.clone()),
        _ => None,
    }
}

fn answer(message: &ToSession) -> Option<CommandAnswer> {
    match message {
        ToSession::Player(PlayerEffect::Answered(answer)) => Some(answer.clone()),
        _ => None,
    }
}

fn keyframe(message: &ToSession) -> Option<Arc<Update>> {
    match message {
        ToSession::Update { update, .. } if update.keyframe => Some(update.clone()),
        _ => None,
    }
}

struct Player<'n> {
    node: &'n Node,
    port: Arc<Port>,
    connection: u64,
}

impl Player<'_> {
    fn new(node: &Node) -> Player<'_> {
        let port = Arc::new(Port::default());
        let connection = node.entities.ports.open(port.clone());
        Player { node, port, connection }
    }

    async fn connect(&self, resume: Option<SessionId>) -> Connected {
        let connect = Connect { player: PLAYER, connection: self.connection, resume };
        self.node.entities.connect(connect).unwrap();
        self.port.wait_for(connected).await
    }

    async fn look(&self, sector: SectorId) -> Arc<Update> {
        let entity = EntityKey::Sector(sector);
        self.node.entities.observe(self.connection, entity, PLAYER).await.unwrap();
        self.port.wait_for(keyframe).await
    }

    async fn order(&self, sector: SectorId, command: PlayerCommand) -> CommandAnswer {
        let entity = EntityKey::Sector(sector);
        self.node.entities.command(self.connection, entity, command);
        self.port.wait_for(answer).await
    }
}

fn start(store: &Arc<Memory>) -> Node {
    let store: Arc<dyn Store> = store.clone();
    Node::start(&Config::with("").unwrap(), rules::file::built_in().unwrap(), store).unwrap()
}

#[actix::test]
async fn a_restarted_node_goes_on_where_it_stopped() {
    let store = Arc::new(Memory::default());
    let node = start(&store);
    let player = Player::new(&node);
    let first = player.connect(None).await;
    assert_eq!(first.session, SessionId(1));
    let sector = first.presence[0].sector;
    let units = player.look(sector).await.units.clone();
    assert_eq!(units.len(), 8);
    let target = Target { sector, position: CompressedPosition { x: 1 << 30, y: 1 << 30 } };
    let command = PlayerCommand {
        player: PLAYER,
        session: first.session,
        sequence: 1,
        command: Command::Move { units: UnitIds::new(vec![units[0].id]).unwrap(), target },
    };
    let answered = player.order(sector, command.clone()).await;
    assert!(matches!(answered.result, CommandResult::Done(_)), "{answered:?}");
    let tick = node.status.tick.load(Ordering::Relaxed);
    node.stop().await;

    let node = start(&store);
    let player = Player::new(&node);
    let second = player.connect(Some(first.session)).await;
    assert!(second.resumed);
    assert_eq!(second.presence, first.presence);
    assert!(node.status.tick.load(Ordering::Relaxed) >= tick);
    let again = player.order(sector, command).await;
    assert_eq!(again, answered, "a repeated command is answered, not executed");
    let update = player.look(sector).await;
    let unit = update.units.iter().find(|unit| unit.id == units[0].id).unwrap();
    assert!(unit.course.is_moving() || unit.position != units[0].position);
    node.stop().await;
}
