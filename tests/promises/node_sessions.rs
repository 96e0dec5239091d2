//! Whoever asks a ledger for a session is answered, and a session whose
//! connection is gone ends, however busy the ledger is.

use std::sync::Arc;
use std::time::Duration;

use starmesh::actors::ports::ToSession;
use starmesh::base::{EntityKey, PlayerId, SessionId};
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::input::{Connect, Input, Left};
use starmesh::entity::record::decode_record;
use starmesh::store::Store;
use starmesh::store::recovery::image;

use super::node_store::Gated;
use super::node_support::{Player, connected, start, start_with};

const PLAYER: PlayerId = PlayerId(7);
const ONE_LEDGER: &str = "[galaxy]\nledger_shards = 1\n";

fn superseded(message: &ToSession) -> Option<()> {
    matches!(message, ToSession::Superseded).then_some(())
}

fn refused(message: &ToSession) -> Option<Unavailable> {
    match message {
        ToSession::ConnectRefused(why) => Some(*why),
        _ => None,
    }
}

/// Whether the journal of the only ledger says that this session was left.
fn has_left(store: &dyn Store, left: Left) -> bool {
    let image = image(store, EntityKey::Ledger(0)).expect("the journal can be read");
    let inputs = image.records.iter().flat_map(|(_, bytes)| decode_record(bytes).unwrap().1.inputs);
    inputs.into_iter().any(|input| input == Input::Left(left))
}

#[actix::test]
async fn a_connect_that_waits_is_told_at_once_of_a_newer_one() {
    let store = Arc::new(Gated::default());
    let node = start(store.clone()).await;
    let first = Player::new(&node, PLAYER);
    let second = Player::new(&node, PLAYER);
    // Nothing is durable from here on, so nobody can have a session yet.
    let other = Player::new(&node, PlayerId(PLAYER.0 + 64));
    other.connect(None).await;
    store.commits.close();
    first.ask(None);
    second.ask(None);
    first.port.wait_for(superseded).await;
    store.commits.open();
    let session = second.port.wait_for(connected).await.session;
    assert!(session >= SessionId(1));
    node.stop().await;
}

#[actix::test]
async fn a_connect_that_is_not_taken_is_told_why() {
    let store = Arc::new(Gated::default());
    let node = start_with(ONE_LEDGER, store.clone()).await;
    Player::new(&node, PLAYER).connect(None).await;
    store.commits.close();
    let many = Player::new(&node, PlayerId(8));
    assert_eq!(fill(&node, &many).await, Unavailable::Busy);
    store.commits.open();
    node.stop().await;
}

#[actix::test]
async fn a_session_ends_also_when_its_ledger_is_busy() {
    let store = Arc::new(Gated::default());
    let node = start_with(ONE_LEDGER, store.clone()).await;
    let player = Player::new(&node, PLAYER);
    let session = player.connect(None).await.session;
    store.commits.close();
    let many = Player::new(&node, PlayerId(8));
    fill(&node, &many).await;

    let left = Left { player: PLAYER, session, connection: player.connection };
    node.entities.left(left);
    // The ledger has had its turn when it has refused one more.
    let late = Player::new(&node, PlayerId(9));
    late.ask(None);
    assert_eq!(late.port.wait_for(refused).await, Unavailable::Busy);
    store.commits.open();
    let ended = async {
        while !has_left(&*store, left) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert!(ended.is_ok(), "the ledger was never told");
    node.stop().await;
}

/// Asks for sessions of new players until no more are taken, and why not.
async fn fill(node: &starmesh::actors::node::Node, many: &Player<'_>) -> Unavailable {
    let asks = async {
        for player in 1_000_000.. {
            let connect =
                Connect { player: PlayerId(player), connection: many.connection, resume: None };
            // Its mailbox may be full for a moment.
            let _ = node.entities.connect(connect);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        why = many.port.wait_for(refused) => why,
        () = asks => unreachable!("there are more players than room"),
    }
}
