//! A node that stops takes nothing new, answers what it admitted, and ends in
//! bounded time; its disk is nobody's to wait for but the store's.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use starmesh::actors::node::Node;
use starmesh::actors::ports::{SessionPort, ToSession};
use starmesh::actors::rows::StoreAway;
use starmesh::base::{EntityKey, PlayerId};
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::commit::Group;
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::input::Connect;
use tokio::time::timeout;

use super::node_store::{Gate, Gated};
use super::node_support::{Player, Port, any_ticket, attach, connected, move_order, start};

const PLAYER: PlayerId = PlayerId(7);
const WITHIN: Duration = Duration::from_secs(20);
/// Long enough for whatever does not wait.
const A_WHILE: Duration = Duration::from_millis(300);

/// A connection that takes nothing while its gate is closed.
#[derive(Default)]
struct Stuck {
    gate: Gate,
    port: Port,
}

impl SessionPort for Stuck {
    fn deliver(&self, message: ToSession) {
        self.gate.pass();
        self.port.deliver(message);
    }
}

fn answered(message: &ToSession) -> Option<()> {
    matches!(message, ToSession::Player(PlayerEffect::Answered(_))).then_some(())
}

async fn ticks(node: &Node) {
    let before = node.status.tick.load(Ordering::Relaxed);
    while node.status.tick.load(Ordering::Relaxed) < before + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix::test]
async fn what_was_admitted_has_reached_its_connection_when_the_node_has_settled() {
    let store = Arc::new(Gated::default());
    let mut node = start(store.clone()).await;
    let stuck = Arc::new(Stuck::default());
    let connection = node.entities.ports.open(stuck.clone());
    let connect = Connect { player: PLAYER, connection, resume: None };
    node.entities.connect(connect).unwrap();
    let first = stuck.port.wait_for(connected).await;
    let sector = first.presence[0].sector;
    let unit = Player::new(&node, PLAYER).look(sector).await.units().next().unwrap().id;

    let entity = EntityKey::Sector(sector);
    let ticket = attach(&node, entity, PLAYER, first.session).await;
    stuck.gate.close();
    let command = move_order(PLAYER, first.session, 1, unit, sector);
    node.entities.command(connection, entity, ticket, command);
    timeout(WITHIN, stuck.gate.waited_for()).await.expect("the answer is on its way");
    {
        let mut settling = std::pin::pin!(node.settle(WITHIN));
        assert!(timeout(A_WHILE, &mut settling).await.is_err(), "it is not there yet");
        stuck.gate.open();
        assert!(settling.await);
    }
    assert!(stuck.port.has(answered), "it is there");
    node.end().await;
}

#[actix::test]
async fn a_node_that_stops_takes_nothing_new_and_says_so() {
    let store = Arc::new(Gated::default());
    let mut node = start(store).await;
    let player = Player::new(&node, PLAYER);
    let first = player.connect(None).await;
    let sector = first.presence[0].sector;
    let unit = player.look(sector).await.units().next().unwrap().id;
    let (connection, port) = (player.connection, player.port.clone());
    assert!(node.settle(WITHIN).await);

    let connect = Connect { player: PlayerId(8), connection, resume: None };
    assert_eq!(node.entities.connect(connect), Err(Unavailable::Busy));
    let command = move_order(PLAYER, first.session, 1, unit, sector);
    node.entities.command(connection, EntityKey::Sector(sector), any_ticket(), command);
    let why = port.wait_for(|message| match message {
        ToSession::Rejected { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(why.await, Unavailable::Busy);
    let refused = node.rows.commit_group(Group::default()).await;
    assert!(matches!(refused, Err(StoreAway::Unchanged(_))), "{refused:?}");
    node.end().await;
}

#[actix::test]
async fn a_node_stops_in_bounded_time_while_the_store_is_away() {
    let store = Arc::new(Gated::default());
    let mut node = start(store.clone()).await;
    let player = Player::new(&node, PLAYER);
    player.connect(None).await;
    let port = player.port.clone();
    store.commits.close();
    timeout(WITHIN, store.commits.waited_for()).await.expect("commits go on while it is idle");
    assert!(!node.settle(A_WHILE).await, "it cannot have settled");
    timeout(WITHIN, node.end()).await.expect("it does not wait for the store");
    store.commits.open();
    assert!(!port.has(answered));
}

#[actix::test]
async fn a_disk_that_does_not_answer_holds_up_nobody_else() {
    let store = Arc::new(Gated::default());
    store.disk.close();
    let node = start(store.clone()).await;
    Player::new(&node, PLAYER).connect(None).await;
    timeout(WITHIN, ticks(&node)).await.expect("time goes on");
    store.disk.open();
    node.stop().await;
}
